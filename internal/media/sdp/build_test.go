package sdp

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden answers")

func testLocal() *Local {
	return &Local{
		SessionID: 4611686018427387904, Version: 1,
		ICE:         ICE{Ufrag: "srvufrag", Pwd: "server-password-of-a-test"},
		Fingerprint: Fingerprint{Hash: "sha-256", Value: strings.TrimSuffix(strings.Repeat("AB:", 32), ":")},
		Candidates: []string{
			"1 1 udp 2130706431 192.0.2.1 7882 typ host",
			"2 1 tcp 1671430143 192.0.2.1 7881 typ host tcptype passive",
		},
	}
}

// decide answers an offer as a server does that takes all tracks, sends one
// track on the first free audio and video section, and idles the rest.
func decide(offer *Session) []Media {
	policy := Policy{Codecs: DefaultCodecs()}
	media := make([]Media, len(offer.Sections))
	sent := map[Kind]bool{}
	for i := range offer.Sections {
		o, m := &offer.Sections[i], &media[i]
		if o.Kind == Application || o.Rejected {
			continue
		}
		up := o.Direction.Send()
		down := o.Direction == RecvOnly && !sent[o.Kind]
		m.Direction = NewDirection(down, up)
		m.Codecs = policy.SelectFeedback(policy.Select(o), up, down)
		m.Extensions = policy.SelectExtensions(o, up, down)
		if up && o.Kind == Audio {
			m.Codecs = WithOpusOptions(Prefer(m.Codecs, "audio/red"), OpusOptions{DTX: true})
		}
		if down {
			sent[o.Kind] = true
			ssrc := uint32(1000 * (i + 1))
			m.Source = &Source{StreamID: "PA_x|cam", TrackID: "TR_" + o.Kind.String(), SSRC: ssrc, CNAME: "PA_x"}
			if o.Kind == Video {
				m.Codecs = Only(m.Codecs, []string{"video/VP8"})
				m.Source.RTX = ssrc + 1
			}
		}
	}
	return media
}

