// Package codec looks inside RTP payloads without decoding them: it says which
// packets start a key frame, to which layer they belong and where a viewer may
// switch, and it rewrites the few payload bits that must stay continuous for
// one viewer (the VP8 descriptor) or that change the packing (RED).
//
// It owns the payload formats of Opus, RED, VP8, VP9, AV1, H.264 and H.265 and
// the AV1 dependency descriptor. It does not own the RTP header or its
// extension list (package rtp), nor which layer a viewer gets (package layer).
//
// The package is pure: bytes in, values out. Nothing here allocates per packet,
// and nothing here trusts a length that came off the wire.
//
// Start reading at Inspector.Inspect, then VP8Munger.Munge.
package codec

import "errors"

// Errors of the parsers. They are sentinels without context so that the packet
// path never allocates one.
var (
	// ErrTruncated says that the payload ended inside a field.
	ErrTruncated = errors.New("codec: payload truncated")
	// ErrInvalid says that a field has a value its specification forbids.
	ErrInvalid = errors.New("codec: payload invalid")
	// ErrUnsupported says that the codec or packing is known but not inspected.
	ErrUnsupported = errors.New("codec: payload format not supported")
	// ErrNoStructure says that a dependency descriptor refers to a structure
	// that has not been seen, usually because its key frame was lost.
	ErrNoStructure = errors.New("codec: dependency structure not seen")
	// ErrShortBuffer says that the caller's buffer cannot hold the result.
	ErrShortBuffer = errors.New("codec: buffer too short")
)

// Frame is what one packet tells about the frame it belongs to. Fields that the
// payload does not reveal are zero.
type Frame struct {
	// KeyFrame is set on packets with which a decoder can begin: the first
	// packet of a VP8, VP9 or AV1 key frame, and every H.264 or H.265 packet
	// that holds a parameter set or the start of a random access slice. It is
	// always set for audio.
	KeyFrame bool
	// StartOfFrame is set on the first packet of a layer frame. For H.264,
	// H.265 and AV1 without dependency descriptor it is a best guess from the
	// payload and may be set again on a later packet of the same frame.
	StartOfFrame bool
	// EndOfFrame is set on the last packet of a layer frame. With spatial
	// layers in one stream a picture has several of them; the RTP marker ends
	// the picture.
	EndOfFrame bool
	// LayerSync is set at the start of a frame with which a viewer may begin
	// to take more temporal layers: with a dependency descriptor up to those
	// of the decode targets with DTISwitch, without up to the frame's own.
	LayerSync bool
	// SpatialSync is set at the start of a frame with which a viewer of the
	// next lower spatial layer may begin to take the frame's spatial layer. A
	// key frame sets it too.
	SpatialSync bool
	// Discardable says that no other frame refers to this one.
	Discardable bool
	// DTX says that an audio packet carries silence only.
	DTX bool
	// Spatial and Temporal are the layer ids inside this stream, from 0.
	// Simulcast layers are separate streams and do not show here.
	Spatial, Temporal uint8
	// Width and Height are the picture size in pixels, on packets that state
	// it (usually the first one of a key frame), else 0. With spatial layers
	// it is the size of this packet's layer when that is stated.
	Width, Height uint16

	// VP8 is the payload descriptor, set when the stream is VP8.
	VP8 VP8
	// VP9 is the payload descriptor, set when the stream is VP9.
	VP9 VP9
	// Descriptor is the dependency descriptor, set when HasDescriptor is.
	Descriptor Descriptor
	// HasDescriptor says that the packet had a readable dependency descriptor.
	HasDescriptor bool
	// DescriptorErr says why a dependency descriptor that was present could
	// not be used. The rest of the frame then comes from the payload alone.
	DescriptorErr error
	// PayloadErr says why the payload could not be read, usually because it is
	// encrypted end to end. The frame then comes from the descriptor alone.
	PayloadErr error
}

// Inspector inspects the packets of one stream, that is of one SSRC. It keeps
// only the dependency structure announced by that stream. The zero value
// refuses every payload; use NewInspector. It is not safe for concurrent use.
type Inspector struct {
	kind   Kind
	reader DescriptorReader
}

// NewInspector returns an inspector for one stream of the given codec.
func NewInspector(kind Kind) Inspector { return Inspector{kind: kind} }

// Kind returns the codec the inspector was made for.
func (in *Inspector) Kind() Kind { return in.kind }

// Structure returns the dependency structure in force, or nil before the first.
func (in *Inspector) Structure() *Structure { return in.reader.Structure() }

// Inspect fills f from one packet: payload without RTP padding, dd the bytes of
// the dependency descriptor extension or nil, marker the RTP marker bit. All of
// f is overwritten. A damaged dependency descriptor is reported in
// f.DescriptorErr and does not fail the call. A payload that cannot be read
// fails it, unless the descriptor can: the error is then in f.PayloadErr.
// Packets may come in any order, but the dependency structure must have been
// seen before the packets that use it.
func (in *Inspector) Inspect(payload, dd []byte, marker bool, f *Frame) error {
	*f = Frame{}
	err := in.inspectPayload(payload, marker, f)
	if len(dd) == 0 || len(payload) == 0 || in.kind.IsAudio() {
		return err
	}
	if f.DescriptorErr = in.reader.Read(dd, &f.Descriptor); f.DescriptorErr != nil {
		return err
	}
	if err != nil {
		f.clearPayload()
		f.PayloadErr = err
	}
	f.HasDescriptor = true
	f.applyDescriptor()
	return nil
}

// Descriptors returns what the inspector knows of the stream's dependency
// descriptors, to be carried to another node.
func (in *Inspector) Descriptors() DescriptorState { return in.reader.State() }

// RestoreDescriptors makes a fresh inspector go on with descriptors where the one
// that gave s stopped.
func (in *Inspector) RestoreDescriptors(s DescriptorState) error { return in.reader.Restore(s) }

// clearPayload forgets what a payload that turned out unreadable seemed to say.
func (f *Frame) clearPayload() {
	f.DTX, f.Width, f.Height = false, 0, 0
	f.VP8, f.VP9 = VP8{}, VP9{}
}

func (in *Inspector) inspectPayload(payload []byte, marker bool, f *Frame) error {
	switch in.kind {
	case KindVP8:
		return inspectVP8(payload, marker, f)
	case KindVP9:
		return inspectVP9(payload, f)
	case KindAV1:
		return inspectAV1(payload, marker, f)
	case KindH264:
		return inspectH264(payload, marker, f)
	case KindH265:
		return inspectH265(payload, marker, f)
	case KindOpus:
		return inspectOpus(payload, f)
	case KindRED:
		primary, _, err := REDPrimary(payload)
		if err != nil {
			return err
		}
		return inspectOpus(primary, f)
	default:
		return ErrUnsupported
	}
}

// applyDescriptor lets the dependency descriptor overrule the payload: it is
// complete and, unlike the payload, never encrypted end to end.
func (f *Frame) applyDescriptor() {
	d := &f.Descriptor
	f.StartOfFrame, f.EndOfFrame = d.First, d.Last
	f.Spatial, f.Temporal = d.Frame.Spatial, d.Frame.Temporal
	f.KeyFrame = d.KeyFrame()
	f.LayerSync = d.First && d.HasSwitch()
	f.SpatialSync = d.First && d.KeyPicture
	f.Discardable = d.Discardable()
	if r, ok := d.Structure.Resolution(f.Spatial); ok && d.Attached {
		f.Width, f.Height = r.Width, r.Height
	}
}
