package reply

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

func TestLeaveTellsOldClientsToo(t *testing.T) {
	for action, back := range map[livekit.LeaveRequest_Action]bool{
		livekit.LeaveRequest_DISCONNECT: false, livekit.LeaveRequest_RESUME: true, livekit.LeaveRequest_RECONNECT: true,
	} {
		l := Leave(livekit.DisconnectReason_MIGRATION, action).GetLeave()
		if l.GetAction() != action || l.GetCanReconnect() != back || l.GetReason() != livekit.DisconnectReason_MIGRATION {
			t.Errorf("%v: %v", action, l)
		}
	}
}

// A request is echoed as it was when it was refused.
func TestRefusedEchoes(t *testing.T) {
	add := &livekit.AddTrackRequest{Cid: "c"}
	publish := &livekit.PublishDataTrackRequest{PubHandle: 1}
	unpublish := &livekit.UnpublishDataTrackRequest{PubHandle: 2}
	a := Refused(livekit.RequestResponse_NOT_ALLOWED, "no", add).GetRequestResponse()
	p := Refused(livekit.RequestResponse_NOT_ALLOWED, "no", publish).GetRequestResponse()
	u := Refused(livekit.RequestResponse_NOT_FOUND, "no", unpublish).GetRequestResponse()
	add.Cid, publish.PubHandle, unpublish.PubHandle = "x", 9, 9
	if a.GetAddTrack().GetCid() != "c" || p.GetPublishDataTrack().GetPubHandle() != 1 || u.GetUnpublishDataTrack().GetPubHandle() != 2 {
		t.Errorf("echoed %v, %v, %v", a, p, u)
	}
	if none := Refused(livekit.RequestResponse_LIMIT_EXCEEDED, "much", nil).GetRequestResponse(); none.Request != nil || none.Message != "much" {
		t.Errorf("without a request: %v", none)
	}
}

func TestTrackPublishedCopies(t *testing.T) {
	info := &livekit.TrackInfo{Sid: "TR_a", Muted: false}
	r := TrackPublished("c", info)
	info.Muted = true
	if got := r.GetTrackPublished(); got.Track.Muted || got.Cid != "c" || !proto.Equal(got.Track, &livekit.TrackInfo{Sid: "TR_a"}) {
		t.Errorf("%v", got)
	}
}

func TestPong(t *testing.T) {
	if got := Pong(&livekit.SignalRequest{Message: &livekit.SignalRequest_Ping{Ping: 1}}, 5).GetPong(); got != 5 {
		t.Errorf("pong %d", got)
	}
	req := &livekit.SignalRequest{Message: &livekit.SignalRequest_PingReq{PingReq: &livekit.Ping{Timestamp: 3}}}
	if got := Pong(req, 5).GetPongResp(); got.GetTimestamp() != 5 || got.GetLastPingTimestamp() != 3 {
		t.Errorf("pong %v", got)
	}
	if got := Pong(nil, 5).GetPong(); got != 5 {
		t.Errorf("pong to nothing: %d", got)
	}
}
