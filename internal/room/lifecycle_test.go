package room

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// hold stops the room's goroutine until release is called.
func hold(t *testing.T, r *Room) (release func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	r.mail.post(func() { close(held); <-free })
	<-held
	return func() { close(free) }
}

func (m *mailbox) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

// What closes with a room may be waiting for an answer of the room.
func TestCloseDoesNotWaitForItself(t *testing.T) {
	r := newRig(t, nil)
	r.join("ann", nil)
	room := r.Room("r")
	answered := make(chan error, 1)
	room.mail.post(func() {
		room.wg.Go(func() { answered <- room.call(context.Background(), func() error { return nil }) })
		for room.mail.waiting() == 0 { // until it has asked
			time.Sleep(time.Millisecond)
		}
		room.close(livekit.DisconnectReason_ROOM_DELETED)
	})
	select {
	case err := <-answered:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("answer %v, want that the room is closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the room waits for a goroutine that waits for the room")
	}
}

// A caller that has given up must not be surprised by what it asked for.
func TestGivenUpCallsDoNotRun(t *testing.T) {
	r := newRig(t, nil)
	r.join("ann", nil)
	room := r.Room("r")
	release := hold(t, room)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	c := &client{}
	_, err := r.Join(ctx, Join{Room: "r", Claims: claims("bob", nil), Sink: c, Client: &livekit.ClientInfo{}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("join: %v", err)
	}
	release()
	list, err := room.Participants(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("participants %v, %v: bob joined although nobody listens", list, err)
	}
	if len(c.all()) != 0 {
		t.Errorf("bob was told %v", c.all())
	}
}

// While a room ends, those who come find the next one.
func TestJoinWhileTheRoomEnds(t *testing.T) {
	r := newRig(t, nil)
	r.join("ann", nil)
	old := r.Room("r")
	release := hold(t, old)
	deleted, admitted := make(chan error, 1), make(chan error, 1)
	go func() { deleted <- old.Delete(context.Background()) }()
	eventually(t, "delete asked", func() bool { return old.mail.waiting() == 1 })
	go func() { admitted <- r.Admit(context.Background(), Join{Room: "r", Claims: claims("bob", nil)}) }()
	eventually(t, "admission asked", func() bool { return old.mail.waiting() == 2 })
	type joined struct {
		s   *Session
		err error
	}
	bob := make(chan joined, 1)
	go func() {
		s, err := r.Join(context.Background(), Join{Room: "r", Claims: claims("bob", nil), Sink: &client{}, Single: true})
		bob <- joined{s, err}
	}()
	eventually(t, "join asked", func() bool { return old.mail.waiting() == 3 })
	release()
	if err := <-deleted; err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := <-admitted; err != nil {
		t.Errorf("admission: %v", err)
	}
	j := <-bob
	if j.err != nil {
		t.Fatalf("join: %v", j.err)
	}
	if now := r.Room("r"); now == old || now != j.s.p.room {
		t.Error("bob is in the room that has ended")
	}
}

// nosy is a sink in the middle of whose first Send another response is sent to
// the participant, as peers do at any time.
type nosy struct {
	client
	meanwhile func()
	once      atomic.Bool
}

func (n *nosy) Send(m *Message) error {
	if n.once.CompareAndSwap(false, true) {
		n.meanwhile()
	}
	return n.client.Send(m)
}

func TestReconnectResponseComesFirst(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	s.do(func() { s.p.activate() })
	s.Detach()
	c := &nosy{meanwhile: func() { (&peerEvents{p: s.p}).OnMediaSections(1, 1) }}
	if _, err := r.Resume(t.Context(), Join{Room: "r", Claims: claims("ann", nil), Sink: c, Single: true, Reconnect: true, ParticipantSID: s.p.sid}); err != nil {
		t.Fatal(err)
	}
	if first := c.all()[0]; first.GetReconnect() == nil {
		t.Errorf("the first response is %v", first)
	}
}

// The word that the old connection is gone may come after the client is back.
func TestLateWordOfAConnection(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{Cid: "c"}}})
	s.p.sink.Store(nil) // what Detach does before it tells the room
	c := &client{}
	if _, err := r.Resume(t.Context(), Join{Room: "r", Claims: claims("ann", nil), Sink: c, Single: true, Reconnect: true, ParticipantSID: s.p.sid}); err != nil {
		t.Fatal(err)
	}
	s.do(s.p.detached)
	if list, err := r.Room("r").Participants(t.Context()); err != nil || len(list) != 1 {
		t.Fatalf("participants %v, %v: removed although it has resumed", list, err)
	}
	// What the old connection still delivers is older than what the new one did.
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Leave{Leave: &livekit.LeaveRequest{}}})
	if list, err := r.Room("r").Participants(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("participants %v, %v: removed by a connection that it has left", list, err)
	}
}