func TestAnswerGolden(t *testing.T) {
	for name, text := range offers(t) {
		t.Run(name, func(t *testing.T) {
			offer := mustParse(t, text)
			answer, err := Answer(offer, testLocal(), decide(offer))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "answers", name+".sdp")
			if *update {
				if err := os.WriteFile(path, []byte(answer), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if answer != string(golden) {
				t.Errorf("answer differs from %s (rewrite with -update and read the diff):\n%s", path, answer)
			}
			checkAnswer(t, offer, mustParse(t, answer))
		})
	}
}

// checkAnswer holds the rules an answer has to keep towards its offer.
func checkAnswer(t *testing.T, offer, answer *Session) {
	t.Helper()
	if !answer.Lite || answer.Setup != SetupPassive || len(answer.Sections) != len(offer.Sections) {
		t.Fatalf("lite %v, setup %v, %d sections", answer.Lite, answer.Setup, len(answer.Sections))
	}
	for i := range offer.Sections {
		o, a := &offer.Sections[i], &answer.Sections[i]
		if a.Mid != o.Mid || a.Kind != o.Kind || a.Protocol != o.Protocol {
			t.Errorf("section %d: mid %q kind %v, want %q %v", i, a.Mid, a.Kind, o.Mid, o.Kind)
		}
		if a.Direction.Send() && !o.Direction.Recv() || a.Direction.Recv() && !o.Direction.Send() {
			t.Errorf("mid %q: %v answered with %v", o.Mid, o.Direction, a.Direction)
		}
		for _, c := range a.Codecs {
			oc := o.Codec(c.PayloadType)
			if oc == nil || !oc.Equal(&c) || oc.RTX != c.RTX {
				t.Errorf("mid %q: answered %+v, offered %+v", o.Mid, c, oc)
				continue
			}
			for _, fb := range c.Feedback {
				if !oc.HasFeedback(fb) {
					t.Errorf("mid %q: feedback %q was not offered", o.Mid, fb)
				}
			}
		}
		for _, e := range a.Extensions {
			if !slices.Contains(o.Extensions, e) {
				t.Errorf("mid %q: extension %+v was not offered", o.Mid, e)
			}
		}
		if a.Direction.Recv() {
			var accepted []string
			for _, r := range a.Rids {
				if r.Send {
					t.Errorf("mid %q: rid %q accepted as sent by the server", o.Mid, r.ID)
				}
				accepted = append(accepted, r.ID)
			}
			if !slices.Equal(accepted, o.SendRids()) {
				t.Errorf("mid %q: rids %v accepted of %v", o.Mid, accepted, o.SendRids())
			}
		}
	}
}

func TestAnswerKeepsRejectedSections(t *testing.T) {
	text := offers(t)["chromium-dual-publisher"]
	text = edit(t, text, "m=video 9", "m=video 0")
	offer := mustParse(t, text)
	answer, err := Answer(offer, testLocal(), decide(offer))
	if err != nil {
		t.Fatal(err)
	}
	a := mustParse(t, answer)
	if !a.Sections[1].Rejected || a.Sections[1].Mid != "1" {
		t.Errorf("section %+v, want rejected with its mid", a.Sections[1])
	}
	if !slices.Equal(a.Bundle, []string{"0", "2"}) {
		t.Errorf("bundle %v, want the living sections only", a.Bundle)
	}
}

func TestAnswerRefusals(t *testing.T) {
	text := offers(t)["chromium-dual-publisher"]
	offer := mustParse(t, text)
	if _, err := Answer(offer, testLocal(), nil); err == nil {
		t.Error("answer to fewer sections than offered")
	}
	media := decide(offer)
	media[0].Direction = SendRecv
	if _, err := Answer(offer, testLocal(), media); err == nil || !strings.Contains(err.Error(), `mid "0"`) {
		t.Errorf("a sendonly section answered sendrecv: %v", err)
	}
	offer.Setup = SetupPassive
	if _, err := Answer(offer, testLocal(), decide(offer)); err == nil {
		t.Error("answer to a=setup:passive, which needs a DTLS client")
	}
}

func TestAnswerRejectsWithoutCommonCodec(t *testing.T) {
	text := offers(t)["firefox-dual-publisher"]
	offer := mustParse(t, text)
	policy := Policy{Codecs: []CodecSpec{{Mime: "video/AV1"}}}
	media := decide(offer)
	media[0].Codecs = policy.Select(&offer.Sections[0])
	answer, err := Answer(offer, testLocal(), media)
	if err != nil {
		t.Fatal(err)
	}
	if a := mustParse(t, answer); !a.Sections[0].Rejected {
		t.Error("audio accepted without a common codec")
	}
}

func TestOfferRoundTrip(t *testing.T) {
	policy := Policy{Codecs: DefaultCodecs()}
	media := []Media{
		{
			Mid: "0", Kind: Audio, Direction: SendOnly, Codecs: WithOpusOptions(policy.Supported(Audio), OpusOptions{SpropStereo: true}),
			Extensions: policy.OfferExtensions(Audio),
			Source:     &Source{StreamID: "PA_a|mic", TrackID: "TR_a", SSRC: 11, CNAME: "PA_a"},
		},
		{Mid: "data", Kind: Application},
		{
			Mid: "1", Kind: Video, Direction: SendOnly, Codecs: Only(policy.Supported(Video), []string{"video/VP8"}),
			Extensions: policy.OfferExtensions(Video),
			Source:     &Source{StreamID: "PA_a|cam", TrackID: "TR_v", SSRC: 21, RTX: 22, CNAME: "PA_a"},
		},
		{Mid: "2", Kind: Video, Direction: Inactive, Codecs: policy.Supported(Video), Extensions: policy.OfferExtensions(Video)},
	}
	text, err := Offer(testLocal(), media)
	if err != nil {
		t.Fatal(err)
	}
	s := mustParse(t, text)
	if s.Setup != SetupActPass || !s.Lite || s.ICE != testLocal().ICE || s.Version != 1 {
		t.Errorf("transport %+v", s)
	}
	if !slices.Equal(s.Bundle, []string{"0", "data", "1", "2"}) {
		t.Errorf("bundle %v", s.Bundle)
	}
	if strings.Count(text, "a=candidate:") != 2 || strings.Count(text, "a=end-of-candidates") != 1 {
		t.Error("candidates belong to the first section only")
	}
	v := s.Section("1")
	if v.StreamID != "PA_a|cam" || v.TrackID != "TR_v" || !slices.Equal(v.SSRCs, []SSRC{{21, 22, "PA_a"}}) {
		t.Errorf("source %+v", v)
	}
	if len(v.Codecs) != 1 || v.Codecs[0].PayloadType != 96 || v.Codecs[0].RTX != 97 {
		t.Errorf("codecs %+v", v.Codecs)
	}
	if Parameter(s.Section("0").Codecs[0].Fmtp, "sprop-stereo") != "1" {
		t.Errorf("opus %q", s.Section("0").Codecs[0].Fmtp)
	}
	if got := s.Section("2"); len(got.SSRCs) != 0 || got.Direction != Inactive {
		t.Errorf("inactive section %+v", got)
	}
	if _, err := Offer(testLocal(), []Media{{Kind: Audio}}); err == nil {
		t.Error("an offer without mid or codec")
	}
}
