package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lkauth "github.com/livekit/protocol/auth"
)

// Errors of [Keys.Verify] and [FromRequest]. All mean HTTP 401. None of their
// messages contains the token.
var (
	ErrMissing     = errors.New("access token is missing")
	ErrMalformed   = errors.New("access token is malformed")
	ErrUnknownKey  = errors.New("access token is signed with an unknown API key")
	ErrSignature   = errors.New("access token has a wrong signature")
	ErrExpired     = errors.New("access token is expired")
	ErrNotYetValid = errors.New("access token is not valid yet")
)

const (
	// DefaultTTL is how long a token lives when its issuer does not say.
	DefaultTTL = 6 * time.Hour
	// RefreshTTL is the least that a refresh token lives.
	RefreshTTL = 10 * time.Minute
	// Leeway forgives clocks of token issuers that are this far off.
	Leeway = time.Minute

	bearerPrefix = "Bearer "
	queryParam   = "access_token"
)

// body is the JSON payload of a token.
type body struct {
	jwt.RegisteredClaims
	lkauth.ClaimGrants
}

// FromRequest finds the token of r: the Authorization header (scheme Bearer),
// else the access_token query parameter, which browsers use because they
// cannot set headers on a WebSocket. Errors: [ErrMissing], and [ErrMalformed]
// for another authorization scheme.
func FromRequest(r *http.Request) (string, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		token, ok := strings.CutPrefix(h, bearerPrefix)
		if !ok {
			return "", fmt.Errorf("%w: the authorization header must start with %q", ErrMalformed, bearerPrefix)
		}
		return token, nil
	}
	if token := r.URL.Query().Get(queryParam); token != "" {
		return token, nil
	}
	return "", ErrMissing
}

// Verify checks token against the keys at the time now and returns what it
// grants. Only HS256 is accepted and an expiry is required. The error is one
// of the Err values of this package, with a reason fit to show to the client.
func (k *Keys) Verify(token string, now time.Time) (Claims, error) {
	if token == "" {
		return Claims{}, ErrMissing
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithLeeway(Leeway),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)
	var b body
	_, err := parser.ParseWithClaims(token, &b, func(*jwt.Token) (any, error) {
		secret, ok := k.secrets[b.Issuer]
		if !ok {
			return nil, fmt.Errorf("%w: %.64q", ErrUnknownKey, b.Issuer)
		}
		return []byte(secret), nil
	})
	if err != nil {
		return Claims{}, verifyError(err)
	}
	c := fromGrants(&b.ClaimGrants)
	c.APIKey = b.Issuer
	c.Identity = b.Subject
	if c.Identity == "" {
		c.Identity = b.ID // tokens of the first LiveKit SDKs
	}
	c.ExpiresAt = b.ExpiresAt.Time
	if b.NotBefore != nil {
		c.NotBefore = b.NotBefore.Time
	}
	return c, nil
}

// verifyError maps an error of the JWT library to one of ours.
func verifyError(err error) error {
	switch {
	case errors.Is(err, ErrUnknownKey):
		// Unwrap the library's "token is unverifiable: error while executing keyfunc".
		var joined interface{ Unwrap() []error }
		if errors.As(err, &joined) {
			for _, e := range joined.Unwrap() {
				if errors.Is(e, ErrUnknownKey) {
					return e
				}
			}
		}
		return ErrUnknownKey
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return ErrSignature
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ErrNotYetValid
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return fmt.Errorf("%w: it has no expiry", ErrMalformed)
	default:
		return ErrMalformed
	}
}

// Sign returns a token that says c, issued by key and valid from now for ttl
// (DefaultTTL when ttl is not positive). It ignores c.APIKey, c.NotBefore and
// c.ExpiresAt. It refuses a room configuration that holds credentials, because
// a token is readable by whoever carries it.
func Sign(key, secret string, c Claims, ttl time.Duration) (string, error) {
	if c.RoomConfig != nil {
		if err := (*lkauth.RoomConfiguration)(c.RoomConfig).CheckCredentials(); err != nil {
			return "", fmt.Errorf("sign token: %w", err)
		}
	}
	return sign(key, secret, c, ttl, time.Now())
}

func sign(key, secret string, c Claims, ttl time.Duration, now time.Time) (string, error) {
	if key == "" || secret == "" {
		return "", ErrNoKeys
	}
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	b := body{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    key,
			Subject:   c.Identity,
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		ClaimGrants: *c.grants(),
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, &b).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// Refresh returns a fresh token with the same claims for a participant who is
// connected, so that it can reconnect after the first one has expired. It is
// signed with the first key, and lives as long as the original would have, or
// [RefreshTTL] when that is longer.
func (k *Keys) Refresh(c Claims, now time.Time) (string, error) {
	key, secret := k.First()
	return sign(key, secret, c, max(RefreshTTL, c.ExpiresAt.Sub(now)), now)
}
