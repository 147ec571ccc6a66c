package sfu

import (
	"encoding/binary"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// inbound is one packet of a publisher as all its down tracks see it. It lives in
// its layer and is valid until the fan-out returns.
type inbound struct {
	at      time.Time
	seq     int64  // extended source sequence number
	source  uint32 // SSRC of the source
	epoch   uint32 // continuity of the source: another one needs a new start
	ts      uint32
	spatial int8
	marker  bool
	// newest is set when no later packet of the layer has been seen.
	newest bool
	// bare is set for an Opus packet without RED on a track with RED: browsers
	// send those when redundancy would not fit.
	bare    bool
	frame   layer.Frame
	vp8     *codec.VP8 // set for VP8 that could be read
	exts    extensions
	payload []byte
	size    int // of the whole packet
}

// extensions are the header extensions of a packet that viewers get as they are.
type extensions struct {
	absCapture, descriptor, orientation, playoutDelay, audioLevel []byte
}

// Push takes a media packet of a simulcast layer (0 is the lowest) and forwards it
// to all viewers before it returns; p and its bytes are not used afterwards.
// Packets of one layer are serialised; layers run beside each other.
func (r *Receiver) Push(spatial int, p *rtp.Packet, at time.Time) {
	l := r.layer(spatial)
	if l == nil || r.closed.Load() {
		return
	}
	revived := r.setAlive(l.index)
	if revived {
		r.layersChanged()
	}
	l.push.Lock()
	defer l.push.Unlock()
	r.forward(l, p, at, false)
}

// PushRTX takes a retransmission (RFC 4588): the original packet is restored and
// handled as by Push. A layer of which no media has come yet ignores it.
func (r *Receiver) PushRTX(spatial int, p *rtp.Packet, at time.Time) {
	l := r.layer(spatial)
	if l == nil || r.closed.Load() || len(p.Payload) < 2 {
		return // less than a sequence number: a probe
	}
	ssrc, ok := l.mediaSSRC()
	if !ok {
		return
	}
	l.push.Lock()
	defer l.push.Unlock()
	var original rtp.Packet
	l.restored = restoreRTX(l.restored[:0], p, ssrc, r.params.Codec.PayloadType)
	if original.Unmarshal(l.restored) == nil {
		r.forward(l, &original, at, true)
	}
}

// restoreRTX appends the original of a retransmission to dst: the header with its
// extensions, the payload without the original sequence number, no padding.
func restoreRTX(dst []byte, p *rtp.Packet, ssrc uint32, payloadType uint8) []byte {
	header := len(p.Raw) - len(p.Payload) - int(p.PaddingSize)
	dst = append(dst, p.Raw[:header]...)
	dst[0] &^= 0x20
	dst[1] = dst[1]&0x80 | payloadType&0x7f
	copy(dst[2:4], p.Payload[:2])
	binary.BigEndian.PutUint32(dst[8:], ssrc)
	return append(dst, p.Payload[2:]...)
}

// forward is the packet path: into the books, parsed once, to every viewer.
func (r *Receiver) forward(l *upLayer, p *rtp.Packet, at time.Time, restored bool) {
	if !l.accept(p, at, restored) {
		return
	}
	in := &l.in
	if r.params.Kind == Audio {
		r.readAudio(p, in)
	} else {
		r.readVideo(l, p, in)
	}
	list := r.list.Load()
	for _, d := range list.byForm[formSame] {
		d.forward(in)
	}
	if len(list.byForm[formPlain]) > 0 {
		l.forwardPlain(in, list.byForm[formPlain])
	}
	if len(list.byForm[formRED]) > 0 {
		l.forwardRED(in, list.byForm[formRED])
	}
}

// readAudio fills in what viewers of audio need. Every packet is a beginning.
func (r *Receiver) readAudio(p *rtp.Packet, in *inbound) {
	in.frame = layer.Frame{Start: true, Opaque: true}
	in.bare = r.bare(p.PayloadType)
	in.exts = extensions{
		absCapture: p.Extension(r.params.Extensions.AbsCaptureTime),
		audioLevel: p.Extension(r.params.Extensions.AudioLevel),
	}
	if level, voice, ok := rtp.ParseAudioLevel(in.exts.audioLevel); ok && in.newest {
		r.level.observe(level, voice, in.at)
	}
}

// bare reports whether a packet with that payload type is Opus without RED on a
// track with RED.
func (r *Receiver) bare(payloadType uint8) bool {
	c := &r.params.Codec
	return r.kind == codec.KindRED && payloadType == c.REDPrimaryPayloadType && payloadType != c.PayloadType
}

// readVideo reads the payload once for all viewers.
func (r *Receiver) readVideo(l *upLayer, p *rtp.Packet, in *inbound) {
	ids := &r.params.Extensions
	in.exts = extensions{
		absCapture:   p.Extension(ids.AbsCaptureTime),
		descriptor:   p.Extension(ids.DependencyDescriptor),
		orientation:  p.Extension(ids.VideoOrientation),
		playoutDelay: p.Extension(ids.PlayoutDelay),
	}
	if len(in.payload) == 0 {
		return
	}
	started := in.newest && (l.lastEnd || in.ts != l.lastTS)
	err := l.inspector.Inspect(in.payload, in.exts.descriptor, in.marker, &l.frame)
	f := &l.frame
	in.frame = layer.Frame{
		Spatial: l.index, KeyFrame: f.KeyFrame, Start: f.StartOfFrame, Sync: f.LayerSync,
		Unit: l.readUnit(in, err != nil || f.PayloadErr != nil),
	}
	switch {
	case err != nil: // encrypted end to end, or a codec we do not know
		in.frame.Opaque, in.frame.Start = true, started
	case l.kind == codec.KindVP8 && f.PayloadErr == nil:
		in.vp8 = &f.VP8
		in.frame.Temporal = int8(min(f.Temporal, uint8(layer.MaxTemporal))) //nolint:gosec // bounded
	}
	l.noteFrame(in, started, err != nil)
	if in.frame.KeyFrame {
		r.keyFrames.arrived(l.index)
	}
}

// noteFrame keeps the picture statistics of a layer.
func (l *upLayer) noteFrame(in *inbound, started, opaque bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rates.count(in, &l.frame)
	if !in.newest {
		return
	}
	l.lastTS, l.lastEnd = in.ts, in.marker
	if started {
		l.stats.frames.Add(1, in.at)
	}
	if opaque {
		l.stats.opaque++
	}
	if in.frame.KeyFrame && in.frame.Start {
		l.stats.keyFrames++
	}
	if width, height := l.rates.noteSizes(&l.frame); width > 0 {
		l.stats.width, l.stats.height = width, height
	}
	l.stats.temporal = max(l.stats.temporal, l.frame.Temporal)
}

// forward decides what one viewer gets of a packet, and sends it.
func (d *DownTrack) forward(in *inbound) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if !in.newest {
		d.forwardLate(in)
		return
	}
	if in.spatial == d.sel.Current().Spatial && d.sourceChanged(in) {
		d.sel.Lose()
	}
	if len(in.payload) == 0 {
		if in.spatial == d.sel.Current().Spatial {
			d.sn.Drop(in.source, in.seq, in.ts)
			d.noteTime(in.at)
		}
		return
	}
	f := in.frame
	f.Continues = in.ts == d.sourceTS && in.source == d.source
	switch d.sel.Select(f) {
	case layer.Switch:
		d.join(in)
		d.send(in)
	case layer.Forward:
		d.send(in)
	case layer.Drop:
		d.drop(in)
	}
	d.publishWant()
}

