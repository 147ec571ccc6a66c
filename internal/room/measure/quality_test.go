package measure

import (
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
)

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name string
		link Link
		want livekit.ConnectionQuality
	}{
		{"nothing wrong", Link{}, livekit.ConnectionQuality_EXCELLENT},
		{"1 % loss", Link{Loss: 0.01, RTT: 40 * time.Millisecond}, livekit.ConnectionQuality_EXCELLENT},
		{"8 % loss", Link{Loss: 0.08}, livekit.ConnectionQuality_GOOD},
		{"20 % loss", Link{Loss: 0.2}, livekit.ConnectionQuality_POOR},
		{"a satellite", Link{RTT: 600 * time.Millisecond}, livekit.ConnectionQuality_GOOD},
		{"the moon", Link{RTT: 2600 * time.Millisecond}, livekit.ConnectionQuality_POOR},
		{"no media", Link{Dead: true}, livekit.ConnectionQuality_LOST},
	} {
		if got, score := Judge(tc.link); got != tc.want {
			t.Errorf("%s: %v (%.2f), want %v", tc.name, got, score, tc.want)
		}
	}
}
