package codec

import "errors"

// Errors of VP8Munger.
var (
	// ErrDropped says that the packet belongs to a picture this viewer does
	// not get.
	ErrDropped = errors.New("codec: picture dropped for this viewer")
	// ErrTooLate says that the packet is older than the munger remembers, or
	// older than the picture at which the viewer began with this source.
	ErrTooLate = errors.New("codec: picture too old")
)

// MaxPictureGaps is how many dropped or inserted pictures a VP8Munger
// remembers for late packets; older late packets are refused. At 15 dropped
// pictures a second this is 4 s, far more than a retransmission takes.
const MaxPictureGaps = 64

// VP8Munger rewrites the VP8 payload descriptor for one viewer, so that picture
// ids, TL0PICIDX and KEYIDX go on without a hole while the source changes
// between simulcast layers and pictures of high temporal layers are left out.
// A decoder takes a hole in the picture ids for a loss and waits.
//
// A picture is dealt with as a whole: its first packet decides whether it is
// forwarded, later and late packets follow. A picture that was never seen
// keeps its place in the numbering, because it may still be retransmitted.
//
// Picture ids are always written with 15 bits, whatever the source uses: one
// numbering then fits every source, and the header keeps its length.
//
// The zero value is ready; Switch must be called before the first Munge. It is
// not safe for concurrent use. It allocates nothing.
type VP8Munger struct {
	s VP8State
	// gaps are the places where the offset changed, a ring in ascending order.
	gaps     [MaxPictureGaps]PictureGap
	first, n int
	// lostGaps says that the ring has overwritten gaps since Switch; floor is
	// then the newest picture it can no longer place.
	lostGaps bool
	floor    int64
}

// VP8State is all that a VP8Munger knows, as plain data that can be carried to
// another node. Picture ids in it are unwrapped: they do not wrap at 15 bits.
type VP8State struct {
	// Started is false before the first Switch; nothing else is set then.
	Started bool
	// Begin is the first picture of the current source.
	Begin int64
	// Newest is the newest picture of the current source seen so far.
	Newest int64
	// RawNewest is Newest as the source wrote it, for unwrapping.
	RawNewest uint16
	// Offset is what is taken off a source picture id now.
	Offset int64
	// TL0Offset and KeyOffset are what is taken off TL0PICIDX and KEYIDX.
	TL0Offset, KeyOffset uint8
	// OutPictureID, OutTL0PICIDX and OutKeyIndex are the newest values
	// written; the next source continues from them.
	OutPictureID int64
	OutTL0PICIDX uint8
	OutKeyIndex  uint8
	// Gaps are the remembered offset changes of the current source, oldest
	// first.
	Gaps []PictureGap
	// GapsLost says that older gaps were forgotten; pictures up to Floor are
	// then too late.
	GapsLost bool
	Floor    int64
}

// PictureGap is a place where the picture id offset of a source changed.
type PictureGap struct {
	// PictureID is the last source picture, unwrapped, to which Offset applies.
	PictureID int64
	// Offset is the offset in force up to and including PictureID.
	Offset int64
	// Dropped says that PictureID itself is not forwarded.
	Dropped bool
}

// Switch makes next, the first packet of a key frame, the first packet of a new
// source: the picture gets the id after the newest one written. The first call
// of all starts the numbering with the source's own values. Packets of the
// former source must not be given to the munger any more.
func (m *VP8Munger) Switch(next *VP8) {
	s := &m.s
	id := int64(next.PictureID)
	if !s.Started {
		s.OutPictureID = id - 1
		s.OutTL0PICIDX = next.TL0PICIDX - 1
		s.OutKeyIndex = next.KeyIndex - 1
	}
	s.Started = true
	s.Begin, s.Newest, s.RawNewest = id, id-1, next.PictureID-1
	s.Offset = id - s.OutPictureID - 1
	s.TL0Offset = next.TL0PICIDX - s.OutTL0PICIDX - 1
	s.KeyOffset = next.KeyIndex - s.OutKeyIndex - 1
	m.first, m.n = 0, 0
	m.lostGaps, m.floor = false, 0
}

// Munge writes the viewer's descriptor for the packet described by d to dst and
// returns its length, at most MaxVP8Header. The frame data after d.HeaderLen
// follows unchanged. ErrDropped and ErrTooLate say that the packet is not for
// this viewer. ErrTooLate for a packet that is in order by its sequence number
// means that the source has restarted its numbering: Switch at its next key
// frame.
func (m *VP8Munger) Munge(dst []byte, d *VP8) (int, error) {
	s := &m.s
	if !s.Started {
		return 0, ErrTooLate
	}
	out := *d
	if d.HasPictureID {
		id := m.unwrap(d)
		offset, err := m.offsetAt(id)
		if err != nil {
			return 0, err
		}
		out.LongPictureID = true
		out.PictureID = uint16(id-offset) & 0x7fff
		if id >= s.Newest {
			m.advance(id, d)
			s.OutPictureID = id - offset
		}
	}
	out.TL0PICIDX = d.TL0PICIDX - s.TL0Offset
	out.KeyIndex = (d.KeyIndex - s.KeyOffset) & 0x1f
	n, err := out.Marshal(dst)
	if err != nil {
		return 0, err
	}
	// Counters of a retransmitted picture are behind, and must not take the
	// state back.
	if d.HasTL0PICIDX && int8(out.TL0PICIDX-s.OutTL0PICIDX) > 0 {
		s.OutTL0PICIDX = out.TL0PICIDX
	}
	if d.HasKeyIndex && (out.KeyIndex-s.OutKeyIndex)&0x1f < 0x10 {
		s.OutKeyIndex = out.KeyIndex
	}
	return n, nil
}

