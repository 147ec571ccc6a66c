package data

import (
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

// sent returns a packet of size bytes, the first of which is its sequence.
func sent(sender string, seq uint32, at time.Duration, size int) Packet {
	b := make([]byte, size)
	b[0] = byte(seq)
	return Packet{At: start.Add(at), Sender: sender, Sequence: seq, Data: b}
}

func sequences(packets [][]byte) (out []int) {
	for _, p := range packets {
		out = append(out, int(p[0]))
	}
	return out
}

func TestCacheIsBounded(t *testing.T) {
	c := NewCache(time.Minute, 100)
	for seq := range uint32(4) {
		c.Add(sent("PA_a", seq+1, time.Duration(seq)*time.Second, 40))
	}
	if got := sequences(c.Since("bob", "PA_b", time.Time{})); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("kept %v; 100 bytes hold the last two", got)
	}
	c.Expire(start.Add(63 * time.Second))
	if got := sequences(c.Since("bob", "PA_b", time.Time{})); !slices.Equal(got, []int{4}) {
		t.Errorf("kept %v a minute after the third", got)
	}
	c.Expire(start.Add(time.Hour))
	if len(c.items) != 0 || c.bytes != 0 {
		t.Errorf("%d packets, %d bytes after an hour", len(c.items), c.bytes)
	}
}

func TestCacheKnowsWhoMissedWhat(t *testing.T) {
	c := NewCache(time.Minute, 1000)
	for i := range uint32(4) {
		c.Add(sent("PA_a", i+1, time.Duration(i)*time.Second, 10))
	}
	toBob := sent("PA_a", 5, 4*time.Second, 10)
	toBob.Identities = []string{"bob"}
	c.Add(toBob)
	toCat := sent("PA_a", 6, 5*time.Second, 10)
	toCat.SIDs = []string{"PA_c"}
	c.Add(toCat)
	c.Add(sent("PA_b", 7, 6*time.Second, 10))

	for _, tc := range []struct {
		name string
		got  [][]byte
		want []int
	}{
		{"bob came late", c.Since("bob", "PA_b", start.Add(2*time.Second)), []int{3, 4, 5}},
		{"cat came late", c.Since("cat", "PA_c", start.Add(2*time.Second)), []int{3, 4, 6, 7}},
		{"the sender gets nothing back", c.Since("ann", "PA_a", time.Time{}), []int{7}},
		{"bob has seen some", c.After("bob", "PA_b", map[string]uint32{"PA_a": 3}), []int{4, 5}},
		{"bob has seen all", c.After("bob", "PA_b", map[string]uint32{"PA_a": 5}), nil},
		{"cat does not know one sender", c.After("cat", "PA_c", map[string]uint32{"PA_b": 6}), []int{7}},
		{"the newest bytes", c.Newest("bob", "PA_b", 15), []int{4, 5}},
		{"all bytes", c.Newest("bob", "PA_b", 1000), []int{1, 2, 3, 4, 5}},
		{"no bytes", c.Newest("bob", "PA_b", 0), nil},
	} {
		if got := sequences(tc.got); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNonces(t *testing.T) {
	var c Nonces
	if c.Seen(nil) || c.Seen(nil) {
		t.Error("packets without a nonce are never repeats")
	}
	if c.Seen([]byte("a")) || !c.Seen([]byte("a")) || c.Seen([]byte("b")) {
		t.Error("only the second of the same nonce is a repeat")
	}
	if long := make([]byte, 60<<10); c.Seen(long) || c.Seen(long) {
		t.Error("a nonce of 60 kB is kept")
	}
	for i := range len(c.ring) {
		c.Seen([]byte{1, byte(i)})
	}
	if c.Seen([]byte("a")) {
		t.Errorf("remembered over %d others", len(c.ring))
	}
}
