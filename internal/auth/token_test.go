package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	lkauth "github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const strongSecret = "0123456789abcdef0123456789abcdef"

func testKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := NewKeys(map[string]string{DevKey: DevSecret, "prod": strongSecret})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func fullClaims() Claims {
	return Claims{
		Identity:    "alice",
		Name:        "Alice",
		Metadata:    "m",
		Attributes:  map[string]string{"a": "1"},
		Kind:        livekit.ParticipantInfo_AGENT,
		KindDetails: []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CLOUD_AGENT},
		Video: &VideoGrant{
			RoomJoin: true, Room: "r", CanPublish: yes(), CanSubscribe: no(),
			CanPublishSources: []string{"camera", "microphone"}, Hidden: true, Recorder: true,
		},
		SIP:        &SIPGrant{Admin: true},
		Agent:      &AgentGrant{Admin: true},
		RoomConfig: &livekit.RoomConfiguration{Name: "r", MaxParticipants: 3, Tags: map[string]string{"t": "v"}},
		RoomPreset: "preset",
		SHA256:     "digest",
	}
}

func TestSignThenVerifyKeepsEveryClaim(t *testing.T) {
	want := fullClaims()
	token, err := sign("prod", strongSecret, want, time.Hour, testNow)
	if err != nil {
		t.Fatal(err)
	}
	got, err := testKeys(t).Verify(token, testNow)
	if err != nil {
		t.Fatal(err)
	}
	want.APIKey, want.NotBefore, want.ExpiresAt = "prod", testNow, testNow.Add(time.Hour)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("claims changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, got.Clone(), protocmp.Transform()); diff != "" {
		t.Errorf("clone differs:\n%s", diff)
	}
	clone := got.Clone()
	clone.Attributes["a"] = "2"
	*clone.Video.CanPublish = false
	clone.RoomConfig.Name = "other"
	if got.Attributes["a"] != "1" || !*got.Video.CanPublish || got.RoomConfig.Name != "r" {
		t.Error("the clone shares memory with the original")
	}
}

