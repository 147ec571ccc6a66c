package signal

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/room"
)

func wrap(t testing.TB, jr *livekit.JoinRequest, compress bool) string {
	t.Helper()
	body, err := proto.Marshal(jr)
	if err != nil {
		t.Fatal(err)
	}
	w := &livekit.WrappedJoinRequest{JoinRequest: body}
	if compress {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		w.Compression, w.JoinRequest = livekit.WrappedJoinRequest_GZIP, buf.Bytes()
	}
	raw, err := proto.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return base64.URLEncoding.EncodeToString(raw)
}

func TestDecodeJoinRequest(t *testing.T) {
	want := &livekit.JoinRequest{
		ClientInfo:         &livekit.ClientInfo{Sdk: livekit.ClientInfo_JS, Version: "2.23.0"},
		ConnectionSettings: &livekit.ConnectionSettings{AutoSubscribe: true},
		PublisherOffer:     &livekit.SessionDescription{Type: "offer", Sdp: strings.Repeat("a=x\r\n", 4000), Id: 1},
	}
	for _, compress := range []bool{false, true} {
		got, err := decodeJoinRequest(wrap(t, want, compress))
		if err != nil {
			t.Fatalf("compress %v: %v", compress, err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("compress %v: got another request back", compress)
		}
	}
	unpadded := strings.TrimRight(wrap(t, want, true), "=")
	if _, err := decodeJoinRequest(unpadded); err != nil {
		t.Errorf("unpadded base64: %v", err)
	}
}

func TestDecodeJoinRequestRefuses(t *testing.T) {
	bomb := func() string {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		zeros := make([]byte, 1<<20)
		for range 8 {
			_, _ = z.Write(zeros) // into memory
		}
		_ = z.Close()
		raw, _ := proto.Marshal(&livekit.WrappedJoinRequest{Compression: livekit.WrappedJoinRequest_GZIP, JoinRequest: buf.Bytes()})
		return base64.URLEncoding.EncodeToString(raw)
	}()
	enc := base64.URLEncoding.EncodeToString
	unknown, _ := proto.Marshal(&livekit.WrappedJoinRequest{Compression: 7})
	notGzip, _ := proto.Marshal(&livekit.WrappedJoinRequest{Compression: livekit.WrappedJoinRequest_GZIP, JoinRequest: []byte("hello")})
	notJoin, _ := proto.Marshal(&livekit.WrappedJoinRequest{JoinRequest: []byte{0xff, 0xff}})
	for _, tc := range []struct{ name, text, want string }{
		{"no base64", "!!!", "not base64url"},
		{"no protobuf", enc([]byte{0xff, 0xff, 0xff}), "not a WrappedJoinRequest"},
		{"unknown compression", enc(unknown), "unknown compression 7"},
		{"no gzip", enc(notGzip), "not gzip"},
		{"no join request", enc(notJoin), "does not hold a JoinRequest"},
		{"a decompression bomb", bomb, "larger than"},
	} {
		if _, err := decodeJoinRequest(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", tc.name, err, tc.want)
		}
	}
}

func TestParseQuery(t *testing.T) {
	attrs := base64.URLEncoding.EncodeToString([]byte(`{"a":"1"}`))
	r := httptest.NewRequest(http.MethodGet, "/rtc?auto_subscribe=0&adaptive_stream=1&reconnect=1&sid=PA_x&reconnect_reason=2"+
		"&sdk=js&version=2.23.0&protocol=16&os=mac&attributes="+attrs, nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	var j room.Join
	if err := parseQuery(&j, r.URL.Query(), r); err != nil {
		t.Fatal(err)
	}
	if j.AutoSubscribe || !j.AdaptiveStream || !j.Reconnect || j.ParticipantSID != "PA_x" || j.ReconnectReason != 2 {
		t.Errorf("flags: %+v", j)
	}
	if j.Client.Sdk != livekit.ClientInfo_JS || j.Client.Protocol != 16 || j.Client.Browser != "firefox" || j.Client.Os != "mac" {
		t.Errorf("client: %v", j.Client)
	}
	if j.Attributes["a"] != "1" {
		t.Errorf("attributes: %v", j.Attributes)
	}
	r = httptest.NewRequest(http.MethodGet, "/rtc?attributes=%21", nil)
	if err := parseQuery(&j, r.URL.Query(), r); err == nil {
		t.Error("broken attributes pass")
	}
}

func TestDecodeFrame(t *testing.T) {
	req := &livekit.SignalRequest{Message: &livekit.SignalRequest_Ping{Ping: 7}}
	raw, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		text bool
		data string
		ok   bool
	}{
		{"protobuf", false, string(raw), true},
		{"json", true, `{"ping":"7"}`, true},
		{"json with a field from the future", true, `{"ping":"7","later":1}`, true},
		{"empty", false, "", true},
		{"text as protobuf", false, "hello", false},
		{"protobuf as json", true, string(raw), false},
	} {
		if _, err := decode(tc.text, []byte(tc.data)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestJoinLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newJoinLimiter(2, 5)
	for i := range 5 {
		if !l.allow("a", now) {
			t.Fatalf("join %d of the burst refused", i)
		}
	}
	if l.allow("a", now) {
		t.Error("a join over the burst passes")
	}
	if !l.allow("b", now) {
		t.Error("another address pays for the first")
	}
	if !l.allow("a", now.Add(500*time.Millisecond)) {
		t.Error("no join half a second later at two a second")
	}
	l.allow("c", now.Add(time.Hour))
	if len(l.byIP) != 1 {
		t.Errorf("%d addresses remembered after an hour, want the last one", len(l.byIP))
	}
}

func FuzzDecodeJoinRequest(f *testing.F) {
	f.Add(wrap(f, &livekit.JoinRequest{Metadata: "m"}, false))
	f.Add(wrap(f, &livekit.JoinRequest{Metadata: "m"}, true))
	f.Fuzz(func(t *testing.T, text string) {
		if jr, err := decodeJoinRequest(text); err == nil && jr == nil {
			t.Error("neither request nor error")
		}
	})
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(true, []byte(`{"ping":"7"}`))
	f.Add(false, []byte{0x70, 7})
	f.Fuzz(func(t *testing.T, text bool, data []byte) {
		if req, err := decode(text, data); err == nil && req == nil {
			t.Error("neither request nor error")
		}
	})
}

// Only a trusted proxy's word about an address counts.
func TestClientAddress(t *testing.T) {
	s := &Server{cfg: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, tc := range []struct {
		name, from string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:5", nil, "192.0.2.1"},
		{"a client that lies", "192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		{"behind a proxy", "10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		{"behind two", "10.0.0.1:5", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"in two headers", "10.0.0.1:5", []string{"198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		{"a client that lies to a proxy", "10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"a proxy that says nothing", "10.0.0.1:5", nil, "10.0.0.1"},
		{"a proxy that says nonsense", "10.0.0.1:5", []string{"unknown"}, "10.0.0.1"},
		{"IPv6", "[fd00::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/rtc", nil)
		r.RemoteAddr = tc.from
		for _, f := range tc.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := s.clientAddress(r); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// A host with an IPv6 network has as many addresses as it likes.
func TestJoinLimiterSeesNetworks(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newJoinLimiter(1, 1)
	if !l.allow("2001:db8:1:2::1", now) {
		t.Fatal("the first join is refused")
	}
	if l.allow("2001:db8:1:2:ffff::9", now) {
		t.Error("another address of the same network passes")
	}
	if !l.allow("2001:db8:1:3::1", now) || !l.allow("192.0.2.1", now) || !l.allow("192.0.2.2", now) || !l.allow("not an address", now) {
		t.Error("another network pays")
	}
}