// Drop says that the picture of d is not meant for this viewer, for instance
// because of its temporal layer, and closes its place in the numbering. It
// reports whether the packet is to be dropped: false means that the picture is
// being forwarded already, or that its place is kept because pictures after it
// were numbered before it came; Munge it then.
func (m *VP8Munger) Drop(d *VP8) bool {
	s := &m.s
	if !s.Started || !d.HasPictureID {
		return true
	}
	id := m.unwrap(d)
	if id <= s.Newest {
		_, err := m.offsetAt(id)
		return err != nil
	}
	m.advance(id, d)
	m.addGap(PictureGap{PictureID: id, Offset: s.Offset, Dropped: true})
	s.Offset++
	return true
}

// Insert writes the descriptor of a picture that the server itself puts into
// the stream, a one packet key frame after the newest picture, and makes room
// for it in the numbering. like is any recent packet of the source: its fields
// say which ones the viewer expects.
func (m *VP8Munger) Insert(dst []byte, like *VP8) (int, error) {
	s := &m.s
	if !s.Started {
		return 0, ErrTooLate
	}
	out := VP8{
		Start:        true,
		HasPictureID: like.HasPictureID, LongPictureID: like.HasPictureID,
		HasTL0PICIDX: like.HasTL0PICIDX, HasTID: like.HasTID, HasKeyIndex: like.HasKeyIndex,
		PictureID: uint16(s.OutPictureID+1) & 0x7fff,
		TL0PICIDX: s.OutTL0PICIDX + 1,
		KeyIndex:  (s.OutKeyIndex + 1) & 0x1f,
		LayerSync: like.HasTID,
	}
	n, err := out.Marshal(dst)
	if err != nil {
		return 0, err
	}
	if like.HasPictureID {
		m.addGap(PictureGap{PictureID: s.Newest, Offset: s.Offset})
		s.Offset--
		s.OutPictureID++
	}
	if like.HasTL0PICIDX {
		s.OutTL0PICIDX++
		s.TL0Offset--
	}
	if like.HasKeyIndex {
		s.OutKeyIndex++
		s.KeyOffset--
	}
	return n, nil
}

// unwrap extends the picture id of d to one that does not wrap, taking it as
// near to the newest one as its width allows. A source may go from 7 to 15 bits
// between two pictures (RFC 7741 section 4.2).
func (m *VP8Munger) unwrap(d *VP8) int64 {
	width := 7
	if d.LongPictureID {
		width = 15
	}
	shift := 16 - width
	diff := int16((d.PictureID-m.s.RawNewest)<<shift) >> shift
	return m.s.Newest + int64(diff)
}

func (m *VP8Munger) advance(id int64, d *VP8) {
	m.s.Newest, m.s.RawNewest = id, d.PictureID
}

// offsetAt returns the offset for a source picture. Nearly always the picture
// is newer than every gap and the loop ends at once.
func (m *VP8Munger) offsetAt(id int64) (int64, error) {
	if id < m.s.Begin || (m.lostGaps && id <= m.floor) {
		return 0, ErrTooLate
	}
	offset := m.s.Offset
	for i := m.n - 1; i >= 0; i-- {
		g := &m.gaps[(m.first+i)%MaxPictureGaps]
		if id > g.PictureID {
			break
		}
		if id == g.PictureID && g.Dropped {
			return 0, ErrDropped
		}
		offset = g.Offset
	}
	return offset, nil
}

func (m *VP8Munger) addGap(g PictureGap) {
	if m.n == MaxPictureGaps {
		m.lostGaps, m.floor = true, m.gaps[m.first].PictureID
		m.first = (m.first + 1) % MaxPictureGaps
		m.n--
	}
	m.gaps[(m.first+m.n)%MaxPictureGaps] = g
	m.n++
}

// State returns a copy of the munger's state. It allocates and is meant for
// hand-over, not for the packet path.
func (m *VP8Munger) State() VP8State {
	s := m.s
	s.GapsLost, s.Floor = m.lostGaps, m.floor
	s.Gaps = make([]PictureGap, m.n)
	for i := range s.Gaps {
		s.Gaps[i] = m.gaps[(m.first+i)%MaxPictureGaps]
	}
	return s
}

// Restore makes the munger go on where the one went on that gave s. Of more
// gaps than MaxPictureGaps the newest are kept.
func (m *VP8Munger) Restore(s VP8State) {
	gaps := s.Gaps
	s.Gaps = nil
	*m = VP8Munger{s: s, lostGaps: s.GapsLost, floor: s.Floor}
	for _, g := range gaps {
		m.addGap(g)
	}
}
