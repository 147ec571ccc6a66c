package rtp

import (
	"testing"

	"pgregory.net/rapid"
)

func TestMungerTable(t *testing.T) {
	type step struct {
		do     string // switch, map, late, drop, insert
		source uint32
		seq    int64
		want   int64 // outgoing number; 0 = none
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 1, 51, 101}}},
		{"a hole stays for the late packet", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 1, 52, 102}, {"late", 1, 51, 101}}},
		{"a packet left out closes up", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"drop", 1, 51, 0}, {"map", 1, 52, 101}}},
		{"a run left out closes up", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"drop", 1, 51, 0}, {"drop", 1, 52, 0}, {"map", 1, 53, 101}}},
		{"a late packet left out has a number", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"drop", 1, 52, 0}, {"late", 1, 52, 0}, {"late", 1, 51, 101}, {"map", 1, 53, 102}}},
		{"late for one not followed", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"late", 1, 55, 0}, {"switch", 1, 60, 0}, {"map", 1, 60, 101}, {"late", 1, 55, 0}}},
		{"missing before one left out keeps its number", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"drop", 1, 53, 0}, {"map", 1, 54, 103}, {"late", 1, 52, 102}, {"drop", 1, 51, 0}, {"late", 1, 51, 101}}},
		{"before the beginning", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 1, 49, 0}, {"late", 1, 49, 0}}},
		{"unknown source", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 2, 51, 0}, {"drop", 2, 51, 0}}},
		{"switch and late of the former", []step{
			{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 1, 52, 102},
			{"switch", 2, 900, 0}, {"map", 2, 900, 103}, {"late", 1, 51, 101}, {"late", 1, 53, 0}, {"map", 1, 53, 0}, {"map", 2, 901, 104},
		}},
		{"there and back", []step{
			{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"switch", 2, 7, 0}, {"map", 2, 7, 101},
			{"switch", 1, 60, 0}, {"map", 1, 60, 102}, {"late", 1, 55, 0}, {"map", 1, 62, 104}, {"late", 1, 61, 103},
		}},
		{"inserted between", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"insert", 0, 0, 101}, {"insert", 0, 0, 102}, {"map", 1, 51, 103}}},
		{"inserted before the first", []step{{"insert", 0, 0, 100}, {"switch", 1, 50, 0}, {"map", 1, 50, 101}}},
		{"inserted after a hole", []step{{"switch", 1, 50, 0}, {"map", 1, 50, 100}, {"map", 1, 52, 102}, {"insert", 0, 0, 103}, {"late", 1, 51, 101}, {"map", 1, 53, 104}}},
		{"nothing begun", []step{{"map", 1, 50, 0}, {"drop", 1, 50, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := NewMunger(100)
			for i, s := range tc.steps {
				var got int64
				switch s.do {
				case "switch":
					m.Switch(s.source, s.seq, 0, 0)
				case "map":
					if sn, _, ok := m.Map(s.source, s.seq, 0); ok {
						got = sn
					}
				case "late":
					if sn, _, ok := m.Late(s.source, s.seq, 0); ok {
						got = sn
					}
				case "drop":
					m.Drop(s.source, s.seq, 0)
				case "insert":
					got = m.Insert()
				}
				if got != s.want {
					t.Fatalf("step %d (%+v): got %d", i, s, got)
				}
			}
		})
	}
}

func TestMungerTimestamps(t *testing.T) {
	m := NewMunger(1)
	m.Switch(1, 10, 0xffffff00, 500)
	if _, ts, _ := m.Map(1, 10, 0xffffff00); ts != 500 {
		t.Errorf("first timestamp %d, want 500", ts)
	}
	if _, ts, _ := m.Map(1, 12, 0x100); ts != 1012 {
		t.Errorf("timestamp over the wrap %d, want 1012", ts)
	}
	m.Drop(1, 13, 0x1000)
	if _, last := m.Last(); last != 0x1100+500 {
		t.Errorf("timestamp reached by a packet left out %d, want %d", last, 0x1100+500)
	}
	m.Switch(2, 99, 7, 4000)
	m.Map(2, 99, 7)
	if _, ts, _ := m.Late(1, 11, 0); ts != 756 {
		t.Errorf("late timestamp of the former source %d, want 756", ts)
	}
	if off, ok := m.TSOffset(); !ok || 7-off != 4000 {
		t.Errorf("offset %d %v", off, ok)
	}
}

