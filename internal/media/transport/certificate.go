package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256" // hash of fingerprints
	_ "crypto/sha512" // hash of fingerprints
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// NewCertificate makes a self-signed ECDSA P-256 certificate for DTLS, valid
// for a year from a day ago. One certificate serves the whole cluster, so that
// a resumed connection keeps its fingerprint.
func NewCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generate DTLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generate DTLS certificate serial: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(365 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign DTLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Fingerprint is an SDP a=fingerprint (RFC 8122 section 5).
type Fingerprint struct {
	// Algorithm is the hash, such as "sha-256".
	Algorithm string
	// Value is upper or lower case hexadecimal with colons.
	Value string
}

// CertificateFingerprint returns the SHA-256 fingerprint of a certificate's
// leaf, in the form of SDP: upper case hexadecimal with colons.
func CertificateFingerprint(der []byte) string {
	return hashFingerprint(crypto.SHA256, der)
}

func hashFingerprint(h crypto.Hash, der []byte) string {
	w := h.New()
	w.Write(der)
	var b strings.Builder
	for i, x := range w.Sum(nil) {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", x)
	}
	return b.String()
}

// fingerprintHash maps the names of RFC 8122 section 5 to hashes. MD5 and
// SHA-1 are missing on purpose: a collision would let another certificate in.
func fingerprintHash(name string) (crypto.Hash, bool) {
	switch strings.ToLower(name) {
	case "sha-256":
		return crypto.SHA256, true
	case "sha-384":
		return crypto.SHA384, true
	case "sha-512":
		return crypto.SHA512, true
	}
	return 0, false
}

// verifyFingerprints accepts a certificate that matches one of the
// fingerprints whose hash is known.
func verifyFingerprints(fps []Fingerprint, der []byte) error {
	for _, fp := range fps {
		h, ok := fingerprintHash(fp.Algorithm)
		if ok && strings.EqualFold(hashFingerprint(h, der), fp.Value) {
			return nil
		}
	}
	return ErrFingerprint
}
