package transport

// rollover follows the 48-bit packet index of one SSRC as RFC 3711 section
// 3.3.1 estimates it from the 16-bit sequence number. It mirrors what
// srtp.Context keeps to itself, so that the index can be exported.
type rollover struct {
	index   uint64 // highest index seen
	started bool
	floor   uint64 // resumed: indexes up to this one belong to another node
	resumed bool
}

const seqMedian = 1 << 15

// estimate returns the index of a packet and its distance to the highest one.
func (r *rollover) estimate(seq uint16) (index uint64, diff int64) {
	if !r.started {
		return r.index&^0xFFFF | uint64(seq), 1
	}
	roc, last, s := r.index>>16, int64(r.index&0xFFFF), int64(seq)
	diff = s - last
	if r.index > seqMedian {
		switch {
		case last < seqMedian && diff > seqMedian:
			roc--
			diff -= 1 << 16
		case last >= seqMedian && last-seqMedian > s:
			roc++
			diff += 1 << 16
		}
	}
	return roc<<16 | uint64(seq), diff
}

// accept records a packet whose estimate was index and diff.
func (r *rollover) accept(index uint64, diff int64) {
	if diff > 0 || !r.started {
		r.index, r.started = index, true
	}
}

// indexTable holds the rollover of every SSRC of one direction.
type indexTable struct {
	bySSRC map[uint32]*rollover
	ssrc   uint32 // of recent: most packets belong to the SSRC before them
	recent *rollover
}

func newIndexTable() indexTable { return indexTable{bySSRC: make(map[uint32]*rollover)} }

// get returns the entry of an SSRC, or nil.
func (t *indexTable) get(ssrc uint32) *rollover {
	if t.recent != nil && t.ssrc == ssrc {
		return t.recent
	}
	r := t.bySSRC[ssrc]
	if r != nil {
		t.ssrc, t.recent = ssrc, r
	}
	return r
}

// add makes the entry of an SSRC that has none.
func (t *indexTable) add(ssrc uint32) *rollover {
	r := &rollover{}
	t.bySSRC[ssrc] = r
	t.ssrc, t.recent = ssrc, r
	return r
}
