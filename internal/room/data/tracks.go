package data

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// Member is a participant as its data tracks need it. Deliver is called by the
// goroutine that calls [Client.Forward], the others by the room's.
type Member interface {
	Identity() string
	SID() string
	// MayReceive reports whether it may subscribe at all.
	MayReceive() bool
	// Lets reports whether it lets the participant with that identity and sid
	// subscribe to its track.
	Lets(track, identity, sid string) bool
	// Send sends a signal response.
	Send(r *livekit.SignalResponse)
	// Deliver sends a packet on the data track channel. It does not keep it.
	Deliver(packet []byte)
}

// Tracks are the data tracks of a room: who publishes them, and which handle
// stands for them at each viewer. It belongs to the room's goroutine; only
// [Client.Forward] may be called by others.
type Tracks struct {
	limit   int // published by one client; 0 = none
	newSID  func() string
	bySID   map[string]*published
	clients map[*Client]bool
}

// NewTracks returns the data tracks of a new room. newSID names them; a client
// may publish so many, 0 is no limit.
func NewTracks(newSID func() string, limit int) *Tracks {
	return &Tracks{limit: limit, newSID: newSID, bySID: map[string]*published{}, clients: map[*Client]bool{}}
}

// published is a data track.
type published struct {
	info    *livekit.DataTrackInfo
	by      *Client
	wanted  map[*Client]bool                   // who subscribes, also while it may not
	viewers atomic.Pointer[map[*Client]uint16] // our handle for each
}

// Client is one participant's part in the data tracks.
type Client struct {
	who    Member
	tracks *Tracks
	auto   bool // subscribes to whatever comes
	byPub  map[uint16]*published
	routes atomic.Pointer[map[uint16]*published] // byPub for Forward
	subs   map[string]uint16                     // our handles by sid
	last   uint16                                // handle given out
}

const (
	maxHandle = 1<<16 - 1
	maxName   = 256
)

// Join adds a participant. With auto it subscribes to whatever is published from
// now on; [Client.SubscribeAll] does the rest.
func (t *Tracks) Join(who Member, auto bool) *Client {
	c := &Client{who: who, tracks: t, auto: auto, byPub: map[uint16]*published{}, subs: map[string]uint16{}}
	t.clients[c] = true
	return c
}

// SubscribeAll subscribes a newcomer to what is published already, if it
// subscribes to whatever comes. Nothing is sent to it before.
func (c *Client) SubscribeAll() {
	if !c.auto {
		return
	}
	for _, d := range c.tracks.bySID {
		d.wanted[c] = true
		d.settle(c)
	}
	c.SendHandles()
}

// Leave takes the participant out of every data track, published or viewed.
func (c *Client) Leave() {
	delete(c.tracks.clients, c)
	c.UnpublishAll(nil)
	for _, d := range c.tracks.bySID {
		delete(d.wanted, c)
		d.settle(c)
	}
}

// Publish handles a PublishDataTrackRequest of a participant that may publish
// data, and reports whether there is a new track.
func (c *Client) Publish(req *livekit.PublishDataTrackRequest) bool {
	if reason, msg := c.check(req); reason != livekit.RequestResponse_OK {
		c.who.Send(reply.Refused(reason, msg, req))
		return false
	}
	d := &published{by: c, wanted: map[*Client]bool{}, info: &livekit.DataTrackInfo{
		PubHandle: req.PubHandle, Sid: c.tracks.newSID(), Name: req.Name, Encryption: req.Encryption,
		FrameEncoding: req.FrameEncoding, Schema: req.Schema,
	}}
	d.viewers.Store(&map[*Client]uint16{})
	c.byPub[uint16(req.PubHandle)] = d
	c.tracks.bySID[d.info.Sid] = d
	c.publishRoutes()
	c.who.Send(reply.DataTrackPublished(proto.CloneOf(d.info)))
	for q := range c.tracks.clients {
		d.wanted[q] = q.auto
		if d.settle(q) {
			q.SendHandles()
		}
	}
	return true
}

func (c *Client) check(req *livekit.PublishDataTrackRequest) (livekit.RequestResponse_Reason, string) {
	switch {
	case req.PubHandle == 0 || req.PubHandle > maxHandle:
		return livekit.RequestResponse_INVALID_HANDLE, "handle must be between 1 and 65535"
	case req.Name == "" || len(req.Name) > maxName:
		return livekit.RequestResponse_INVALID_NAME, fmt.Sprintf("name must have between 1 and %d bytes", maxName)
	case c.byPub[uint16(req.PubHandle)] != nil:
		return livekit.RequestResponse_DUPLICATE_HANDLE, "a data track with this handle is published already"
	case c.tracks.limit > 0 && len(c.byPub) >= c.tracks.limit:
		return livekit.RequestResponse_LIMIT_EXCEEDED, fmt.Sprintf("publishes %d data tracks already (limit.tracks_per_participant)", c.tracks.limit)
	}
	for _, d := range c.byPub {
		if d.info.Name == req.Name {
			return livekit.RequestResponse_DUPLICATE_NAME, "a data track with this name is published already"
		}
	}
	return livekit.RequestResponse_OK, ""
}

