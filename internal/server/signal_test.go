package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/auth"
)

// dial joins room r over a WebSocket, as an SDK does.
func (s *Server) dial(t *testing.T, identity, query string, change func(*auth.Claims)) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	c := auth.Claims{Identity: identity, Video: &auth.VideoGrant{RoomJoin: true, Room: "r"}}
	if change != nil {
		change(&c)
	}
	token, err := auth.Sign(auth.DevKey, auth.DevSecret, c, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, fmt.Sprintf("ws://127.0.0.1:%d/rtc?protocol=16&sdk=js&access_token=%s%s", s.http.port(), token, query), nil)
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() }) // usually closed by then
		ws.SetReadLimit(-1)
	}
	return ws, res, err
}

// next reads responses until one is wanted.
func next(t *testing.T, ws *websocket.Conn, want func(*livekit.SignalResponse) bool) (*livekit.SignalResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, raw, err := ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		m := &livekit.SignalResponse{}
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		if want(m) {
			return m, nil
		}
	}
}

// When the server stops, everybody is told before the connection ends.
func TestStopTellsEverybody(t *testing.T) {
	s := devServer(t, nil)
	var all []*websocket.Conn
	for i := range 20 {
		ws, _, err := s.dial(t, fmt.Sprint("p", i), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next(t, ws, func(m *livekit.SignalResponse) bool { return m.GetJoin() != nil }); err != nil {
			t.Fatal(err)
		}
		all = append(all, ws)
	}
	told := make(chan error, len(all))
	for _, ws := range all {
		go func() {
			_, err := next(t, ws, func(m *livekit.SignalResponse) bool {
				return m.GetLeave().GetReason() == livekit.DisconnectReason_SERVER_SHUTDOWN
			})
			told <- err
		}()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range all {
		if err := <-told; err != nil {
			t.Errorf("not told: %v", err)
		}
	}
	if err := s.Close(); err != nil { // again
		t.Errorf("second close: %v", err)
	}
}

// A token says who somebody is; who may not change that, may not at a join.
func TestAttributesNeedTheGrant(t *testing.T) {
	s := devServer(t, nil)
	query := "&attributes=" + base64.URLEncoding.EncodeToString([]byte(`{"role":"admin"}`))
	if _, res, err := s.dial(t, "ann", query, nil); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the grant: %v, %v", res, err)
	}
	yes := true
	ws, _, err := s.dial(t, "ann", query, func(c *auth.Claims) { c.Video.CanUpdateOwnMetadata = &yes })
	if err != nil {
		t.Fatal(err)
	}
	j, err := next(t, ws, func(m *livekit.SignalResponse) bool { return m.GetJoin() != nil })
	if err != nil || j.GetJoin().Participant.Attributes["role"] != "admin" {
		t.Errorf("with the grant: %v, %v", j, err)
	}
}

func TestBadFrameEndsOneConnectionOnly(t *testing.T) {
	s := devServer(t, nil)
	bad, _, err := s.dial(t, "bad", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := s.dial(t, "good", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Write(t.Context(), websocket.MessageBinary, []byte{0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	_, err = next(t, bad, func(*livekit.SignalResponse) bool { return false })
	if status := websocket.CloseStatus(err); status != websocket.StatusInvalidFramePayloadData || !strings.Contains(err.Error(), "not a SignalRequest") {
		t.Errorf("the connection ends with %v", err)
	}
	left, err := next(t, good, func(m *livekit.SignalResponse) bool {
		for _, p := range m.GetUpdate().GetParticipants() {
			if p.Identity == "bad" && p.State == livekit.ParticipantInfo_DISCONNECTED {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Errorf("the other is not told: %v, %v", left, err)
	}
	if n := s.signal.Stats().BadFrames.Load(); n != 1 {
		t.Errorf("%d bad frames counted", n)
	}
}

// A name that resolves to this machine by somebody else's will is not its own.
func TestDevKeysAreForThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost:7880": true, "localhost": true, "127.0.0.1:7880": true, "[::1]:7880": true, "::1": true, "192.168.1.2": true,
		"evil.example:7880": false, "localhost.evil.example": false, "": false,
	} {
		if got := localName(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func TestRoomAndSignalConfig(t *testing.T) {
	cfg, err := load(t, goodKeys+`
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
room: {join_timeout: 30, media_grace: 8s, signal_grace: 10}
limit: {tracks_per_participant: 7, max_data_message_size: 16KiB}
`)
	if err != nil {
		t.Fatal(err)
	}
	rc := roomConfig(cfg)
	if rc.JoinTimeout != 30*time.Second || rc.MediaGrace != 8*time.Second || rc.SignalGrace != 10*time.Second || rc.MaxTracks != 7 || rc.MaxDataMessage != 16<<10 {
		t.Errorf("room %+v", rc)
	}
	sc, err := signalConfig(cfg)
	if err != nil || len(sc.TrustedProxies) != 2 {
		t.Errorf("signal %+v, %v", sc, err)
	}
	for _, bad := range []string{"trusted_proxies: [10.0.0.1]\n", "limit: {max_data_message_size: 128KiB}\n", "room: {join_timeout: 0}\n"} {
		if _, err := load(t, goodKeys+bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