// sourceChanged reports whether the viewer's layer is now another stream than the
// one it was joined to.
func (d *DownTrack) sourceChanged(in *inbound) bool {
	return in.source != d.source || in.epoch != d.epoch
}

// join makes a packet the next of the viewer's stream: its layer's numbering
// continues the one before.
func (d *DownTrack) join(in *inbound) {
	outTS := in.ts
	if d.begun {
		outTS = d.switchTimestamp(in)
	}
	d.sn.Switch(in.source, in.seq, in.ts, outTS)
	if in.vp8 != nil {
		d.vp8.Switch(in.vp8)
	}
	d.joinDescriptors(in)
	d.left = leftOut{}
	d.source, d.epoch = in.source, in.epoch
	d.joined++
	sn, _ := d.sn.Last()
	d.joinSN = sn + 1
	d.begun = true
}

// switchTimestamp places the first packet of another layer in the viewer's time.
func (d *DownTrack) switchTimestamp(in *inbound) uint32 {
	_, last := d.sn.Last()
	s := rtp.Switch{
		ClockRate: d.params.Codec.ClockRate,
		LastTS:    last, LastAt: d.lastAt, TS: in.ts, At: in.at,
	}
	if offset, ok := d.sn.TSOffset(); ok {
		s.FromOffset = offset
		s.SameClock = d.source == in.source && d.epoch == in.epoch
		if r := d.receiver.Load(); r != nil && !s.SameClock {
			s.From, s.To = r.clockOf(d.source), r.clockOf(in.source)
		}
	}
	return rtp.SwitchTimestamp(s)
}

