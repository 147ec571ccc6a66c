package codec

// structureStart is where the structure of a descriptor begins, if it has one:
// behind the mandatory fields and the flags (A.8.2), in bits.
const structureStart = 29

// flagBits are the places of the flags of extended_descriptor_fields, in bits.
const (
	structureFlag = 24
	activeFlag    = 25
)

// DescriptorLayout says where in a descriptor the mask of active decode targets
// is, or would be, and where the fields behind it begin.
type DescriptorLayout struct{ Mask, Rest uint16 }

// DescriptorChange is what one viewer's descriptor has different from the
// source's.
type DescriptorChange struct {
	FrameNumber uint16
	// SetActive writes Active as the mask of active decode targets.
	SetActive bool
	Active    uint32
	// Attach adds the structure when the packet does not bring it. Set Active with
	// it: a structure alone says that all targets are active.
	Attach bool
}

// AppendRewritten appends the descriptor b, which d was read from, to dst with
// some fields changed. It may be a few bytes longer than b, with Attach up to the
// size of the structure. It allocates only when dst is too small.
func (d *Descriptor) AppendRewritten(dst, b []byte, c DescriptorChange) []byte {
	start := len(dst)
	attach := c.Attach && !d.Attached && d.Structure.WireBits > 0
	if !attach && !c.SetActive {
		dst = append(dst, b...)
		dst[start+1], dst[start+2] = byte(c.FrameNumber>>8), byte(c.FrameNumber)
		return dst
	}
	w := bitAppender{buf: append(dst, b[0], byte(c.FrameNumber>>8), byte(c.FrameNumber))}
	flags := byte(0)
	if len(b) > 3 {
		flags = b[3] & 0xf8
	}
	if attach {
		flags |= 0x80 >> (structureFlag & 7)
	}
	if c.SetActive {
		flags |= 0x80 >> (activeFlag & 7)
	}
	w.bits(uint32(flags>>3), 5)
	s := d.Structure
	switch {
	case attach:
		w.copy(s.Wire[:], 0, int(s.WireBits))
	case d.Attached:
		w.copy(b, structureStart, int(d.Layout.Mask))
	}
	switch {
	case c.SetActive:
		w.bits(c.Active&allTargets(s.NumTargets), int(s.NumTargets))
	case d.ActiveAttached:
		w.copy(b, int(d.Layout.Mask), int(d.Layout.Rest))
	}
	if len(b) > 3 {
		w.copy(b, int(d.Layout.Rest), 8*len(b))
	}
	return w.buf
}

// keepWire keeps the bits from, to (exclusive) of a descriptor as the wire form
// of the structure.
func (s *Structure) keepWire(b []byte, from, to int) {
	if len(b) > maxDescriptor {
		return
	}
	w := bitAppender{buf: s.Wire[:0]}
	w.copy(b, from, to)
	s.WireBits = uint16(to - from) //nolint:gosec // bounded by maxDescriptor
}

// bitAppender appends bits to a byte slice.
type bitAppender struct {
	buf  []byte
	free int // bits not used in the last byte
}

// bits appends the n lowest bits of v, the highest of them first.
func (w *bitAppender) bits(v uint32, n int) {
	for n > 0 {
		if w.free == 0 {
			w.buf, w.free = append(w.buf, 0), 8
		}
		k := min(n, w.free)
		chunk := byte(v >> (n - k) & (1<<k - 1)) //nolint:gosec // at most 8 bits
		w.buf[len(w.buf)-1] |= chunk << (w.free - k)
		w.free -= k
		n -= k
	}
}

// copy appends the bits from, to (exclusive) of b.
func (w *bitAppender) copy(b []byte, from, to int) {
	r := bitReader{buf: b, pos: from}
	for from < to {
		n := min(to-from, 24)
		w.bits(r.bits(n), n)
		from += n
	}
}

// DescriptorState is what a DescriptorReader knows, as plain data that can be
// carried to another node.
type DescriptorState struct {
	// Structure is a descriptor that brings the structure in force; nil before
	// the first.
	Structure []byte
	// Active is the newest mask of active decode targets, from the frame number
	// Since on.
	Active uint32
	Since  uint16
}

// State returns what the reader knows. It allocates and is meant for hand-over,
// not for the packet path.
func (r *DescriptorReader) State() DescriptorState {
	s := r.current
	if s == nil || s.WireBits == 0 {
		return DescriptorState{}
	}
	d := Descriptor{Structure: s}
	none := [3]byte{s.ID}
	b := d.AppendRewritten(nil, none[:], DescriptorChange{FrameNumber: r.key, Attach: true})
	return DescriptorState{Structure: b, Active: r.active, Since: r.since}
}

// Restore makes the reader go on where the one that gave s stopped.
func (r *DescriptorReader) Restore(s DescriptorState) error {
	r.Reset()
	if s.Structure == nil {
		return nil
	}
	var d Descriptor
	if err := r.Read(s.Structure, &d); err != nil {
		return err
	}
	r.active, r.since = s.Active&allTargets(d.Structure.NumTargets), s.Since
	return nil
}