// answerRPC makes a participant answer the server's RPC as its SDK would.
func answerRPC(t *testing.T, p *Participant, id, payload string) {
	t.Helper()
	raw, err := proto.Marshal(&livekit.DataPacket{
		DestinationIdentities: []string{serverIdentity},
		Value: &livekit.DataPacket_RpcResponse{RpcResponse: &livekit.RpcResponse{
			RequestId: id, Value: &livekit.RpcResponse_Payload{Payload: payload},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.onPacket(livekit.DataPacket_RELIABLE, raw)
}

func TestServerRPC(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join("ann", nil)
	eve, _ := r.join("eve", nil)
	room := r.Room("r")
	type result struct {
		payload string
		err     error
	}
	perform := func(req *livekit.PerformRpcRequest) (string, <-chan result) {
		t.Helper()
		done := make(chan result, 1)
		go func() {
			payload, err := room.PerformRPC(context.Background(), req)
			done <- result{payload, err}
		}()
		eventually(t, "the call", func() bool { return len(room.rpcs.Pending()) == 1 })
		return room.rpcs.Pending()[0], done
	}
	end := func(done <-chan result) result {
		t.Helper()
		select {
		case res := <-done:
			if n := len(room.rpcs.Pending()); n != 0 {
				t.Errorf("%d calls are remembered", n)
			}
			return res
		case <-time.After(10 * time.Second):
			t.Fatal("the call does not end")
			return result{}
		}
	}

	id, done := perform(&livekit.PerformRpcRequest{DestinationIdentity: "ann", Method: "m"})
	answerRPC(t, eve.p, id, "forged")
	answerRPC(t, ann.p, id, "real")
	if res := end(done); res.err != nil || res.payload != "real" {
		t.Errorf("answer %+v", res)
	}
	_, done = perform(&livekit.PerformRpcRequest{DestinationIdentity: "ann", Method: "m", ResponseTimeoutMs: 20})
	if res := end(done); !errors.Is(res.err, ErrRPCTimeout) {
		t.Errorf("timeout: %+v", res)
	}
	_, done = perform(&livekit.PerformRpcRequest{DestinationIdentity: "ann", Method: "m"})
	if err := room.RemoveParticipant(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	var rpc *RPCError
	if res := end(done); !errors.As(res.err, &rpc) || rpc.Code != rpcDisconnected {
		t.Errorf("the participant left: %+v", res)
	}
	if _, err := room.PerformRPC(t.Context(), &livekit.PerformRpcRequest{DestinationIdentity: "ann"}); !errors.Is(err, ErrParticipantNotFound) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := room.PerformRPC(t.Context(), &livekit.PerformRpcRequest{DestinationIdentity: "eve", Payload: strings.Repeat("x", 70<<10)}); !errors.Is(err, ErrLimit) {
		t.Errorf("too large: %v", err)
	}
	_, done = perform(&livekit.PerformRpcRequest{DestinationIdentity: "eve", Method: "m"})
	if err := room.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	// eve left with the room; either word is true.
	if res := end(done); !errors.Is(res.err, ErrClosed) && !errors.As(res.err, &rpc) {
		t.Errorf("the room ended: %+v", res)
	}
}