// clockOf returns the clock of the layer that sends with that SSRC.
func (r *Receiver) clockOf(source uint32) rtp.ClockMap {
	for _, l := range r.layers {
		if l == nil {
			continue
		}
		if c := l.clockMap(source); c.Known() {
			return c
		}
	}
	return rtp.ClockMap{}
}

// send rewrites a packet that is in order for the viewer and writes it.
func (d *DownTrack) send(in *inbound) {
	descriptor, payload, ok := d.rewritePayload(in)
	if !ok {
		d.leaveOut(in)
		return
	}
	sn, ts, ok := d.sn.Map(in.source, in.seq, in.ts)
	if !ok { // the numbering does not know the source: begin again
		d.sel.Lose()
		return
	}
	d.noteTime(in.at)
	d.sourceTS = in.ts
	d.write(in, sn, ts, descriptor, payload)
}

// rewritePayload returns what the payload is for this viewer, and the length of
// the VP8 descriptor at its start that is the viewer's own. ok is false when the
// packet belongs to a picture the viewer does not get.
func (d *DownTrack) rewritePayload(in *inbound) (descriptor int, payload []byte, ok bool) {
	if in.vp8 == nil {
		return 0, in.payload, true
	}
	n, err := d.vp8.Munge(d.descriptor[:], in.vp8)
	if err != nil {
		if err == codec.ErrTooLate && in.newest { // the source restarted its pictures
			d.sel.Lose()
		}
		return 0, nil, false
	}
	if n == in.vp8.HeaderLen && string(d.descriptor[:n]) == string(in.payload[:n]) {
		return n, in.payload, true // nothing changed: share the publisher's bytes
	}
	d.payload = append(d.payload[:0], d.descriptor[:n]...)
	d.payload = append(d.payload, in.payload[in.vp8.HeaderLen:]...)
	return n, d.payload, true
}

// drop keeps a packet of a picture that is not for this viewer from it. The
// picture decides, not the packet: what has been begun is finished.
func (d *DownTrack) drop(in *inbound) {
	if in.spatial != d.sel.Current().Spatial {
		return
	}
	if in.vp8 != nil && !d.vp8.Drop(in.vp8) {
		d.send(in)
		return
	}
	d.leaveOut(in)
}

// leaveOut closes the viewer's numbering over a packet it does not get.
func (d *DownTrack) leaveOut(in *inbound) {
	d.leaveOutMissing(in)
	d.sn.Drop(in.source, in.seq, in.ts)
	d.noteTime(in.at)
	d.stats.left++
}

// noteTime remembers when the newest timestamp was reached.
func (d *DownTrack) noteTime(at time.Time) {
	if _, ts := d.sn.Last(); ts != d.lastTS || d.lastAt.IsZero() {
		d.lastTS, d.lastAt = ts, at
	}
}

