package room

import (
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
)

func levelConfig() LevelConfig { return DefaultConfig().Levels }

func TestLevelMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, tc := range []struct {
		name   string
		levels []uint8 // one each 20 ms
		speaks bool
	}{
		{"loud all the time", repeat(40, 10), true},
		{"quiet all the time", repeat(40, 60), false},
		{"digital silence", repeat(40, 127), false},
		{"loud for half of the window", append(repeat(10, 15), repeat(10, 90)...), true},
		{"a full window, then silence", append(repeat(20, 15), repeat(20, 90)...), false},
		{"a click", append(repeat(2, 5), repeat(38, 90)...), false},
		{"a little over the threshold, for a while", repeat(200, 34), true},
		{"just under the threshold, for ever", repeat(2000, 36), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newLevelMeter(levelConfig())
			at := start
			for _, l := range tc.levels {
				m.observe(l, false, at)
				at = at.Add(packetTime)
			}
			if _, speaks := m.level(at); speaks != tc.speaks {
				t.Errorf("speaks = %v, want %v", speaks, tc.speaks)
			}
		})
	}
}

// A speaker who stops sending (DTX, mute, gone) is silent after two windows.
func TestLevelMeterForgets(t *testing.T) {
	m := newLevelMeter(levelConfig())
	at := time.Unix(1000, 0)
	for range 40 {
		m.observe(5, false, at)
		at = at.Add(packetTime)
	}
	if level, speaks := m.level(at); !speaks || level < 0.3 {
		t.Fatalf("level %v speaks %v while talking", level, speaks)
	}
	if _, speaks := m.level(at.Add(900 * time.Millisecond)); speaks {
		t.Error("still speaking 900 ms after the last packet")
	}
}

func TestQuantise(t *testing.T) {
	for level, want := range map[float64]float32{0: 0, 0.01: 0.125, 0.125: 0.125, 0.13: 0.25, 1: 1, 7: 1} {
		if got := quantise(level); got != want {
			t.Errorf("quantise(%v) = %v, want %v", level, got, want)
		}
	}
}

func repeat(n int, level uint8) []uint8 {
	out := make([]uint8, n)
	for i := range out {
		out[i] = level
	}
	return out
}

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name string
		link linkStats
		want livekit.ConnectionQuality
	}{
		{"nothing wrong", linkStats{}, livekit.ConnectionQuality_EXCELLENT},
		{"1 % loss", linkStats{loss: 0.01, rtt: 40 * time.Millisecond}, livekit.ConnectionQuality_EXCELLENT},
		{"8 % loss", linkStats{loss: 0.08}, livekit.ConnectionQuality_GOOD},
		{"20 % loss", linkStats{loss: 0.2}, livekit.ConnectionQuality_POOR},
		{"a satellite", linkStats{rtt: 600 * time.Millisecond}, livekit.ConnectionQuality_GOOD},
		{"the moon", linkStats{rtt: 2600 * time.Millisecond}, livekit.ConnectionQuality_POOR},
		{"no media", linkStats{dead: true}, livekit.ConnectionQuality_LOST},
	} {
		if got, score := judge(tc.link); got != tc.want {
			t.Errorf("%s: %v (%.2f), want %v", tc.name, got, score, tc.want)
		}
	}
}

func TestQualityForSize(t *testing.T) {
	three := []*livekit.VideoLayer{
		{Quality: livekit.VideoQuality_LOW, Width: 320, Height: 180},
		{Quality: livekit.VideoQuality_MEDIUM, Width: 640, Height: 360},
		{Quality: livekit.VideoQuality_HIGH, Width: 1280, Height: 720},
	}
	landscape := &livekit.TrackInfo{Width: 1280, Height: 720}
	portrait := &livekit.TrackInfo{Width: 720, Height: 1280}
	for _, tc := range []struct {
		name   string
		info   *livekit.TrackInfo
		layers []*livekit.VideoLayer
		w, h   uint32
		want   livekit.VideoQuality
	}{
		{"thumbnail", landscape, three, 160, 90, livekit.VideoQuality_LOW},
		{"exactly low", landscape, three, 320, 180, livekit.VideoQuality_LOW},
		{"a little more than low", landscape, three, 350, 197, livekit.VideoQuality_LOW},
		{"half way", landscape, three, 480, 270, livekit.VideoQuality_MEDIUM},
		{"larger than everything", landscape, three, 4000, 2200, livekit.VideoQuality_HIGH},
		{"portrait", portrait, three, 180, 320, livekit.VideoQuality_LOW},
		{"one layer", landscape, three[2:], 100, 60, livekit.VideoQuality_HIGH},
		{"no layers, a quarter", landscape, nil, 200, 180, livekit.VideoQuality_LOW},
		{"no layers, half", landscape, nil, 600, 360, livekit.VideoQuality_MEDIUM},
		{"size unknown", &livekit.TrackInfo{}, nil, 100, 100, livekit.VideoQuality_HIGH},
	} {
		if got := qualityForSize(tc.info, tc.layers, tc.w, tc.h); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
