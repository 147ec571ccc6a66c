package room

import (
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// simulate provokes a failure on behalf of a client: every SDK's reconnection
// tests need it (SimulateScenario). It concerns the asking client only, but
// for the speaker update. Actor.
func (r *Room) simulate(p *Participant, s *livekit.SimulateScenario) {
	p.log.Info("simulating", "scenario", s.String())
	switch v := s.Scenario.(type) {
	case *livekit.SimulateScenario_SpeakerUpdate:
		r.speakers.simulated = time.Now().Add(time.Duration(min(v.SpeakerUpdate, 60)) * time.Second)
	case *livekit.SimulateScenario_NodeFailure:
		r.vanish(p)
	case *livekit.SimulateScenario_Migration:
		r.migrate(p)
	case *livekit.SimulateScenario_ServerLeave:
		r.remove(p, livekit.DisconnectReason_SERVER_SHUTDOWN, livekit.LeaveRequest_DISCONNECT, true)
	case *livekit.SimulateScenario_SwitchCandidateProtocol:
		r.switchProtocol(p, v.SwitchCandidateProtocol)
	case *livekit.SimulateScenario_SubscriberBandwidth:
		p.log.Info("subscriber bandwidth is not limited: bandwidth is not allocated yet", "bps", v.SubscriberBandwidth)
	case *livekit.SimulateScenario_DisconnectSignalOnResume:
		p.refuseResume = resumeDisconnect
	case *livekit.SimulateScenario_DisconnectSignalOnResumeNoMessages:
		p.refuseResume = resumeDisconnectSilent
	case *livekit.SimulateScenario_LeaveRequestFullReconnect:
		p.send(reply.Leave(livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT))
	}
}

// vanish drops a participant as a dying node would: no word to its client.
func (r *Room) vanish(p *Participant) {
	r.remove(p, livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT, false)
}

// protocolMemory is how long a participant's transport protocol is remembered
// after it left, so that it comes back over the same.
const protocolMemory = time.Minute

// rememberedProtocol is what an identity was switched to, and until when.
type rememberedProtocol struct {
	name  string // of sdp candidates: "tcp", or "" for all
	until time.Time
}

// switchProtocol makes the client come back over another transport protocol.
// Browsers do so by a full reconnect of their own, others by the resume asked
// for here; both find only that protocol in the answer.
func (r *Room) switchProtocol(p *Participant, proto livekit.CandidateProtocol) {
	only := ""
	if proto != livekit.CandidateProtocol_UDP {
		only = "tcp"
	}
	r.protocols[p.identity] = rememberedProtocol{only, time.Now().Add(protocolMemory)}
	p.setProtocol(only)
	p.send(reply.Leave(livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RESUME))
}

// recallProtocol applies what the identity was switched to before. Actor.
func (r *Room) recallProtocol(p *Participant, now time.Time) {
	for identity, m := range r.protocols {
		if now.After(m.until) {
			delete(r.protocols, identity)
		}
	}
	if m, ok := r.protocols[p.identity]; ok {
		p.setProtocol(m.name)
	}
}

// setProtocol restricts the candidates offered from now on.
func (p *Participant) setProtocol(only string) {
	p.up.SetProtocol(only)
	if p.down != p.up {
		p.down.SetProtocol(only)
	}
}
