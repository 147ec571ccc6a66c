package sdp

import (
	"slices"
	"testing"
)

func mimes(codecs []Codec) []string {
	var out []string
	for _, c := range codecs {
		out = append(out, c.Mime)
	}
	return out
}

func TestCodecEqual(t *testing.T) {
	h264 := func(fmtp string) Codec { return Codec{Mime: "video/H264", ClockRate: 90000, Fmtp: fmtp} }
	cases := []struct {
		name string
		a, b Codec
		want bool
	}{
		{"case of the name", Codec{Mime: "video/vp8", ClockRate: 90000}, Codec{Mime: "video/VP8", ClockRate: 90000}, true},
		{"clock rate", Codec{Mime: "audio/opus", ClockRate: 48000}, Codec{Mime: "audio/opus", ClockRate: 16000}, false},
		{"mono opus", Codec{Mime: "audio/opus", ClockRate: 48000, Channels: 2}, Codec{Mime: "audio/opus", ClockRate: 48000, Channels: 1}, false},
		{
			"h264 level does not bind", h264("packetization-mode=1;profile-level-id=42e01f"),
			h264("profile-level-id=42E034;packetization-mode=1;level-asymmetry-allowed=1"), true,
		},
		{"h264 mode", h264("packetization-mode=1;profile-level-id=42e01f"), h264("profile-level-id=42e01f"), false},
		{"h264 baseline is not constrained", h264("profile-level-id=42001f"), h264("profile-level-id=42e01f"), false},
		{"h264 constraint set 1", h264("profile-level-id=42c02a"), h264("profile-level-id=42e01f"), true},
		{"h264 high", h264("profile-level-id=640c1f"), h264("profile-level-id=42e01f"), false},
		{"vp9 profile 0 is implied", Codec{Mime: "video/VP9", Fmtp: "profile-id=0"}, Codec{Mime: "video/VP9"}, true},
		{"vp9 profile 2", Codec{Mime: "video/VP9", Fmtp: "profile-id=2"}, Codec{Mime: "video/VP9"}, false},
		{"av1 profile 1", Codec{Mime: "video/AV1", Fmtp: "level-idx=5;profile=1;tier=0"}, Codec{Mime: "video/AV1"}, false},
		{"av1 profile 0", Codec{Mime: "video/AV1", Fmtp: "level-idx=5;profile=0;tier=0"}, Codec{Mime: "video/AV1"}, true},
	}
	for _, c := range cases {
		if got := c.a.Equal(&c.b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := c.b.Equal(&c.a); got != c.want {
			t.Errorf("%s reversed: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPolicySelect(t *testing.T) {
	offer := mustParse(t, offers(t)["chromium-dual-publisher"])
	audio, video := offer.Section("0"), offer.Section("1")
	t.Run("only supported codecs, offered order", func(t *testing.T) {
		p := Policy{Codecs: DefaultCodecs()}
		if got := mimes(p.Select(audio)); !slices.Equal(got, []string{"audio/opus", "audio/red"}) {
			t.Errorf("audio %v", got)
		}
		got := p.Select(video)
		for _, c := range got {
			if Parameter(c.Fmtp, "profile-id") == "2" {
				t.Error("ten-bit VP9 without being asked for")
			}
			if !c.HasFeedback("nack pli") || c.RTX == 0 {
				t.Errorf("%+v lost its feedback or RTX", c)
			}
		}
		if len(got) < 6 || got[0].Mime != "video/VP8" {
			t.Errorf("video %v", mimes(got))
		}
	})
	t.Run("no RED", func(t *testing.T) {
		p := Policy{Codecs: DefaultCodecs(), NoRED: true}
		if got := mimes(p.Select(audio)); !slices.Equal(got, []string{"audio/opus"}) {
			t.Errorf("audio %v", got)
		}
	})
	t.Run("RED of something else", func(t *testing.T) {
		text := edit(t, offers(t)["chromium-dual-publisher"], "a=fmtp:63 111/111", "a=fmtp:63 9/9")
		p := Policy{Codecs: DefaultCodecs()}
		if got := mimes(p.Select(mustParse(t, text).Section("0"))); !slices.Equal(got, []string{"audio/opus"}) {
			t.Errorf("audio %v", got)
		}
	})
	t.Run("narrowed by fmtp", func(t *testing.T) {
		p := Policy{Codecs: []CodecSpec{{Mime: "video/h264", Fmtp: "packetization-mode=1;profile-level-id=42e01f"}, {Mime: "video/VP9", Fmtp: "profile-id=2"}}}
		got := p.Select(video)
		if len(got) != 2 || Parameter(got[0].Fmtp, "profile-level-id") != "42e01f" || Parameter(got[1].Fmtp, "profile-id") != "2" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("preferred first", func(t *testing.T) {
		p := Policy{Codecs: DefaultCodecs()}
		got := Prefer(p.Select(video), "video/av1")
		if got[0].Mime != "video/AV1" || got[1].Mime != "video/VP8" {
			t.Errorf("%v", mimes(got))
		}
	})
}

func TestSupportedPayloadTypesAreUnique(t *testing.T) {
	seen := make(map[uint8]string)
	for _, c := range supported() {
		for _, pt := range []uint8{c.PayloadType, c.RTX} {
			if pt == 0 {
				continue
			}
			if other, taken := seen[pt]; taken {
				t.Errorf("payload type %d for %s and %s", pt, c.Mime, other)
			}
			seen[pt] = c.Mime
			if pt > 127 || pt >= 64 && pt <= 95 {
				t.Errorf("payload type %d of %s is out of range", pt, c.Mime)
			}
		}
	}
}

func TestWithOpusOptions(t *testing.T) {
	in := []Codec{{Mime: "audio/opus", Fmtp: "minptime=10;stereo=1;usedtx=1"}, {Mime: "audio/red", Fmtp: "111/111"}}
	got := WithOpusOptions(in, OpusOptions{DTX: true})
	if got[0].Fmtp != "minptime=10;usedtx=1" || got[1].Fmtp != "111/111" {
		t.Errorf("%+v", got)
	}
	if in[0].Fmtp != "minptime=10;stereo=1;usedtx=1" {
		t.Error("the argument was changed")
	}
	got = WithOpusOptions(in, OpusOptions{Stereo: true})
	if got[0].Fmtp != "minptime=10;stereo=1;maxaveragebitrate=510000" {
		t.Errorf("%+v", got)
	}
}

func TestSelectFeedbackByDirection(t *testing.T) {
	c := []Codec{{Mime: "video/VP8", Feedback: []string{"goog-remb", "transport-cc", "nack"}}}
	cases := []struct {
		policy   Policy
		up, down bool
		want     []string
	}{
		{Policy{}, true, false, []string{"transport-cc", "nack"}},
		{Policy{}, false, true, []string{"goog-remb", "nack"}},
		{Policy{Downlink: TransportCC}, false, true, []string{"transport-cc", "nack"}},
		{Policy{}, true, true, []string{"goog-remb", "transport-cc", "nack"}},
	}
	for _, tc := range cases {
		if got := tc.policy.SelectFeedback(c, tc.up, tc.down)[0].Feedback; !slices.Equal(got, tc.want) {
			t.Errorf("up %v down %v: %v, want %v", tc.up, tc.down, got, tc.want)
		}
	}
}
