package codec

// Limits of the dependency descriptor. The first four are the specification's;
// MaxFrameDiffs is ours: AV1 has at most 7 references, scalability modes in use
// have at most 4.
const (
	MaxDecodeTargets   = 32
	maxTemplates       = 64
	maxDescSpatialID   = 3
	maxDescTemporalID  = 7
	MaxFrameDiffs      = 16
	maxDescResolutions = maxDescSpatialID + 1
	maxDescriptor      = 255 // bytes, what a header extension holds
)

// DTI is a decode target indication: what a frame is to a decode target.
type DTI uint8

// The decode target indications (AV1 RTP specification, A.4).
const (
	// DTINotPresent: the frame does not belong to the decode target.
	DTINotPresent DTI = iota
	// DTIDiscardable: it belongs to it, and nothing of the target refers to it.
	DTIDiscardable
	// DTISwitch: a receiver may switch to the decode target at this frame.
	DTISwitch
	// DTIRequired: it belongs to it and others refer to it.
	DTIRequired
)

// Resolution is a picture size in pixels.
type Resolution struct{ Width, Height uint16 }

// FrameTemplate describes the place of a frame in its stream. It is comparable
// and holds no pointers.
type FrameTemplate struct {
	// Spatial and Temporal are the layer ids.
	Spatial, Temporal uint8
	// NumDiffs is the number of FrameDiffs in use, 0 for an intra frame.
	NumDiffs uint8
	// FrameDiffs are the distances in frame numbers to the referenced frames.
	FrameDiffs [MaxFrameDiffs]uint16
	// DTIs has an entry for each decode target of the structure.
	DTIs [MaxDecodeTargets]DTI
	// ChainDiffs has for each chain of the structure the distance in frame
	// numbers to the previous frame of that chain; 0: there is none.
	ChainDiffs [MaxDecodeTargets]uint8
}

// DecodeTarget is a set of layers that a receiver may ask for.
type DecodeTarget struct {
	// Spatial and Temporal are the highest layer ids in the target.
	Spatial, Temporal uint8
	// Chain is the chain that protects the target: as long as no frame of it
	// is lost, the target can be decoded. It is meaningless without chains.
	Chain uint8
}

// Structure is a template dependency structure: what a stream says once, at a
// key frame, about all of its frames. A Structure is not changed after the
// reader has returned it, so that it may be shared.
type Structure struct {
	// ID is the template id of the first template.
	ID uint8
	// NumTemplates, NumTargets and NumChains are the lengths in use below.
	NumTemplates, NumTargets, NumChains uint8
	// Templates are ordered by spatial, then temporal layer.
	Templates [maxTemplates]FrameTemplate
	// Targets are usually ordered from the best to the worst or the other way
	// round; go by the layer ids, not by the index.
	Targets [MaxDecodeTargets]DecodeTarget
	// HasResolutions says that Resolutions has an entry per spatial layer.
	HasResolutions bool
	Resolutions    [maxDescResolutions]Resolution
	// Within has for each decode target a bit for every target whose frames all
	// belong to it too, itself included: who receives the target can go on with
	// one of those at any time.
	Within [MaxDecodeTargets]uint32
	// Wire are the WireBits bits the structure was read from, so that it can be
	// attached to another packet; none when they do not fit a header extension.
	Wire     [maxDescriptor]byte
	WireBits uint16
}

// Resolution returns the size of a spatial layer, if the structure states it.
func (s *Structure) Resolution(spatial uint8) (Resolution, bool) {
	if s == nil || !s.HasResolutions || int(spatial) >= len(s.Resolutions) {
		return Resolution{}, false
	}
	r := s.Resolutions[spatial]
	return r, r.Width != 0
}

// MaxLayers returns the highest spatial and temporal layer ids of the structure.
func (s *Structure) MaxLayers() (spatial, temporal uint8) {
	for _, t := range s.Templates[:s.NumTemplates] {
		spatial, temporal = max(spatial, t.Spatial), max(temporal, t.Temporal)
	}
	return spatial, temporal
}

// Descriptor is the dependency descriptor of one packet (AV1 RTP specification,
// A.8). It is filled by DescriptorReader.Read and holds everything by value
// except Structure, which it shares.
type Descriptor struct {
	// First and Last say that the packet is the first and the last of its
	// frame.
	First, Last bool
	// FrameNumber counts frames of all layers.
	FrameNumber uint16
	// Attached says that the packet brought the structure with it.
	Attached bool
	// Structure is the structure in force.
	Structure *Structure
	// Active has a bit for each decode target that the sender produces now.
	Active uint32
	// ActiveAttached says that the packet brought Active with it.
	ActiveAttached bool
	// KeyPicture says that the frame needs nothing older than the key frame
	// of its own picture: the key frame itself and the upper spatial layers
	// predicted from it. A viewer may switch up to its spatial layer.
	KeyPicture bool
	// Frame is the place of this packet's frame in the stream.
	Frame FrameTemplate
	// Layout says where its fields are, for AppendRewritten.
	Layout DescriptorLayout
}

