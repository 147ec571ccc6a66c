package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/room"
)

const (
	testKey    = "key"
	testSecret = "a-secret-of-more-than-thirty-two-characters"
)

// newAPI serves the room service of a node without any client.
func newAPI(t *testing.T) (url string, rooms *room.Manager) {
	t.Helper()
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tc := transport.Default()
	tc.UDPPort, tc.TCPPort, tc.BindAddresses, tc.EnableLoopback = 0, -1, []string{"127.0.0.1"}, true
	log := slog.New(slog.DiscardHandler)
	host, err := transport.NewHost(tc, cert, log)
	if err != nil {
		t.Fatal(err)
	}
	loop := peer.NewLoop()
	rooms = room.NewManager(room.DefaultConfig(), room.Deps{Host: host, Loop: loop, Log: log, Version: "test"})
	keys, err := auth.NewKeys(map[string]string{testKey: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	Routes(mux, keys, rooms, 1<<20)
	done := make(chan struct{})
	(&Console{Keys: keys, Rooms: rooms, Log: log, Done: done, Node: func() NodeView { return NodeView{ID: "ND_test"} }}).Routes(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		close(done)
		srv.Close()
		if err := rooms.Close(context.Background()); err != nil {
			t.Error(err)
		}
		loop.Close()
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv.URL, rooms
}

// as returns a context that sends a token with these grants.
func as(t *testing.T, grant auth.VideoGrant) context.Context {
	t.Helper()
	token, err := auth.Sign(testKey, testSecret, auth.Claims{Identity: "op", Video: &grant}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := twirp.WithHTTPRequestHeaders(t.Context(), http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func codeOf(err error) twirp.ErrorCode {
	var te twirp.Error
	if errors.As(err, &te) {
		return te.Code()
	}
	return twirp.NoError
}

// Both encodings, since JS and Ruby SDKs speak JSON.
func eachClient(t *testing.T, url string, f func(t *testing.T, c livekit.RoomService)) {
	t.Run("protobuf", func(t *testing.T) { f(t, livekit.NewRoomServiceProtobufClient(url, http.DefaultClient)) })
	t.Run("json", func(t *testing.T) { f(t, livekit.NewRoomServiceJSONClient(url, http.DefaultClient)) })
}

func TestRooms(t *testing.T) {
	url, _ := newAPI(t)
	ctx := as(t, auth.VideoGrant{RoomCreate: true, RoomList: true})
	eachClient(t, url, func(t *testing.T, c livekit.RoomService) {
		created, err := c.CreateRoom(ctx, &livekit.CreateRoomRequest{Name: "one", Metadata: "m", EmptyTimeout: 60})
		if err != nil || created.Name != "one" || created.Metadata != "m" || created.EmptyTimeout != 60 || created.Sid == "" {
			t.Fatalf("create: %v, %v", created, err)
		}
		again, err := c.CreateRoom(ctx, &livekit.CreateRoomRequest{Name: "one"})
		if err != nil || again.Sid != created.Sid || again.Metadata != "m" {
			t.Errorf("creating it again: %v, %v", again, err)
		}
		list, err := c.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{"one", "two"}})
		if err != nil || len(list.Rooms) != 1 {
			t.Errorf("list: %v, %v", list, err)
		}
		if _, err := c.DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: "one"}); err != nil {
			t.Errorf("delete: %v", err)
		}
		if _, err := c.DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: "one"}); codeOf(err) != twirp.NotFound {
			t.Errorf("deleting it twice: %v, want not_found", err)
		}
	})
}

