package sfu

import (
	"encoding/binary"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/layer"
)

// descriptorSize is the size of the mandatory fields of a dependency descriptor:
// flags and template in one byte, then the frame number (AV1 RTP specification,
// appendix A.8.1).
const descriptorSize = 3

func frameNumber(dd []byte) uint16 { return binary.BigEndian.Uint16(dd[1:]) }

// readUnit places a packet among the layers inside its stream, by the dependency
// descriptor or, for VP9 without one, by the payload descriptor. nil when neither
// tells anything.
func (l *upLayer) readUnit(in *inbound, unreadable bool) *layer.Unit {
	f, dd := &l.frame, in.exts.descriptor
	switch {
	case len(dd) >= descriptorSize:
		l.unit = layer.Unit{
			Number: frameNumber(dd), Numbered: true, Described: true,
			First: dd[0]&0x80 != 0, Last: dd[0]&0x40 != 0,
			Spatial: int8(f.Spatial), Temporal: int8(f.Temporal), //nolint:gosec // at most 7
		}
		if f.HasDescriptor {
			l.unit.Layered, l.unit.Descriptor = true, &f.Descriptor
			return &l.unit
		}
		// OBUs tell their layers where they begin.
		l.unit.Layered = !unreadable && (l.kind == codec.KindVP9 || l.kind == codec.KindAV1 && f.StartOfFrame)
	case l.kind == codec.KindVP9 && !unreadable && f.VP9.HasLayer:
		v := &f.VP9
		l.spatials = max(l.spatials, int8(v.SID)+1) //nolint:gosec // at most 8
		if v.HasStructure {
			l.spatials = int8(v.SpatialLayers) //nolint:gosec // at most 8
		}
		l.unit = layer.Unit{
			// Pictures count up to 2^15, which is a multiple of what is left of
			// them here, so numbers go on over the end.
			Number: v.PictureID<<3 | uint16(v.SID), Numbered: v.HasPictureID && v.LongPictureID,
			First: v.Begin, Last: v.End, Spatial: int8(v.SID), Temporal: int8(v.TID), Layered: true, //nolint:gosec // at most 7
			SpatialSync: f.SpatialSync, InterLayer: v.InterLayer, Spatials: l.spatials,
		}
	default:
		return nil
	}
	return &l.unit
}

// viewerDescriptors is what a viewer's dependency descriptors have of their own.
type viewerDescriptors struct {
	offset uint16 // taken off frame numbers
	last   uint16 // newest number sent
	// announced are the active decode targets the viewer has been told of, those of
	// structure; attach is set while it must be told the structure.
	announced uint32
	structure *codec.Structure
	attach    bool
	// changed are the latest descriptors with more than another number, to be sent
	// again as they were.
	changed [changedDescriptors]changedDescriptor
	next    int
	buf     []byte
}

// changedDescriptors is how many changed descriptors are remembered: there is one
// at a key frame and one when the viewer moves to other layers.
const changedDescriptors = 8

type changedDescriptor struct {
	sn int64 // 0 = none
	b  []byte
}

// joinDescriptors makes frame numbers go on over changes of the source: receivers
// refuse a structure older than the one they have. References in the descriptor
// are relative and stay right.
func (d *DownTrack) joinDescriptors(in *inbound) {
	if len(in.exts.descriptor) < descriptorSize {
		return
	}
	v := &d.descriptors
	v.offset = frameNumber(in.exts.descriptor) - v.last - 1
	if !d.begun {
		v.offset = 0
	}
	u := in.frame.Unit
	v.attach = u != nil && u.Descriptor != nil && !u.Descriptor.Attached
	v.structure, v.announced = nil, 0
}

// rewriteDescriptor returns the descriptor for this viewer: frame numbers without
// a jump, and only those decode targets active that are left to the viewer.
// changed says that more than the number has changed.
func (d *DownTrack) rewriteDescriptor(in *inbound, sn int64) (b []byte, changed bool) {
	dd := in.exts.descriptor
	if len(dd) < descriptorSize || d.params.Extensions.DependencyDescriptor == 0 {
		return dd, false
	}
	v := &d.descriptors
	u := in.frame.Unit
	if u == nil || u.Descriptor == nil {
		return v.renumber(dd), false
	}
	c, changed := v.changeFor(u.Descriptor, d.sel.ActiveTargets(u.Descriptor), in.newest)
	if !changed {
		return v.renumber(dd), false
	}
	v.buf = u.Descriptor.AppendRewritten(v.buf[:0], dd, c)
	if d.sent != nil {
		e := &v.changed[v.next]
		v.next = (v.next + 1) % changedDescriptors
		e.sn, e.b = sn, append(e.b[:0], v.buf...)
	}
	return v.buf, true
}

// changeFor returns what a descriptor must say otherwise to this viewer, but for
// its number.
func (v *viewerDescriptors) changeFor(d *codec.Descriptor, active uint32, newest bool) (c codec.DescriptorChange, changes bool) {
	c = codec.DescriptorChange{FrameNumber: d.FrameNumber - v.offset, Active: active, Attach: v.attach && d.First && newest}
	if d.Attached || d.ActiveAttached || c.Attach {
		c.SetActive = active != d.Active || c.Attach
	}
	if newest {
		if d.Attached || c.Attach || v.structure == nil {
			// A viewer that begins or gets a structure takes all targets for active.
			v.structure, v.announced = d.Structure, d.Active
		}
		if d.First && active != v.announced {
			c.SetActive = true
		}
		if (c.SetActive || d.ActiveAttached) && !d.Discardable() {
			v.announced = active // else it is said again: the frame may be skipped
		}
		v.attach = v.attach && !c.Attach
	}
	return c, c.SetActive || c.Attach
}

// renumber returns the descriptor with the viewer's number.
func (v *viewerDescriptors) renumber(dd []byte) []byte {
	if v.offset == 0 {
		return dd
	}
	v.buf = append(v.buf[:0], dd...)
	binary.BigEndian.PutUint16(v.buf[1:], frameNumber(dd)-v.offset)
	return v.buf
}

// leaveOutMissing closes the viewer's numbering also over packets that are missing
// between those of frames left out, which they must belong to.
func (d *DownTrack) leaveOutMissing(in *inbound) {
	u := in.frame.Unit
	if u == nil || !u.Numbered {
		return
	}
	if l := &d.left; l.known && u.Number-l.frame <= 1 && in.seq-l.seq < maxMisorder {
		d.sn.Skip(in.source, in.seq)
	}
	d.left = leftOut{known: true, frame: u.Number, seq: in.seq}
}

// leftOut is the last packet that was left out of the present source.
type leftOut struct {
	known bool
	frame uint16
	seq   int64
}

// resent returns the descriptor of a packet as it was sent; ok is false when that
// is not known any more.
func (v *viewerDescriptors) resent(e *sentPacket, dd []byte) (b []byte, ok bool) {
	if len(dd) < descriptorSize {
		return dd, true
	}
	if !e.changed {
		return v.renumber(dd), true
	}
	for i := range v.changed {
		if v.changed[i].sn == e.sn {
			return v.changed[i].b, true
		}
	}
	return nil, false
}

func (d *DownTrack) noteFrameNumber(in *inbound) {
	if len(in.exts.descriptor) >= descriptorSize {
		d.descriptors.last = frameNumber(in.exts.descriptor) - d.descriptors.offset
	}
}
