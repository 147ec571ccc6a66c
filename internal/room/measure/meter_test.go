package measure

import (
	"testing"
	"time"
)

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
			m := NewMeter(DefaultLevels())
			at := start
			for _, l := range tc.levels {
				m.Observe(l, at)
				at = at.Add(packetTime)
			}
			if _, speaks := m.Level(at); speaks != tc.speaks {
				t.Errorf("speaks = %v, want %v", speaks, tc.speaks)
			}
		})
	}
}

// A speaker who stops sending (DTX, mute, gone) is silent after two windows.
func TestLevelMeterForgets(t *testing.T) {
	m := NewMeter(DefaultLevels())
	at := time.Unix(1000, 0)
	for range 40 {
		m.Observe(5, at)
		at = at.Add(packetTime)
	}
	if level, speaks := m.Level(at); !speaks || level < 0.3 {
		t.Fatalf("level %v speaks %v while talking", level, speaks)
	}
	if _, speaks := m.Level(at.Add(900 * time.Millisecond)); speaks {
		t.Error("still speaking 900 ms after the last packet")
	}
}

func TestQuantise(t *testing.T) {
	for level, want := range map[float64]float32{0: 0, 0.01: 0.125, 0.125: 0.125, 0.13: 0.25, 1: 1, 7: 1} {
		if got := Quantise(level); got != want {
			t.Errorf("Quantise(%v) = %v, want %v", level, got, want)
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
