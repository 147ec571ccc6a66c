package sdp

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// offers returns the recorded offers of real clients by name.
func offers(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/offers/*.sdp")
	if err != nil || len(paths) < 10 {
		t.Fatalf("recorded offers: %d, %v", len(paths), err)
	}
	out := make(map[string]string)
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(p), ".sdp")] = string(b)
	}
	return out
}

func mustParse(t testing.TB, text string) *Session {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, text)
	}
	return s
}

func TestParseRecordedOffers(t *testing.T) {
	type want struct {
		sections          int
		audio, video, app int
		simulcast         string // rids of the section that has them
		red               bool
	}
	cases := map[string]want{
		"chromium-single-first":   {sections: 7, audio: 3, video: 3, app: 1, red: true},
		"chromium-single-publish": {sections: 9, audio: 4, video: 4, app: 1, simulcast: "q,h,f", red: true},
		"chromium-dual-publisher": {sections: 3, audio: 1, video: 1, app: 1, simulcast: "q,h,f", red: true},
		"chromium-dual-svc":       {sections: 2, video: 1, app: 1},
		"chromium-data-only":      {sections: 1, app: 1},
		"firefox-single-first":    {sections: 7, audio: 3, video: 3, app: 1},
		"firefox-single-publish":  {sections: 9, audio: 4, video: 4, app: 1, simulcast: "q,h,f"},
		"firefox-dual-publisher":  {sections: 3, audio: 1, video: 1, app: 1, simulcast: "q,h,f"},
		"firefox-dual-svc":        {sections: 2, video: 1, app: 1},
		"firefox-data-only":       {sections: 1, app: 1},
		"pion-publisher":          {sections: 3, audio: 1, video: 1, app: 1, simulcast: "q,h,f"},
		"pion-single":             {sections: 7, audio: 3, video: 3, app: 1, simulcast: "q,h,f"},
	}
	for name, text := range offers(t) {
		t.Run(name, func(t *testing.T) {
			w, ok := cases[name]
			if !ok {
				t.Fatal("a recorded offer without an expectation")
			}
			s := mustParse(t, text)
			got := want{sections: len(s.Sections)}
			for i := range s.Sections {
				sec := &s.Sections[i]
				if sec.Rejected {
					t.Errorf("mid %q is rejected", sec.Mid)
				}
				switch sec.Kind {
				case Audio:
					got.audio++
					got.red = got.red || sec.HasMime("audio/red")
					if !sec.HasMime("audio/OPUS") {
						t.Errorf("mid %q has no opus", sec.Mid)
					}
				case Video:
					got.video++
					if vp8 := sec.Codecs[slices.IndexFunc(sec.Codecs, func(c Codec) bool { return c.Mime == "video/VP8" })]; vp8.RTX == 0 {
						t.Errorf("mid %q: VP8 without RTX", sec.Mid)
					}
				case Application:
					got.app++
					if sec.SCTPPort != 5000 {
						t.Errorf("sctp-port %d", sec.SCTPPort)
					}
				}
				if r := sec.SendRids(); len(r) > 0 {
					got.simulcast = strings.Join(r, ",")
					if sec.TrackID == "" || !sec.Direction.Send() {
						t.Errorf("mid %q sends %v without a track", sec.Mid, r)
					}
				}
			}
			if got != w {
				t.Errorf("got %+v, want %+v", got, w)
			}
			if s.Setup != SetupActPass || s.ICE.Ufrag == "" || s.Fingerprints[0].Hash != "sha-256" {
				t.Errorf("transport: %v %+v %+v", s.Setup, s.ICE, s.Fingerprints)
			}
		})
	}
}

func TestParseFirefoxSources(t *testing.T) {
	s := mustParse(t, offers(t)["firefox-single-publish"])
	var layers []SSRC
	for i := range s.Sections {
		if len(s.Sections[i].Rids) > 0 {
			layers = s.Sections[i].SSRCs
		}
	}
	if len(layers) != 3 {
		t.Fatalf("sources %+v, want the three layers without their RTX", layers)
	}
	for _, l := range layers {
		if l.RTX == 0 || l.CNAME == "" {
			t.Errorf("source %+v has no RTX or CNAME", l)
		}
	}
}

// edit replaces one part of a recorded offer and fails when it is not there.
func edit(t *testing.T, text, old, repl string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the recorded offer has no %q", old)
	}
	return strings.Replace(text, old, repl, 1)
}

func TestParseRefusesLies(t *testing.T) {
	base := offers(t)["chromium-dual-publisher"]
	s := mustParse(t, base)
	ufrag := "a=ice-ufrag:" + s.ICE.Ufrag
	fingerprint := "a=fingerprint:sha-256 " + s.Fingerprints[0].Value
	mline := "m=video 9 UDP/TLS/RTP/SAVPF 96"
	cases := []struct {
		name string
		text string
		is   error
		says string
	}{
		{"empty", "", ErrInvalid, "no media section"},
		{"garbage", "hello", ErrSyntax, ""},
		{"too long", base + strings.Repeat("a=x\r\n", MaxSize/5), ErrLimit, "bytes"},
		{"too many sections", base + strings.Repeat("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", MaxSections), ErrLimit, "media sections"},
		{"no section", base[:strings.Index(base, "m=")], ErrInvalid, "no media section"},
		{"mid twice", edit(t, base, "a=mid:1", "a=mid:0"), ErrInvalid, `mid "0"`},
		{"mid missing", edit(t, base, "a=mid:1\r\n", ""), ErrInvalid, "has no mid"},
		{"mid not a token", edit(t, base, "a=mid:1", "a=mid:\x01 x"), ErrInvalid, "a=mid"},
		{"bundle names an unknown mid", edit(t, base, "BUNDLE 0 1 2", "BUNDLE 0 1 2 77"), ErrInvalid, `"77"`},
		{"bundle names a mid twice", edit(t, base, "BUNDLE 0 1 2", "BUNDLE 0 1 2 1"), ErrInvalid, `"1"`},
		{"not bundled", edit(t, base, "BUNDLE 0 1 2", "BUNDLE 0 2"), ErrInvalid, `mid "1" is not in the BUNDLE group`},
		{"two bundles", edit(t, base, "a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0\r\na=group:BUNDLE 1 2"), ErrInvalid, "BUNDLE"},
		{"payload type 200", edit(t, base, mline, "m=video 9 UDP/TLS/RTP/SAVPF 200"), ErrInvalid, `"200"`},
		{"payload type 72", edit(t, base, mline, "m=video 9 UDP/TLS/RTP/SAVPF 72"), ErrInvalid, "collides with RTCP"},
		{"payload type twice", edit(t, base, mline, "m=video 9 UDP/TLS/RTP/SAVPF 96 96"), ErrInvalid, "stands twice"},
		{"rtpmap twice", edit(t, base, "a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/90000\r\na=rtpmap:96 H264/90000"), ErrInvalid, "payload type 96"},
		{"rtpmap without rate", edit(t, base, "a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8"), ErrInvalid, "rtpmap"},
		{"clock rate zero", edit(t, base, "VP8/90000", "VP8/0"), ErrInvalid, "clock rate"},
		{"no fingerprint", strings.ReplaceAll(base, fingerprint+"\r\n", ""), ErrInvalid, "fingerprint"},
		{"fingerprint too short", edit(t, base, fingerprint, "a=fingerprint:sha-256 AA:BB"), ErrInvalid, "fingerprint"},
		{"fingerprint not hexadecimal", edit(t, base, fingerprint, fingerprint[:len(fingerprint)-1]+"Z"), ErrInvalid, "fingerprint"},
		{"fingerprint of md5", edit(t, base, "a=fingerprint:sha-256", "a=fingerprint:md5"), ErrInvalid, `"md5"`},
		{"ufrag too short", edit(t, base, ufrag, "a=ice-ufrag:ab"), ErrInvalid, "ice-ufrag"},
		{"pwd too short", edit(t, base, "a=ice-pwd:"+s.ICE.Pwd, "a=ice-pwd:secret"), ErrInvalid, "6 characters"},
		{"setup unknown", edit(t, base, "a=setup:actpass", "a=setup:both"), ErrInvalid, "both"},
		{"no rtcp-mux", edit(t, base, "a=rtcp-mux\r\n", ""), ErrInvalid, "rtcp-mux"},
		{"plain RTP", edit(t, base, mline, "m=video 9 RTP/AVP 96"), ErrInvalid, "RTP/AVP"},
		{"extension id twice", edit(t, base, "a=extmap:2 ", "a=extmap:1 "), ErrInvalid, "extension id 1"},
		{"extension id zero", edit(t, base, "a=extmap:2 ", "a=extmap:0 "), ErrInvalid, "extmap"},
		{"rid twice", edit(t, base, "a=rid:h send", "a=rid:q send"), ErrInvalid, `rid "q"`},
		{"simulcast of an unknown rid", edit(t, base, "send q;h;f", "send q;h;x"), ErrInvalid, `"x"`},
		{"simulcast rid twice", edit(t, base, "send q;h;f", "send q;h;h"), ErrInvalid, `"h"`},
		{"simulcast garbled", edit(t, base, "a=simulcast:send q;h;f", "a=simulcast:q;h;f"), ErrInvalid, "simulcast"},
		{"ssrc not a number", edit(t, base, "a=rid:q send", "a=ssrc:abc cname:x\r\na=rid:q send"), ErrInvalid, "a=ssrc"},
		{"ssrc in two sections", addSSRC(t, base), ErrInvalid, "SSRC 4242"},
		{"FID of one", edit(t, base, "a=rid:q send", "a=ssrc-group:FID 5\r\na=rid:q send"), ErrInvalid, "FID"},
		{"FID with itself", edit(t, base, "a=rid:q send", "a=ssrc-group:FID 5 5\r\na=rid:q send"), ErrInvalid, "FID"},
		{"no sctp-port", edit(t, base, "a=sctp-port:5000\r\n", ""), ErrInvalid, "sctp-port"},
		{"too many rids", edit(t, base, "a=rid:q send", manyRids()+"a=rid:q send"), ErrLimit, "a=rid"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.text)
			if !errors.Is(err, c.is) {
				t.Fatalf("error %v, want %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes repeats the client's text", len(err.Error()))
			}
		})
	}
}

func addSSRC(t *testing.T, text string) string {
	t.Helper()
	text = edit(t, text, "a=mid:0\r\n", "a=mid:0\r\na=ssrc:4242 cname:a\r\n")
	return edit(t, text, "a=mid:1\r\n", "a=mid:1\r\na=ssrc:4242 cname:b\r\n")
}

func manyRids() string {
	var b strings.Builder
	for i := range MaxRids + 1 {
		b.WriteString("a=rid:r" + string(rune('a'+i)) + " send\r\n")
	}
	return b.String()
}

func TestParseAcceptsOddities(t *testing.T) {
	base := offers(t)["chromium-dual-publisher"]
	t.Run("paused rid and alternatives", func(t *testing.T) {
		s := mustParse(t, edit(t, base, "send q;h;f", "send f;~h;q,x"))
		rids := s.Section("1").Rids
		want := []Rid{{ID: "f", Send: true}, {ID: "h", Send: true, Paused: true}, {ID: "q", Send: true}}
		if !slices.Equal(rids, want) {
			t.Errorf("rids %+v, want %+v", rids, want)
		}
	})
	t.Run("rejected section without mid", func(t *testing.T) {
		s := mustParse(t, base+"m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")
		if last := s.Sections[3]; !last.Rejected || last.Direction != Inactive {
			t.Errorf("last section %+v", last)
		}
	})
	t.Run("unknown media keeps its place", func(t *testing.T) {
		s := mustParse(t, base+"m=text 9 RTP/AVP 98\r\nc=IN IP4 0.0.0.0\r\na=mid:t\r\n")
		if last := s.Sections[3]; !last.Rejected {
			t.Errorf("last section %+v", last)
		}
	})
	t.Run("rids of both directions", func(t *testing.T) {
		text := edit(t, base, "a=rid:q send", "a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\na=rid:q send")
		if got := mustParse(t, text).Section("1").SendRids(); !slices.Equal(got, []string{"q", "h", "f"}) {
			t.Errorf("sends %v", got)
		}
	})
	t.Run("plan B simulcast group", func(t *testing.T) {
		group := "a=ssrc-group:SIM 3 2 1\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:FID 2 12\r\na=ssrc-group:FID 3 13\r\n"
		for _, id := range []string{"1", "11", "2", "12", "3", "13"} {
			group += "a=ssrc:" + id + " cname:c\r\n"
		}
		s := mustParse(t, edit(t, base, "a=mid:1\r\n", "a=mid:1\r\n"+group))
		want := []SSRC{{3, 13, "c"}, {2, 12, "c"}, {1, 11, "c"}}
		if got := s.Section("1").SSRCs; !slices.Equal(got, want) {
			t.Errorf("sources %+v, want %+v", got, want)
		}
	})
	t.Run("fingerprint and credentials at the session level", func(t *testing.T) {
		ref := mustParse(t, base)
		for _, key := range []string{"a=fingerprint:", "a=ice-ufrag:", "a=ice-pwd:", "a=setup:"} {
			at := strings.Index(base, key)
			line := base[at : at+strings.Index(base[at:], "\n")+1]
			base = strings.ReplaceAll(base, line, "")
			base = strings.Replace(base, "t=0 0\r\n", "t=0 0\r\n"+line, 1)
		}
		s := mustParse(t, base)
		if s.ICE != ref.ICE || s.Setup != ref.Setup || !slices.Equal(s.Fingerprints, ref.Fingerprints) {
			t.Errorf("transport %+v, want %+v", s.ICE, ref.ICE)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range offers(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		// Whatever is accepted can be answered, and the answer can be read.
		answer, err := Answer(s, testLocal(), decide(s))
		if err != nil {
			if s.Setup == SetupPassive {
				return
			}
			t.Fatalf("no answer to an accepted offer: %v", err)
		}
		if s.ICE.Ufrag == "" {
			return // everything rejected
		}
		if _, err := Parse(answer); err != nil && strings.Contains(answer, "a=ice-ufrag") {
			t.Fatalf("own answer refused: %v\n%s", err, answer)
		}
	})
}
