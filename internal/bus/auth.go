package bus

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Who connects, as the first part of a client's name.
const (
	kindNode   = "node"   // a media node, by the join secret
	kindMaster = "master" // this process, by a key that never leaves it
	kindSystem = "system" // the same, for the server's own events
)

// derive makes a key for one purpose from a secret, so that the secret itself
// is never sent and one key does not serve two purposes.
func derive(secret Secret, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "concertina bus 1 "+purpose, 32)
	if err != nil { // only for absurd lengths
		panic("bus: " + err.Error())
	}
	return key
}

func deriveKey(secret Secret, purpose string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derive(secret, purpose))
}

func nodeKey(join Secret, node string) ed25519.PrivateKey { return deriveKey(join, "node "+node) }

// routePassword admits masters to each other.
func routePassword(route Secret) string { return hex.EncodeToString(derive(route, "route")) }

// credentials are the client options that identify a connection: its name, and
// a signature of the server's nonce.
func credentials(kind, node string, key ed25519.PrivateKey) []nats.Option {
	sign := func(nonce []byte) ([]byte, error) { return ed25519.Sign(key, nonce), nil }
	return []nats.Option{nats.Name(kind + " " + node), nats.Nkey(kind, sign)}
}

// authenticator decides who may connect to an embedded server and what each
// may do. It keeps no state, so one serves all connections.
type authenticator struct {
	join   Secret
	local  ed25519.PublicKey // of this process's own connections
	node   string            // this master's id
	system func() *server.Account
}

var _ server.Authentication = (*authenticator)(nil)

// newLocalKey returns the key of this process's own connections.
func newLocalKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("local key: %w", err)
	}
	return key, nil
}

// Check implements [server.Authentication].
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	kind, node, ok := strings.Cut(opts.Name, " ")
	if !ok || kind != opts.Nkey || !validNode(node) || c.Kind() != server.CLIENT {
		return false
	}
	sig, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil || len(c.GetNonce()) == 0 {
		return false
	}
	user := &server.User{}
	public := a.local
	switch kind {
	case kindNode:
		public = nodeKey(a.join, node).Public().(ed25519.PublicKey)
		user.Permissions = nodePermissions(node)
	case kindMaster:
		user.Permissions = masterPermissions()
	case kindSystem:
		user.Account = a.system()
	default:
		return false
	}
	if !ed25519.Verify(public, c.GetNonce(), sig) || kind != kindNode && node != a.node {
		return false
	}
	c.RegisterUser(user)
	return true
}