// TestMungerProperties plays random sources with losses, reordering, packets left
// out, insertions and switches, and holds the output against what a viewer needs.
func TestMungerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint16Range(1, 1<<15-1).Draw(t, "start")
		m := NewMunger(start)
		used := map[int64]string{}
		claim := func(sn int64, by string) {
			if old, ok := used[sn]; ok {
				t.Fatalf("number %d used by %s and by %s", sn, old, by)
			}
			used[sn] = by
		}
		lost := map[int64]bool{} // numbers that belong to packets lost for good
		for range rapid.IntRange(1, 6).Draw(t, "runs") {
			source := rapid.Uint32Range(1, 3).Draw(t, "source")
			playRun(t, m, source, claim, lost)
			if rapid.Bool().Draw(t, "carry over") {
				s := m.State()
				m = NewMunger(9)
				m.Restore(s)
			}
		}
		last, _ := m.Last()
		for sn := int64(start); sn <= last; sn++ {
			if used[sn] == "" && !lost[sn] {
				t.Fatalf("number %d of %d..%d is a hole nobody accounts for", sn, start, last)
			}
		}
		for sn := range used {
			if sn < int64(start) || sn > last {
				t.Fatalf("number %d outside %d..%d", sn, start, last)
			}
		}
	})
}

func playRun(t *rapid.T, m *Munger, source uint32, claim func(int64, string), lost map[int64]bool) {
	type packet struct {
		seq  int64
		drop bool
	}
	before, _ := m.Last()
	first := before*10 + int64(rapid.IntRange(0, 100).Draw(t, "first")) // ahead of every earlier run
	n := rapid.IntRange(1, 60).Draw(t, "packets")
	var sent []packet
	for i := range n {
		if i > 0 && rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
			continue
		}
		sent = append(sent, packet{first + int64(i), i > 0 && rapid.IntRange(0, 3).Draw(t, "drop") == 0})
	}
	// Delay some packets by a few places; the first starts the source.
	for i := 1; i < len(sent); i++ {
		if by := rapid.IntRange(0, 12).Draw(t, "delay"); by < 4 && i+by < len(sent) {
			p := sent[i]
			copy(sent[i:], sent[i+1:i+by+1])
			sent[i+by] = p
		}
	}
	m.Switch(source, first, 0, 0)
	out, newest := map[int64]int64{}, first
	for _, p := range sent {
		late := p.seq < newest
		newest = max(newest, p.seq)
		if p.drop {
			if sn, _, ok := m.Late(source, p.seq, 0); late && ok {
				claim(sn, "filler")
			}
			m.Drop(source, p.seq, 0)
			continue
		}
		place := m.Map
		if late {
			place = m.Late
		}
		sn, _, ok := place(source, p.seq, 0)
		if !ok {
			t.Fatalf("packet %d of source %d has no number", p.seq, source)
		}
		claim(sn, "media")
		out[p.seq] = sn
		if rapid.IntRange(0, 15).Draw(t, "insert") == 0 {
			claim(m.Insert(), "inserted")
		}
	}
	for a, sa := range out {
		for b, sb := range out {
			if a < b && sa >= sb {
				t.Fatalf("packets %d, %d got %d, %d", a, b, sa, sb)
			}
		}
	}
	arrived := map[int64]bool{}
	for _, p := range sent {
		arrived[p.seq] = true
	}
	for i := range int64(n) {
		if !arrived[first+i] {
			if sn, _, ok := m.Late(source, first+i, 0); ok { // asks where it would have gone
				lost[sn] = true
			}
		}
	}
}

func TestMungerDoesNotAllocate(t *testing.T) {
	m, seq := NewMunger(1), int64(0)
	m.Switch(1, 0, 0, 0)
	if n := testing.AllocsPerRun(1000, func() {
		m.Map(1, seq, 0)
		m.Drop(1, seq+1, 0)
		m.Insert()
		seq += 2
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMungerSkip(t *testing.T) {
	m := NewMunger(10)
	m.Switch(1, 100, 0, 0)
	m.Map(1, 100, 0)
	m.Drop(1, 101, 0)
	m.Skip(1, 105) // 102 to 104 never came, and are left out as 101 and 105 are
	m.Drop(1, 105, 0)
	if sn, _, ok := m.Map(1, 106, 0); !ok || sn != 11 {
		t.Errorf("number %d, %v; want 11", sn, ok)
	}
	for seq := int64(101); seq <= 105; seq++ {
		if sn, _, ok := m.Late(1, seq, 0); ok {
			t.Errorf("packet %d has room at %d", seq, sn)
		}
	}
	m.Skip(2, 200) // another source
	m.Skip(1, 107) // nothing is missing
	m.Skip(1, 90)  // long past
	if sn, _, ok := m.Map(1, 108, 0); !ok || sn != 13 {
		t.Errorf("number %d, %v; want 13", sn, ok)
	}
	if sn, _, ok := m.Late(1, 107, 0); !ok || sn != 12 {
		t.Errorf("room at %d, %v; want 12", sn, ok)
	}
}