// forwardLate places a packet that comes after later ones. It goes where room was
// left for it, also when the viewer has changed layer or paused since, or nowhere.
func (d *DownTrack) forwardLate(in *inbound) {
	sn, ts, ok := d.sn.Late(in.source, in.seq, in.ts)
	if !ok {
		return
	}
	// Pictures of a former layer are no longer told apart.
	former := in.source != d.source && (in.vp8 != nil || len(in.exts.descriptor) > 0)
	if len(in.payload) > 0 && !former && (in.source != d.source || d.sel.Late(in.frame)) {
		if descriptor, payload, ok := d.rewritePayload(in); ok {
			d.write(in, sn, ts, descriptor, payload)
			return
		}
	}
	d.writePadding(sn, ts, in.at) // the number is filled, so that nobody waits for it
}

// write sends a packet under its final number and remembers it for NACKs.
func (d *DownTrack) write(in *inbound, sn int64, ts uint32, descriptor int, payload []byte) {
	if !d.used.Accept(sn) {
		d.stats.refused++
		return
	}
	h := rtp.Header{
		PayloadType: d.payloadType(in.bare), Marker: in.marker || d.sel.EndsPicture(in.frame),
		SequenceNumber: uint16(sn), Timestamp: ts, SSRC: d.params.SSRC, //nolint:gosec // wire form
	}
	abs := d.absSendTime(in.at)
	dd, changed := d.rewriteDescriptor(in, sn)
	d.header = d.appendHeader(d.header[:0], h, &in.exts, dd, &abs)
	if in.newest {
		d.noteFrameNumber(in)
	}
	if d.sent != nil {
		e := d.sent.add(sn)
		*e = sentPacket{sn: sn, source: in.source, seq: in.seq, spatial: in.spatial, ts: ts, abs: abs, marker: h.Marker, changed: changed}
		e.descriptorSize = uint8(copy(e.descriptor[:], d.descriptor[:descriptor])) //nolint:gosec // at most 6
	}
	_, err := d.params.Writer.WriteRTP(d.header, payload)
	d.stats.count(len(d.header)+len(payload), len(payload), in.at, err)
	if err != nil && in.frame.KeyFrame { // not connected yet, or full: another key frame is needed
		d.sel.Lose()
	}
}

// payloadType returns the viewer's payload type; bare is for Opus that came bare
// on a track with RED.
func (d *DownTrack) payloadType(bare bool) uint8 {
	if bare && d.kind == codec.KindRED {
		return d.params.Codec.REDPrimaryPayloadType
	}
	return d.params.Codec.PayloadType
}

// writePadding sends a packet without media.
func (d *DownTrack) writePadding(sn int64, ts uint32, at time.Time) {
	if !d.used.Accept(sn) {
		return
	}
	h := rtp.Header{
		PayloadType: d.params.Codec.PayloadType, Padding: true,
		SequenceNumber: uint16(sn), Timestamp: ts, SSRC: d.params.SSRC, //nolint:gosec // wire form
	}
	abs := d.absSendTime(at)
	d.header = d.appendHeader(d.header[:0], h, &extensions{}, nil, &abs)
	_, err := d.params.Writer.WriteRTP(d.header, d.padding[:])
	d.stats.count(len(d.header)+len(d.padding), 0, at, err)
}

// appendHeader builds the viewer's header: its own identifiers, the publisher's
// values.
func (d *DownTrack) appendHeader(dst []byte, h rtp.Header, x *extensions, descriptor []byte, abs *[3]byte) []byte {
	ids := &d.params.Extensions
	var sendTime []byte
	if ids.AbsSendTime != 0 {
		sendTime = abs[:]
	}
	return rtp.AppendHeader(dst, h,
		rtp.Extension{ID: ids.AbsSendTime, Data: sendTime},
		rtp.Extension{ID: ids.AbsCaptureTime, Data: x.absCapture},
		rtp.Extension{ID: ids.VideoOrientation, Data: x.orientation},
		rtp.Extension{ID: ids.PlayoutDelay, Data: x.playoutDelay},
		rtp.Extension{ID: ids.AudioLevel, Data: x.audioLevel},
		rtp.Extension{ID: ids.DependencyDescriptor, Data: descriptor},
	)
}

func (d *DownTrack) absSendTime(at time.Time) (abs [3]byte) {
	if d.params.Extensions.AbsSendTime != 0 {
		abs = rtp.AbsSendTime(at)
	}
	return abs
}