// The development key of every LiveKit guide must work with LiveKit's own code.
func TestInteroperatesWithLiveKitTokens(t *testing.T) {
	token, err := lkauth.NewAccessToken(DevKey, DevSecret).SetIdentity("bob").SetVideoGrant(&lkauth.VideoGrant{RoomJoin: true, Room: "r"}).ToJWT()
	if err != nil {
		t.Fatal(err)
	}
	c, err := testKeys(t).Verify(token, time.Now())
	if err != nil || c.Identity != "bob" || !c.CanJoin("r") {
		t.Fatalf("LiveKit's token: %+v, %v", c, err)
	}
	ours, err := Sign(DevKey, DevSecret, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	v, err := lkauth.ParseAPIToken(ours)
	if err != nil {
		t.Fatal(err)
	}
	reg, grants, err := v.Verify(DevSecret)
	if err != nil || grants.Identity != "bob" || grants.Kind != "" || !grants.Video.RoomJoin {
		t.Fatalf("our token in LiveKit's verifier: %+v, %v", grants, err)
	}
	if d := reg.ExpiresAt.Sub(reg.IssuedAt.Time); d != DefaultTTL {
		t.Errorf("default life is %v, want %v", d, DefaultTTL)
	}
}

func TestVerifyErrors(t *testing.T) {
	keys := testKeys(t)
	signed := func(key, secret string, at time.Time, ttl time.Duration) string {
		t.Helper()
		token, err := sign(key, secret, fullClaims(), ttl, at)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	raw := func(method jwt.SigningMethod, secret any, claims jwt.MapClaims) string {
		t.Helper()
		token, err := jwt.NewWithClaims(method, claims).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := signed("prod", strongSecret, testNow, time.Hour)
	parts := strings.Split(good, ".")
	tampered := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"prod","exp":9999999999,"video":{"roomAdmin":true}}`)) + "." + parts[2]
	exp := float64(testNow.Add(time.Hour).Unix())

	for _, tc := range []struct {
		name, token string
		want        error
	}{
		{"empty", "", ErrMissing},
		{"not a token", "hello", ErrMalformed},
		{"three empty parts", "..", ErrMalformed},
		{"header is not JSON", "aGk.aGk.aGk", ErrMalformed},
		{"unknown key", signed("other", strongSecret, testNow, time.Hour), ErrUnknownKey},
		{"other secret", signed("prod", "x"+strongSecret, testNow, time.Hour), ErrSignature},
		{"tampered body", tampered, ErrSignature},
		{"algorithm none", raw(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": "prod", "exp": exp}), ErrSignature},
		{"another hash", raw(jwt.SigningMethodHS512, []byte(strongSecret), jwt.MapClaims{"iss": "prod", "exp": exp}), ErrSignature},
		{"expired", signed("prod", strongSecret, testNow.Add(-2*time.Hour), time.Hour), ErrExpired},
		{"expired just now", signed("prod", strongSecret, testNow.Add(-time.Hour-Leeway-time.Second), time.Hour), ErrExpired},
		{"not yet valid", signed("prod", strongSecret, testNow.Add(Leeway+2*time.Second), time.Hour), ErrNotYetValid},
		{"no expiry", raw(jwt.SigningMethodHS256, []byte(strongSecret), jwt.MapClaims{"iss": "prod"}), ErrMalformed},
		{"grant of a wrong type", raw(jwt.SigningMethodHS256, []byte(strongSecret), jwt.MapClaims{"iss": "prod", "exp": exp, "video": "yes"}), ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := keys.Verify(tc.token, testNow)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error is %v, want %v", err, tc.want)
			}
			if c.Video != nil {
				t.Error("a refused token granted something")
			}
			for _, secret := range []string{tc.token, strongSecret} {
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("the message shows a secret: %v", err)
				}
			}
		})
	}

	for name, token := range map[string]string{
		"clock of the issuer ahead":  signed("prod", strongSecret, testNow.Add(Leeway-time.Second), time.Hour),
		"clock of the issuer behind": signed("prod", strongSecret, testNow.Add(-time.Hour-Leeway+time.Second), time.Hour),
	} {
		if _, err := keys.Verify(token, testNow); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Old SDKs put the identity into jti.
	c, err := keys.Verify(raw(jwt.SigningMethodHS256, []byte(strongSecret), jwt.MapClaims{"iss": "prod", "exp": exp, "jti": "old"}), testNow)
	if err != nil || c.Identity != "old" || c.Video == nil || c.Video.RoomJoin {
		t.Errorf("token without grants: %+v, %v", c, err)
	}
}

func TestSignRefuses(t *testing.T) {
	if _, err := Sign("", "s", Claims{}, 0); !errors.Is(err, ErrNoKeys) {
		t.Errorf("empty key: %v", err)
	}
	leaky := Claims{RoomConfig: &livekit.RoomConfiguration{Egress: &livekit.RoomEgress{Tracks: &livekit.AutoTrackEgress{
		Output: &livekit.AutoTrackEgress_S3{S3: &livekit.S3Upload{Secret: "hush"}},
	}}}}
	if _, err := Sign("k", "s", leaky, 0); !errors.Is(err, lkauth.ErrSensitiveCredentials) {
		t.Errorf("credentials in a token: %v", err)
	}
}

func TestRefresh(t *testing.T) {
	keys := testKeys(t)
	c := fullClaims()
	for name, tc := range map[string]struct{ expires, want time.Time }{
		"long original": {testNow.Add(time.Hour), testNow.Add(time.Hour)},
		"nearly over":   {testNow.Add(time.Second), testNow.Add(RefreshTTL)},
		"already over":  {testNow.Add(-time.Hour), testNow.Add(RefreshTTL)},
	} {
		c.ExpiresAt = tc.expires
		token, err := keys.Refresh(c, testNow)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keys.Verify(token, testNow)
		if err != nil || !got.ExpiresAt.Equal(tc.want) || got.Identity != c.Identity || got.APIKey != DevKey {
			t.Errorf("%s: %+v, %v; want expiry %v", name, got, err, tc.want)
		}
		if diff := cmp.Diff(c.Video, got.Video); diff != "" {
			t.Errorf("%s: grant changed:\n%s", name, diff)
		}
	}
}

func TestFromRequest(t *testing.T) {
	for _, tc := range []struct {
		name, header, url, want string
		err                     error
	}{
		{"header", "Bearer abc", "/rtc", "abc", nil},
		{"query", "", "/rtc?access_token=abc", "abc", nil},
		{"header wins", "Bearer abc", "/rtc?access_token=xyz", "abc", nil},
		{"basic", "Basic abc", "/rtc", "", ErrMalformed},
		{"nothing", "", "/rtc", "", ErrMissing},
	} {
		r := httptest.NewRequest("GET", tc.url, nil)
		if tc.header != "" {
			r.Header.Set("Authorization", tc.header)
		}
		got, err := FromRequest(r)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, m := range map[string]map[string]string{
		"none": {}, "empty key": {"": "s"}, "spaces": {" k": "s"}, "empty secret": {"k": ""},
	} {
		if _, err := NewKeys(m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	k := testKeys(t)
	var _ lkauth.KeyProvider = k
	if key, secret := k.First(); key != DevKey || secret != DevSecret {
		t.Errorf("first is %q", key)
	}
	if k.NumKeys() != 2 || k.GetSecret("prod") != strongSecret || k.GetSecret("x") != "" {
		t.Error("look-up")
	}
	if diff := cmp.Diff([]string{DevKey}, k.Weak()); diff != "" {
		t.Errorf("weak keys:\n%s", diff)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, k) + k.LogValue().String(); strings.Contains(s, strongSecret) || !strings.Contains(s, "prod") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func FuzzVerify(f *testing.F) {
	keys := testKeys(f)
	good, err := sign("prod", strongSecret, fullClaims(), time.Hour, testNow)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("")
	known := []error{ErrMissing, ErrMalformed, ErrUnknownKey, ErrSignature, ErrExpired, ErrNotYetValid}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := keys.Verify(token, testNow)
		if err == nil {
			if c.Identity != "alice" {
				t.Fatalf("accepted %q", token)
			}
			return
		}
		for _, k := range known {
			if errors.Is(err, k) {
				return
			}
		}
		t.Fatalf("unknown error %v", err)
	})
}