// Unpublish handles an UnpublishDataTrackRequest and reports whether a track has
// ended.
func (c *Client) Unpublish(req *livekit.UnpublishDataTrackRequest) bool {
	d := c.byPub[uint16(min(req.PubHandle, maxHandle))]
	if d == nil {
		c.who.Send(reply.Refused(livekit.RequestResponse_NOT_FOUND, "no data track is published with this handle", req))
		return false
	}
	d.end()
	c.who.Send(reply.DataTrackUnpublished(d.info))
	return true
}

// UnpublishAll ends the tracks of a participant, and calls ended for each if it
// is not nil.
func (c *Client) UnpublishAll(ended func(*livekit.DataTrackInfo)) {
	for _, d := range c.byPub {
		d.end()
		if ended != nil {
			ended(d.info)
		}
	}
}

func (d *published) end() {
	delete(d.by.byPub, uint16(d.info.PubHandle))
	delete(d.by.tracks.bySID, d.info.Sid)
	d.by.publishRoutes()
	clear(d.wanted)
	for q := range *d.viewers.Load() {
		if d.settle(q) {
			q.SendHandles()
		}
	}
}

func (c *Client) publishRoutes() {
	m := maps.Clone(c.byPub)
	c.routes.Store(&m)
}

// Subscribe handles an UpdateDataSubscription.
func (c *Client) Subscribe(u *livekit.UpdateDataSubscription) {
	for _, up := range u.GetUpdates() {
		if d := c.tracks.bySID[up.GetTrackSid()]; d != nil {
			d.wanted[c] = up.GetSubscribe()
			d.settle(c)
		}
	}
	c.SendHandles()
}

// PermissionChanged applies what the participant may receive, and whom it lets
// receive, from now on.
func (c *Client) PermissionChanged() {
	changed := false
	for _, d := range c.tracks.bySID {
		changed = d.settle(c) || changed
	}
	if changed {
		c.SendHandles()
	}
	for _, d := range c.byPub {
		for q := range c.tracks.clients {
			if d.settle(q) {
				q.SendHandles()
			}
		}
	}
}

// settle makes packets go to a client, or not, as it wishes and may, and reports
// whether that changes anything.
func (d *published) settle(q *Client) bool {
	viewers := *d.viewers.Load()
	_, has := viewers[q]
	want := d.wanted[q] && q != d.by && len(q.subs) < maxHandle &&
		q.who.MayReceive() && d.by.who.Lets(d.info.Sid, q.who.Identity(), q.who.SID())
	if want == has {
		return false
	}
	viewers = maps.Clone(viewers)
	if want {
		viewers[q] = q.newHandle()
		q.subs[d.info.Sid] = viewers[q]
	} else {
		delete(viewers, q)
		delete(q.subs, d.info.Sid)
	}
	d.viewers.Store(&viewers)
	return true
}

// newHandle returns a handle that stands for no track of the client.
func (c *Client) newHandle() uint16 {
	for {
		c.last++
		if c.last != 0 && !slices.Contains(slices.Collect(maps.Values(c.subs)), c.last) {
			return c.last
		}
	}
}

// SendHandles tells the client which handle stands for which track, if it ever
// had one.
func (c *Client) SendHandles() {
	if c.last == 0 {
		return
	}
	handles := make(map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack, len(c.subs))
	for sid, h := range c.subs {
		if d := c.tracks.bySID[sid]; d != nil {
			handles[uint32(h)] = &livekit.DataTrackSubscriberHandles_PublishedDataTrack{
				PublisherIdentity: d.by.who.Identity(), PublisherSid: d.by.who.SID(), TrackSid: sid,
			}
		}
	}
	c.who.Send(reply.DataHandles(handles))
}

// Published returns copies of what others may know of the client's tracks, by
// handle.
func (c *Client) Published() (out []*livekit.DataTrackInfo) {
	for _, h := range slices.Sorted(maps.Keys(c.byPub)) {
		out = append(out, proto.CloneOf(c.byPub[h].info))
	}
	return out
}

// Viewers returns to how many participants a track of that sid goes.
func (t *Tracks) Viewers(sid string) int {
	if d := t.bySID[sid]; d != nil {
		return len(*d.viewers.Load())
	}
	return 0
}

// forwardRoom is what naming the publisher adds to a packet at most.
const forwardRoom = 24

// Forward passes one packet of the client on: its handle becomes the viewer's,
// and the packet names its publisher. It is called by the goroutine of the
// client's channel. Error: [ErrPacket].
func (c *Client) Forward(packet []byte) error {
	handle, err := Handle(packet)
	if err != nil {
		return err
	}
	routes := c.routes.Load()
	if routes == nil || (*routes)[handle] == nil {
		return nil // unpublished a moment ago, or never
	}
	viewers := *(*routes)[handle].viewers.Load()
	if len(viewers) == 0 {
		return nil
	}
	out, err := Forward(make([]byte, 0, len(packet)+forwardRoom), packet, c.who.SID())
	if err != nil {
		return err
	}
	for q, h := range viewers {
		SetHandle(out, h)
		q.who.Deliver(out)
	}
	return nil
}
