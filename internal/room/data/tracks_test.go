package data

import (
	"fmt"
	"testing"

	"github.com/livekit/protocol/livekit"
)

// member is a participant that remembers what it is told.
type member struct {
	name    string
	receive bool
	lets    bool
	sent    []*livekit.SignalResponse
	packets []string // "handle payload"
}

func (m *member) Identity() string                 { return m.name }
func (m *member) SID() string                      { return "PA_" + m.name }
func (m *member) MayReceive() bool                 { return m.receive }
func (m *member) Lets(string, string, string) bool { return m.lets }
func (m *member) Send(r *livekit.SignalResponse)   { m.sent = append(m.sent, r) }
func (m *member) Deliver(packet []byte) {
	h, err := Handle(packet)
	if err != nil {
		panic(err)
	}
	m.packets = append(m.packets, fmt.Sprint(h, " ", string(packet[len(packet)-5:])))
}

// handles returns what the member was last told, by track sid.
func (m *member) handles() map[string]uint32 {
	out := map[string]uint32{}
	for i := len(m.sent) - 1; i >= 0; i-- {
		if h := m.sent[i].GetDataTrackSubscriberHandles(); h != nil {
			for handle, t := range h.SubHandles {
				out[t.TrackSid] = handle
			}
			return out
		}
	}
	return out
}

func newMember(name string) *member { return &member{name: name, receive: true, lets: true} }

func newTracks(limit int) *Tracks {
	n := 0
	return NewTracks(func() string { n++; return fmt.Sprint("DTR_", n) }, limit)
}

func TestPublishRefuses(t *testing.T) {
	m := newMember("ann")
	c := newTracks(2).Join(m, false)
	for _, tc := range []struct {
		name string
		req  *livekit.PublishDataTrackRequest
		want livekit.RequestResponse_Reason
	}{
		{"the first", &livekit.PublishDataTrackRequest{PubHandle: 1, Name: "a"}, livekit.RequestResponse_OK},
		{"no handle", &livekit.PublishDataTrackRequest{Name: "b"}, livekit.RequestResponse_INVALID_HANDLE},
		{"a large handle", &livekit.PublishDataTrackRequest{PubHandle: 1 << 16, Name: "b"}, livekit.RequestResponse_INVALID_HANDLE},
		{"the same handle", &livekit.PublishDataTrackRequest{PubHandle: 1, Name: "b"}, livekit.RequestResponse_DUPLICATE_HANDLE},
		{"no name", &livekit.PublishDataTrackRequest{PubHandle: 2}, livekit.RequestResponse_INVALID_NAME},
		{"a long name", &livekit.PublishDataTrackRequest{PubHandle: 2, Name: string(make([]byte, maxName+1))}, livekit.RequestResponse_INVALID_NAME},
		{"the same name", &livekit.PublishDataTrackRequest{PubHandle: 2, Name: "a"}, livekit.RequestResponse_DUPLICATE_NAME},
		{"the second", &livekit.PublishDataTrackRequest{PubHandle: 65535, Name: "b"}, livekit.RequestResponse_OK},
		{"one too many", &livekit.PublishDataTrackRequest{PubHandle: 3, Name: "c"}, livekit.RequestResponse_LIMIT_EXCEEDED},
	} {
		m.sent = nil
		ok := c.Publish(tc.req)
		if len(m.sent) != 1 {
			t.Fatalf("%s: told %v", tc.name, m.sent)
		}
		res := m.sent[0].GetRequestResponse()
		if ok != (tc.want == livekit.RequestResponse_OK) || res.GetReason() != tc.want {
			t.Errorf("%s: %v, %v", tc.name, ok, m.sent[0])
		}
		if !ok && res.GetPublishDataTrack().GetPubHandle() != tc.req.PubHandle {
			t.Errorf("%s: the request is not echoed", tc.name)
		}
	}
	if list := c.Published(); len(list) != 2 || list[0].Name != "a" || list[1].PubHandle != 65535 {
		t.Errorf("published %v", list)
	}
	if c.Unpublish(&livekit.UnpublishDataTrackRequest{PubHandle: 9}) || !c.Unpublish(&livekit.UnpublishDataTrackRequest{PubHandle: 1}) {
		t.Error("unpublish takes the wrong track")
	}
}