// KeyFrame reports whether the packet is the first one of a key frame.
func (d *Descriptor) KeyFrame() bool {
	return d.First && d.Attached && d.Frame.NumDiffs == 0
}

// HasSwitch reports whether the frame is a switch point of a decode target: who
// can decode the frame can decode that target from here on.
func (d *Descriptor) HasSwitch() bool {
	for _, t := range d.Frame.DTIs[:d.Structure.NumTargets] {
		if t == DTISwitch {
			return true
		}
	}
	return false
}

// Discardable reports whether no decode target needs the frame for another one.
func (d *Descriptor) Discardable() bool {
	for _, t := range d.Frame.DTIs[:d.Structure.NumTargets] {
		if t == DTISwitch || t == DTIRequired {
			return false
		}
	}
	return true
}

// DescriptorReader reads the dependency descriptors of one stream and keeps the
// structure that later packets refer to. The zero value is ready. It is not
// safe for concurrent use. It allocates only when the structure changes.
type DescriptorReader struct {
	current *Structure
	// key is the number of the frame that brought current.
	key uint16
	// active is the newest mask of decode targets, from frame number since.
	active uint32
	since  uint16
	// scratch is where the next structure is read into.
	scratch *Structure
}

// Structure returns the structure in force, or nil before the first.
func (r *DescriptorReader) Structure() *Structure { return r.current }

// Reset forgets the structure, for a stream that begins anew.
func (r *DescriptorReader) Reset() { *r = DescriptorReader{} }

// descriptorFlags are the five flags of extended_descriptor_fields.
type descriptorFlags struct {
	structure, active, dtis, diffs, chains bool
}

// Read reads the descriptor in b into d, overwriting all of it. ErrNoStructure
// says that the structure the packet refers to has not been seen.
func (r *DescriptorReader) Read(b []byte, d *Descriptor) error {
	*d = Descriptor{}
	if len(b) < 3 {
		return ErrTruncated
	}
	br := bitReader{buf: b}
	d.First, d.Last = br.bit(), br.bit()
	template := uint8(br.bits(6))
	d.FrameNumber = uint16(br.bits(16))
	var has descriptorFlags
	if len(b) > 3 {
		has = descriptorFlags{br.bit(), br.bit(), br.bit(), br.bit(), br.bit()}
	}
	s := r.current
	if has.structure {
		if r.scratch == nil {
			r.scratch = new(Structure)
		}
		s = r.scratch
		if err := s.read(&br); err != nil {
			return err
		}
		s.keepWire(b, structureStart, br.pos)
		d.Attached = true
		d.Active = allTargets(s.NumTargets)
	}
	if s == nil {
		return ErrNoStructure
	}
	d.Layout.Mask = uint16(br.pos)
	if has.active {
		d.ActiveAttached = true
		d.Active = br.bits(int(s.NumTargets))
	}
	d.Layout.Rest = uint16(br.pos)
	index := (template - s.ID) & (maxTemplates - 1)
	if index >= s.NumTemplates {
		return ErrNoStructure
	}
	d.Frame = s.Templates[index]
	if err := d.Frame.readCustom(&br, s, has); err != nil {
		return err
	}
	if br.failed {
		return ErrTruncated
	}
	r.commit(d, s)
	return nil
}

// commit takes over what a complete descriptor says about later packets. A
// packet that comes late does not bring an older structure or mask back.
func (r *DescriptorReader) commit(d *Descriptor, s *Structure) {
	fresh := r.current == nil
	if d.Attached {
		if !fresh && *r.current == *s {
			s = r.current
		} else {
			r.scratch = nil // it is shared from now on
		}
		if fresh || int16(d.FrameNumber-r.key) >= 0 {
			r.current, r.key = s, d.FrameNumber
		}
	}
	d.Structure = s
	d.KeyPicture = r.inKeyPicture(d)
	if d.Attached || d.ActiveAttached {
		if fresh || int16(d.FrameNumber-r.since) >= 0 {
			r.active, r.since = d.Active, d.FrameNumber
		}
		return
	}
	d.Active = r.active
}

// inKeyPicture reports whether all references of d lie between the newest key
// frame and d, and d follows the key frame as its spatial layer must.
func (r *DescriptorReader) inKeyPicture(d *Descriptor) bool {
	if d.Attached {
		return d.Frame.NumDiffs == 0
	}
	age := d.FrameNumber - r.key
	if d.Frame.Spatial == 0 || age > uint16(d.Frame.Spatial) {
		return false
	}
	for _, diff := range d.Frame.FrameDiffs[:d.Frame.NumDiffs] {
		if diff > age {
			return false
		}
	}
	return true
}

func allTargets(n uint8) uint32 { return uint32(uint64(1)<<n - 1) }