func TestCodes(t *testing.T) {
	url, _ := newAPI(t)
	admin := auth.VideoGrant{RoomAdmin: true, Room: "r"}
	if _, err := livekit.NewRoomServiceProtobufClient(url, http.DefaultClient).CreateRoom(
		as(t, auth.VideoGrant{RoomCreate: true}), &livekit.CreateRoomRequest{Name: "r"}); err != nil {
		t.Fatal(err)
	}
	id := &livekit.RoomParticipantIdentity{Room: "r", Identity: "nobody"}
	for _, tc := range []struct {
		name string
		ctx  context.Context
		call func(ctx context.Context, c livekit.RoomService) error
		want twirp.ErrorCode
	}{
		{"no token", t.Context(), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.ListRooms(ctx, &livekit.ListRoomsRequest{})
			return err
		}, twirp.Unauthenticated},
		{"list without the grant", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.ListRooms(ctx, &livekit.ListRoomsRequest{})
			return err
		}, twirp.PermissionDenied},
		{"create without the grant", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.CreateRoom(ctx, &livekit.CreateRoomRequest{Name: "x"})
			return err
		}, twirp.PermissionDenied},
		{"a room without a name", as(t, auth.VideoGrant{RoomCreate: true}), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.CreateRoom(ctx, &livekit.CreateRoomRequest{})
			return err
		}, twirp.InvalidArgument},
		{"admin of another room", as(t, auth.VideoGrant{RoomAdmin: true, Room: "s"}), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.GetParticipant(ctx, id)
			return err
		}, twirp.PermissionDenied},
		{"an unknown participant", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.GetParticipant(ctx, id)
			return err
		}, twirp.NotFound},
		{"removing an unknown participant", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.RemoveParticipant(ctx, id)
			return err
		}, twirp.NotFound},
		{"updating an unknown participant", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.UpdateParticipant(ctx, &livekit.UpdateParticipantRequest{Room: "r", Identity: "nobody"})
			return err
		}, twirp.NotFound},
		{"an unknown room", as(t, auth.VideoGrant{RoomAdmin: true, Room: "none"}), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.UpdateRoomMetadata(ctx, &livekit.UpdateRoomMetadataRequest{Room: "none", Metadata: "m"})
			return err
		}, twirp.NotFound},
		{"participants of an unknown room", as(t, auth.VideoGrant{RoomAdmin: true, Room: "none"}), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: "none"})
			return err
		}, twirp.NoError},
		{"an RPC to nobody", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.PerformRpc(ctx, &livekit.PerformRpcRequest{Room: "r", DestinationIdentity: "nobody", Method: "m"})
			return err
		}, twirp.NotFound},
		{"too much data", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.SendData(ctx, &livekit.SendDataRequest{Room: "r", Data: make([]byte, 70_000)})
			return err
		}, twirp.InvalidArgument},
		{"what is not there yet", as(t, admin), func(ctx context.Context, c livekit.RoomService) error {
			_, err := c.MoveParticipant(ctx, &livekit.MoveParticipantRequest{Room: "r"})
			return err
		}, twirp.Unimplemented},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachClient(t, url, func(t *testing.T, c livekit.RoomService) {
				if err := tc.call(tc.ctx, c); codeOf(err) != tc.want {
					t.Errorf("%v, want code %q", err, tc.want)
				}
			})
		})
	}
}

func TestErrorsHaveCodes(t *testing.T) {
	for err, want := range map[error]twirp.ErrorCode{
		room.ErrRoomFull:                          twirp.ResourceExhausted,
		room.ErrRemoteUnmute:                      twirp.FailedPrecondition,
		room.ErrRPCTimeout:                        twirp.DeadlineExceeded,
		room.ErrClosed:                            twirp.Unavailable,
		context.Canceled:                          twirp.Canceled,
		&room.RPCError{Code: 1500, Message: "no"}: twirp.Aborted,
		io.ErrUnexpectedEOF:                       twirp.Internal,
	} {
		if got := codeOf(toTwirp(err)); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestConsole(t *testing.T) {
	url, rooms := newAPI(t)
	if _, err := rooms.Create(t.Context(), &livekit.CreateRoomRequest{Name: "a/b"}); err != nil {
		t.Fatal(err)
	}
	get := func(path, key, secret string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.SetBasicAuth(key, secret)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // read to its end
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	for _, tc := range []struct {
		path, key, secret string
		status            int
		contains          string
	}{
		{"/api/v1/rooms", "", "", 401, "sign in"},
		{"/api/v1/rooms", testKey, "wrong", 401, "sign in"},
		{"/api/v1/rooms", "other", "", 401, "sign in"},
		{"/api/v1/rooms", testKey, testSecret, 200, `"name":"a/b"`},
		{"/api/v1/rooms/a%2Fb", testKey, testSecret, 200, `"name":"a/b"`},
		{"/api/v1/rooms/none", testKey, testSecret, 404, `there is no room \"none\"`},
	} {
		if status, body := get(tc.path, tc.key, tc.secret); status != tc.status || !strings.Contains(body, tc.contains) {
			t.Errorf("%s as %q: %d %s, want %d with %s", tc.path, tc.key, status, body, tc.status, tc.contains)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(testKey, testSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // the stream never ends by itself
	head := make([]byte, 30)
	if _, err := io.ReadFull(res.Body, head); err != nil || !strings.HasPrefix(string(head), "event: snapshot\ndata: {") {
		t.Errorf("stream begins with %q, %v", head, err)
	}
}

// A room that ends while it is asked is not there; only the server as a whole
// can be unavailable.
func TestEndedRoomIsNotFound(t *testing.T) {
	var err twirp.Error
	if !errors.As(inRoom(room.ErrClosed), &err) || err.Code() != twirp.NotFound {
		t.Errorf("of a room: %v", err)
	}
	if !errors.As(toTwirp(room.ErrClosed), &err) || err.Code() != twirp.Unavailable {
		t.Errorf("of the server: %v", err)
	}
	if inRoom(nil) != nil {
		t.Error("no error became one")
	}
}