func TestForwardToViewers(t *testing.T) {
	tracks := newTracks(0)
	ann, bob, cat := newMember("ann"), newMember("bob"), newMember("cat")
	a, b, c := tracks.Join(ann, true), tracks.Join(bob, true), tracks.Join(cat, false)
	a.Publish(&livekit.PublishDataTrackRequest{PubHandle: 7, Name: "x"})
	a.Publish(&livekit.PublishDataTrackRequest{PubHandle: 8, Name: "y"})
	c.Subscribe(&livekit.UpdateDataSubscription{Updates: []*livekit.UpdateDataSubscription_Update{{TrackSid: "DTR_1", Subscribe: true}, {TrackSid: "DTR_9", Subscribe: true}}})
	if err := a.Forward(packet(t, "hello")); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*member{bob, cat} {
		want := fmt.Sprint(m.handles()["DTR_1"], " hello")
		if len(m.packets) != 1 || m.packets[0] != want {
			t.Errorf("%s got %v, want %q", m.name, m.packets, want)
		}
	}
	if len(ann.packets) != 0 || len(ann.handles()) != 0 {
		t.Errorf("the publisher got %v", ann.packets)
	}
	if tracks.Viewers("DTR_1") != 2 || tracks.Viewers("DTR_2") != 1 || tracks.Viewers("DTR_9") != 0 {
		t.Error("viewers are miscounted")
	}
	if err := b.Forward(packet(t, "hello")); err != nil {
		t.Errorf("a handle that is not published: %v", err)
	}
	if err := a.Forward([]byte("short")); err == nil {
		t.Error("garbage is forwarded")
	}
	c.Leave()
	a.Leave()
	if n := len(tracks.bySID); n != 0 || len(bob.handles()) != 0 || len(tracks.clients) != 1 {
		t.Errorf("%d tracks, %v, %d clients are left", n, bob.handles(), len(tracks.clients))
	}
	if err := a.Forward(packet(t, "hello")); err != nil || len(bob.packets) != 1 {
		t.Errorf("forwarded after the end: %v, %v", bob.packets, err)
	}
}

// Handles go round without standing for two tracks.
func TestHandlesAreUnique(t *testing.T) {
	tracks := newTracks(0)
	bob := newMember("bob")
	a, b := tracks.Join(newMember("ann"), false), tracks.Join(bob, true)
	b.last = maxHandle - 1
	for i := range uint32(4) {
		a.Publish(&livekit.PublishDataTrackRequest{PubHandle: i + 1, Name: fmt.Sprint(i)})
		if i == 0 {
			b.last = maxHandle - 2 // the next would be the first's
		}
	}
	seen := map[uint32]bool{}
	for _, h := range bob.handles() {
		seen[h] = true
	}
	if len(seen) != 4 || seen[0] {
		t.Errorf("handles %v", bob.handles())
	}
}

func TestCalls(t *testing.T) {
	var c Calls
	one, two := c.Begin("1", "PA_a"), c.Begin("2", "PA_a")
	three := c.Begin("3", "PA_b")
	if c.Settle("1", "PA_b", Result{Payload: "forged"}) || c.Settle("9", "PA_a", Result{}) {
		t.Error("an answer of another, or to nothing, is taken")
	}
	if !c.Settle("1", "PA_a", Result{Payload: "x"}) || c.Settle("1", "PA_a", Result{Payload: "again"}) {
		t.Error("the answer is taken once")
	}
	if r := <-one; r.Payload != "x" {
		t.Errorf("result %+v", r)
	}
	c.Abandon("PA_a", ErrPacket)
	if r := <-two; r.Err != ErrPacket {
		t.Errorf("result %+v", r)
	}
	c.End("3")
	c.Abandon("", ErrPacket)
	if len(three) != 0 || len(c.Pending()) != 0 {
		t.Error("an ended call is remembered")
	}
}