// read reads template_dependency_structure (A.8.2), overwriting all of s.
func (s *Structure) read(br *bitReader) error {
	*s = Structure{}
	s.ID = uint8(br.bits(6))
	s.NumTargets = uint8(br.bits(5)) + 1
	if err := s.readLayers(br); err != nil {
		return err
	}
	templates := s.Templates[:s.NumTemplates]
	for i := range templates {
		templates[i].readDTIs(br, s.NumTargets)
	}
	for i := range templates {
		if err := templates[i].readTemplateDiffs(br); err != nil {
			return err
		}
	}
	s.readChains(br)
	if hasResolutions := br.bit(); hasResolutions {
		s.HasResolutions = true
		for i := range int(templates[len(templates)-1].Spatial) + 1 {
			w, h := br.bits(16), br.bits(16)
			if w == 0xffff || h == 0xffff {
				return ErrInvalid
			}
			s.Resolutions[i] = Resolution{uint16(w + 1), uint16(h + 1)}
		}
	}
	if br.failed {
		return ErrTruncated
	}
	s.setTargetLayers()
	return nil
}

func (s *Structure) readLayers(br *bitReader) error {
	const (
		nextTemporal = 1
		nextSpatial  = 2
		noMore       = 3
	)
	var spatial, temporal uint8
	for {
		if s.NumTemplates == maxTemplates {
			return ErrInvalid
		}
		t := &s.Templates[s.NumTemplates]
		t.Spatial, t.Temporal = spatial, temporal
		s.NumTemplates++
		switch br.bits(2) {
		case nextTemporal:
			temporal++
		case nextSpatial:
			spatial++
			temporal = 0
		case noMore:
			return nil
		}
		if br.failed {
			return ErrTruncated
		}
		if spatial > maxDescSpatialID || temporal > maxDescTemporalID {
			return ErrInvalid
		}
	}
}

func (s *Structure) readChains(br *bitReader) {
	s.NumChains = uint8(br.nonSymmetric(uint32(s.NumTargets) + 1))
	if s.NumChains == 0 {
		return
	}
	for i := range s.Targets[:s.NumTargets] {
		s.Targets[i].Chain = uint8(br.nonSymmetric(uint32(s.NumChains)))
	}
	for i := range s.Templates[:s.NumTemplates] {
		for c := range int(s.NumChains) {
			s.Templates[i].ChainDiffs[c] = uint8(br.bits(4))
		}
	}
}

// setTargetLayers derives the layers of each decode target from the templates
// that are present in it (A.8.3).
func (s *Structure) setTargetLayers() {
	for i := range s.Targets[:s.NumTargets] {
		target := &s.Targets[i]
		for j := range s.Templates[:s.NumTemplates] {
			t := &s.Templates[j]
			if t.DTIs[i] != DTINotPresent {
				target.Spatial = max(target.Spatial, t.Spatial)
				target.Temporal = max(target.Temporal, t.Temporal)
			}
		}
	}
	s.setWithin()
}

// setWithin compares the decode targets with each other.
func (s *Structure) setWithin() {
	for i := range s.Targets[:s.NumTargets] {
		s.Within[i] = allTargets(s.NumTargets)
	}
	for j := range s.Templates[:s.NumTemplates] {
		dtis := &s.Templates[j].DTIs
		var present uint32
		for i := range int(s.NumTargets) {
			if dtis[i] != DTINotPresent {
				present |= 1 << i
			}
		}
		for i := range int(s.NumTargets) {
			if present&(1<<i) == 0 {
				s.Within[i] &^= present
			}
		}
	}
}

func (t *FrameTemplate) readDTIs(br *bitReader, targets uint8) {
	for i := range t.DTIs[:targets] {
		t.DTIs[i] = DTI(br.bits(2))
	}
}

func (t *FrameTemplate) readTemplateDiffs(br *bitReader) error {
	for br.bit() {
		if err := t.addDiff(uint16(br.bits(4)) + 1); err != nil {
			return err
		}
	}
	return nil
}

func (t *FrameTemplate) addDiff(diff uint16) error {
	if t.NumDiffs == MaxFrameDiffs {
		return ErrInvalid
	}
	t.FrameDiffs[t.NumDiffs] = diff
	t.NumDiffs++
	return nil
}

// readCustom reads what this frame has different from its template.
func (t *FrameTemplate) readCustom(br *bitReader, s *Structure, has descriptorFlags) error {
	if has.dtis {
		t.readDTIs(br, s.NumTargets)
	}
	if has.diffs {
		t.NumDiffs, t.FrameDiffs = 0, [MaxFrameDiffs]uint16{}
		for {
			size := br.bits(2)
			if size == 0 {
				break
			}
			if err := t.addDiff(uint16(br.bits(int(4*size))) + 1); err != nil {
				return err
			}
		}
	}
	if has.chains {
		for c := range int(s.NumChains) {
			t.ChainDiffs[c] = uint8(br.bits(8))
		}
	}
	return nil
}
