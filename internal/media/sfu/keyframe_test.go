package sfu

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// studio is a publisher of three VP8 layers that answers a key-frame request after
// a while, and counts them. It runs on the clock of a synctest bubble.
type studio struct {
	t      *testing.T
	r      *Receiver
	asked  [3]int
	due    [3]time.Time // of the key frame asked for
	answer time.Duration
	n      uint16
	deaf   bool // requests are lost
}

const studioFrame = 10 * time.Millisecond

func newStudio(t *testing.T, answer time.Duration) *studio {
	s := &studio{t: t, answer: answer}
	s.r = NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 3, SendRTCP: s.rtcp})
	return s
}

func (s *studio) rtcp(pkts []rtcp.Packet) {
	for _, p := range pkts {
		if pli, ok := p.(*rtcp.PictureLossIndication); ok {
			i := pli.MediaSSRC - 100
			s.asked[i]++
			if s.due[i].IsZero() && !s.deaf {
				s.due[i] = time.Now().Add(s.answer)
			}
		}
	}
}

// run sends frames for a while, and ticks.
func (s *studio) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(studioFrame) {
		s.n++
		for i := range 3 {
			k := delta(i, s.n, 900*uint32(s.n), s.n)
			if due := s.due[i]; !due.IsZero() && !time.Now().Before(due) {
				k, s.due[i] = key(i, s.n, 900*uint32(s.n), s.n), time.Time{}
			}
			s.r.Push(i, k.parse(s.t), time.Now())
		}
		s.rtcp(s.r.Tick(time.Now()))
	}
}

func (s *studio) join() *DownTrack {
	d := NewDownTrack(DownTrackParams{SSRC: 7, Codec: vp8Codec, Writer: new(discard)})
	s.r.AddDownTrack(d)
	s.t.Cleanup(d.Close)
	return d
}

// wait runs until the viewer has its first picture and returns how long that took.
func (s *studio) wait(d *DownTrack) time.Duration {
	start := time.Now()
	for {
		if spatial, _ := d.CurrentLayer(); spatial >= 0 || time.Since(start) > 10*time.Second {
			return time.Since(start)
		}
		s.run(studioFrame)
	}
}

func TestFirstPictureIsNotThrottled(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pause time.Duration // between the first viewer's picture and the second one's arrival
		want  time.Duration // for the second one's
	}{
		{"right after another viewer's", 0, 520 * time.Millisecond},
		{"a moment later", 300 * time.Millisecond, 220 * time.Millisecond},
		{"half a second later: at once", 500 * time.Millisecond, 60 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t, 30*time.Millisecond)
				s.run(100 * time.Millisecond)
				if first := s.wait(s.join()); first > 60*time.Millisecond {
					t.Errorf("the first viewer waited %v", first)
				}
				s.run(tc.pause)
				if second := s.wait(s.join()); second > tc.want {
					t.Errorf("the second viewer waited %v, want at most %v", second, tc.want)
				}
			})
		})
	}
}

// TestUnsolicitedKeyFrameDelaysNobody: only an answered request counts.
func TestUnsolicitedKeyFrameDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, 30*time.Millisecond)
		s.due[2] = time.Now()
		s.run(20 * time.Millisecond)
		if waited := s.wait(s.join()); waited > 60*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestLostRequestIsRepeated: no answer, so another request half a second later,
// also on layers with a longer throttle.
func TestLostRequestIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, 30*time.Millisecond)
		s.deaf = true
		s.run(50 * time.Millisecond)
		d := s.join()
		s.run(400 * time.Millisecond)
		s.deaf = false
		if waited := s.wait(d); waited > 200*time.Millisecond || s.asked[2] != 2 {
			t.Errorf("waited %v more, asked %d times; want 2", waited, s.asked[2])
		}
	})
}

// TestBurstOfJoiners: 100 viewers in 10 s cost a key frame of the layer they want
// each half second, none of the others, and nobody waits long.
func TestBurstOfJoiners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, 30*time.Millisecond)
		s.run(100 * time.Millisecond)
		viewers := make([]*DownTrack, 0, 100)
		joined := make([]time.Time, 0, 100)
		var worst time.Duration
		for range 100 {
			viewers, joined = append(viewers, s.join()), append(joined, time.Now())
			for range 10 {
				s.run(studioFrame)
				for i := 0; i < len(viewers); i++ {
					if spatial, _ := viewers[i].CurrentLayer(); spatial == 2 {
						worst = max(worst, time.Since(joined[i]))
						viewers = append(viewers[:i], viewers[i+1:]...)
						joined = append(joined[:i], joined[i+1:]...)
						i--
					}
				}
			}
		}
		if worst > 560*time.Millisecond || len(viewers) > 6 {
			t.Errorf("a viewer waited %v, %d still wait", worst, len(viewers))
		}
		if s.asked[2] > 21 || s.asked[2] < 15 || s.asked[0]+s.asked[1] != 0 {
			t.Errorf("%v key frames asked for in 10 s, want about 20 of the highest layer", s.asked)
		}
	})
}

// TestSwitchingUpKeepsTheThrottle: who has a picture waits for the layer's own.
func TestSwitchingUpKeepsTheThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, 30*time.Millisecond)
		s.run(100 * time.Millisecond)
		d := s.join()
		s.wait(d)
		s.run(200 * time.Millisecond)
		before := s.asked[2]
		for range 50 { // the viewer's decoder is in trouble
			d.HandleRTCP(&rtcp.PictureLossIndication{MediaSSRC: 7}, time.Now())
			s.run(studioFrame)
		}
		if s.asked[2] != before {
			t.Errorf("%d requests within the throttle", s.asked[2]-before)
		}
		s.run(400 * time.Millisecond)
		if s.asked[2] != before+1 {
			t.Errorf("%d requests after it, want 1", s.asked[2]-before)
		}
	})
}

// TestRequestWhileMutedWaits: a muted publisher is not asked, and is at once when
// it is unmuted.
func TestRequestWhileMutedWaits(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, delta(0, 1, 1000, 1))
	s.r.SetMuted(true)
	s.sent = nil
	s.r.RequestKeyFrame(0)
	if len(s.sent) != 0 {
		t.Error("a muted publisher was asked")
	}
	s.r.SetMuted(false)
	if len(s.sent) != 1 {
		t.Errorf("%d requests after unmuting, want 1", len(s.sent))
	}
}
