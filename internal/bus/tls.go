package bus

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

// errPinned is a peer that does not know the secret.
var errPinned = errors.New("the peer's key is not derived from our secret")

// clientTLS returns how to connect to masters; nil: unencrypted.
func (c Config) clientTLS() (*tls.Config, error) {
	switch {
	case c.TLS.Plain:
		return nil, nil
	case !c.TLS.files():
		return pinnedTLS(deriveKey(c.JoinSecret, "tls"), true)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS.CA == "" {
		return cfg, nil
	}
	var err error
	cfg.RootCAs, err = loadCA(c.TLS.CA)
	return cfg, err
}

// serverTLS returns how media nodes connect to this master.
func (c Config) serverTLS() (*tls.Config, error) {
	switch {
	case c.TLS.Plain:
		return nil, nil
	case !c.TLS.files():
		return pinnedTLS(deriveKey(c.JoinSecret, "tls"), false)
	}
	cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
}

// routeTLS returns how masters connect to each other, both sides
// authenticated.
func (c Config) routeTLS() (*tls.Config, error) {
	switch {
	case c.TLS.Plain:
		return nil, nil
	case !c.TLS.files():
		cfg, err := pinnedTLS(deriveKey(c.Server.RouteSecret, "route tls"), true)
		if err == nil {
			cfg.ClientAuth = tls.RequireAnyClientCert
		}
		return cfg, err
	}
	cfg, err := c.serverTLS()
	if err != nil {
		return nil, err
	}
	if cfg.RootCAs, err = loadCA(c.TLS.CA); err != nil {
		return nil, err
	}
	cfg.ClientCAs, cfg.ClientAuth = cfg.RootCAs, tls.RequireAndVerifyClientCert
	return cfg, nil
}

func loadCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls: CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls: CA: %s has no certificate", file)
	}
	return pool, nil
}

// pinnedTLS is TLS without certificates to manage: both sides derive the same
// key from their secret, and a peer is right if its certificate has that key.
// Names and dates in the certificate mean nothing. verify is false for a server
// that asks its clients for no certificate.
func pinnedTLS(key ed25519.PrivateKey, verify bool) (*tls.Config, error) {
	public := key.Public().(ed25519.PublicKey)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "concertina"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	if verify {
		// The chain means nothing here. VerifyConnection checks the key instead, on
		// resumed connections too.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errPinned
			}
			if got, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok || !got.Equal(public) {
				return errPinned
			}
			return nil
		}
	}
	return cfg, nil
}
