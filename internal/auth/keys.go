// Package auth answers one question: what may the holder of this token do?
//
// It owns the API keys, the verification and signing of LiveKit access tokens
// (JWT, HS256: the issuer is the API key, the subject the identity) and the
// meaning of the grants inside them. It does not know rooms or connections:
// callers ask a [Claims] value and act on the answer.
//
// Start reading at [Keys.Verify], then grant.go for what a grant means.
package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// MinSecretLength is the number of bytes below which an HMAC-SHA256 secret is
// weaker than the hash it keys (RFC 7518 section 3.2). Shorter secrets work,
// because the development key of every LiveKit guide is shorter; production
// configurations are warned about them, see [Keys.Weak].
const MinSecretLength = 32

// The key pair of a development server, known to every LiveKit SDK guide.
const (
	DevKey    = "devkey"
	DevSecret = "secret"
)

// ErrNoKeys is returned when a key provider would have nothing to verify with.
var ErrNoKeys = errors.New("no API keys")

// Keys is an immutable set of API keys and their secrets. It implements
// LiveKit's auth.KeyProvider. Its textual forms never show a secret.
type Keys struct {
	secrets map[string]string
	names   []string // sorted
}

// NewKeys copies secrets (API key to secret). It refuses an empty set, an empty
// key or secret, and keys with surrounding spaces, which are always a slip.
func NewKeys(secrets map[string]string) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, ErrNoKeys
	}
	k := &Keys{secrets: make(map[string]string, len(secrets))}
	for name, secret := range secrets {
		switch {
		case name == "" || strings.TrimSpace(name) != name:
			return nil, fmt.Errorf("API key %q: empty or with surrounding spaces", name)
		case secret == "":
			return nil, fmt.Errorf("API key %q: empty secret", name)
		}
		k.secrets[name] = secret
		k.names = append(k.names, name)
	}
	slices.Sort(k.names)
	return k, nil
}

// GetSecret returns the secret of key, or "" when the key is unknown.
func (k *Keys) GetSecret(key string) string { return k.secrets[key] }

// NumKeys returns how many keys there are.
func (k *Keys) NumKeys() int { return len(k.names) }

// First returns the alphabetically first key and its secret. It signs whatever
// the server issues by itself: refresh tokens, and webhooks without api_key.
func (k *Keys) First() (key, secret string) {
	return k.names[0], k.secrets[k.names[0]]
}

// Weak returns the keys whose secret is shorter than [MinSecretLength], sorted.
func (k *Keys) Weak() []string {
	var weak []string
	for _, name := range k.names {
		if len(k.secrets[name]) < MinSecretLength {
			weak = append(weak, name)
		}
	}
	return weak
}

// String lists the key names only.
func (k *Keys) String() string { return "keys(" + strings.Join(k.names, ",") + ")" }

// GoString is String: %#v must not reach the secrets either.
func (k *Keys) GoString() string { return k.String() }

// LogValue is String, for log/slog.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }
