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

// MaxDroppedPictures is how many dropped pictures a VP8Munger remembers for late
// packets; those of older pictures are refused. At 15 dropped pictures a second this is 4 s, far more than a retransmission takes.
const MaxDroppedPictures = 64

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
	// dropped are the newest dropped pictures, a ring in ascending order.
	dropped  [MaxDroppedPictures]int64
	first, n int
}

// VP8State is all that a VP8Munger knows, as plain data that can be carried to
// another node. Picture ids in it are unwrapped: they do not wrap at 15 bits.
type VP8State struct {
	// Started is false before the first Switch; nothing else is set then.
	Started bool
	// Begin is the oldest picture of the current source that is still placed:
	// its first one, or the one after what has been forgotten.
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
	// Dropped are the pictures of the current source that were dropped, oldest
	// first, as far back as Begin.
	Dropped []int64
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
		if id > s.Newest {
			m.advance(id, d)
		}
		// Also for a late one: its place may be newer than all written, when
		// what came in between was dropped.
		s.OutPictureID = max(s.OutPictureID, id-offset)
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
	m.remember(id)
	s.Offset++
	return true
}

// Insert writes the descriptor of a picture that the server itself puts into
// the stream, a one packet key frame after the newest picture, and makes room
// for it in the numbering. Packets of pictures before it are too late from then
// on. like is any recent packet of the source: its fields say which ones the
// viewer expects.
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
		s.OutPictureID++
		s.Offset = s.Newest - s.OutPictureID
	}
	s.Begin = s.Newest + 1
	m.first, m.n = 0, 0
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

// offsetAt returns the offset for a source picture: the one of now, without the
// pictures that were dropped after it. Nearly always the picture is newer than
// all of those and the loop ends at once.
func (m *VP8Munger) offsetAt(id int64) (int64, error) {
	if id < m.s.Begin {
		return 0, ErrTooLate
	}
	offset := m.s.Offset
	for i := m.n - 1; i >= 0; i-- {
		dropped := m.dropped[(m.first+i)%MaxDroppedPictures]
		if id == dropped {
			return 0, ErrDropped
		}
		if id > dropped {
			break
		}
		offset--
	}
	return offset, nil
}

func (m *VP8Munger) remember(dropped int64) {
	if m.n == MaxDroppedPictures {
		m.s.Begin = m.dropped[m.first] + 1
		m.first = (m.first + 1) % MaxDroppedPictures
		m.n--
	}
	m.dropped[(m.first+m.n)%MaxDroppedPictures] = dropped
	m.n++
}

// State returns a copy of the munger's state. It allocates and is meant for
// hand-over, not for the packet path.
func (m *VP8Munger) State() VP8State {
	s := m.s
	s.Dropped = make([]int64, m.n)
	for i := range s.Dropped {
		s.Dropped[i] = m.dropped[(m.first+i)%MaxDroppedPictures]
	}
	return s
}

// Restore makes the munger go on where the one went on that gave s. Of more
// dropped pictures than MaxDroppedPictures the newest are kept.
func (m *VP8Munger) Restore(s VP8State) {
	dropped := s.Dropped
	s.Dropped = nil
	*m = VP8Munger{s: s}
	for _, id := range dropped {
		m.remember(id)
	}
}
