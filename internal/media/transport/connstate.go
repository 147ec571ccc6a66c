package transport

import (
	"encoding/binary"
	"fmt"
	"log/slog"
)

// ConnState is everything a connection is: what [Conn.Export] returns and
// [Conn.Resume] needs. It contains keys.
type ConnState struct {
	LocalUfrag, LocalPwd   string
	RemoteUfrag, RemotePwd string
	// Fingerprints are those of the client's certificate.
	Fingerprints []Fingerprint
	// DTLS is a marshalled dtls.State: epochs, record numbers, master secret.
	DTLS []byte
	// Profile is the SRTP protection profile (RFC 5764 section 4.1.2).
	Profile uint16
	// Out and In are the highest 48-bit SRTP index (rollover counter and
	// sequence number) of every SSRC sent and received.
	Out, In []StreamIndex
	// OutRTCP and InRTCP are the last 31-bit SRTCP indexes.
	OutRTCP, InRTCP []StreamIndex
	// Channels are the data channels with their ids, as negotiated ones.
	Channels []ChannelSpec
}

// StreamIndex is the last index used by an SSRC.
type StreamIndex struct {
	SSRC  uint32
	Index uint64
}

// String tells nothing secret.
func (s ConnState) String() string {
	return fmt.Sprintf("ConnState(%s, %d SSRCs out, %d in, %d channels)", s.LocalUfrag, len(s.Out), len(s.In), len(s.Channels))
}

// GoString tells nothing secret.
func (s ConnState) GoString() string { return s.String() }

// LogValue tells nothing secret.
func (s ConnState) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Wipe overwrites the key material.
func (s *ConnState) Wipe() {
	clear(s.DTLS)
	*s = ConnState{}
}

const (
	stateVersion = 1
	// maxStateItems bounds each list of a state read from outside.
	maxStateItems = 1 << 16
)

// MarshalBinary writes the state with its version.
func (s ConnState) MarshalBinary() ([]byte, error) {
	b := []byte{stateVersion}
	str := func(v string) { b = append(binary.AppendUvarint(b, uint64(len(v))), v...) }
	str(s.LocalUfrag)
	str(s.LocalPwd)
	str(s.RemoteUfrag)
	str(s.RemotePwd)
	b = binary.AppendUvarint(b, uint64(len(s.Fingerprints)))
	for _, f := range s.Fingerprints {
		str(f.Algorithm)
		str(f.Value)
	}
	str(string(s.DTLS))
	b = binary.BigEndian.AppendUint16(b, s.Profile)
	for _, list := range [][]StreamIndex{s.Out, s.In, s.OutRTCP, s.InRTCP} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, x := range list {
			b = binary.BigEndian.AppendUint32(b, x.SSRC)
			b = binary.AppendUvarint(b, x.Index)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.Channels)))
	for _, c := range s.Channels {
		str(c.Label)
		str(c.Protocol)
		b = binary.BigEndian.AppendUint16(b, c.ID)
		b = append(b, channelFlags(c))
		for _, limit := range []*uint16{c.MaxRetransmits, c.MaxLifetime} {
			if limit != nil {
				b = binary.BigEndian.AppendUint16(b, *limit)
			}
		}
	}
	return b, nil
}

const (
	flagNegotiated = 1 << iota
	flagUnordered
	flagRetransmits
	flagLifetime
)

func channelFlags(c ChannelSpec) byte {
	var f byte
	for _, x := range []struct {
		set bool
		bit byte
	}{
		{c.Negotiated, flagNegotiated},
		{c.Unordered, flagUnordered},
		{c.MaxRetransmits != nil, flagRetransmits},
		{c.MaxLifetime != nil, flagLifetime},
	} {
		if x.set {
			f |= x.bit
		}
	}
	return f
}

// UnmarshalBinary reads what MarshalBinary wrote. Errors: ErrStateVersion,
// ErrMalformed.
func (s *ConnState) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty connection state", ErrMalformed)
	}
	if b[0] != stateVersion {
		return fmt.Errorf("%w: %d", ErrStateVersion, b[0])
	}
	r := stateReader{b: b[1:]}
	out := ConnState{LocalUfrag: r.str(), LocalPwd: r.str(), RemoteUfrag: r.str(), RemotePwd: r.str()}
	for range r.count(2) {
		out.Fingerprints = append(out.Fingerprints, Fingerprint{Algorithm: r.str(), Value: r.str()})
	}
	out.DTLS = []byte(r.str())
	out.Profile = r.uint16()
	for _, list := range []*[]StreamIndex{&out.Out, &out.In, &out.OutRTCP, &out.InRTCP} {
		for range r.count(5) {
			*list = append(*list, StreamIndex{SSRC: r.uint32(), Index: r.uvarint() & (1<<48 - 1)})
		}
	}
	for range r.count(5) {
		c := ChannelSpec{Label: r.str(), Protocol: r.str(), ID: r.uint16()}
		f := r.byte()
		c.Negotiated, c.Unordered = f&flagNegotiated != 0, f&flagUnordered != 0
		if f&flagRetransmits != 0 {
			v := r.uint16()
			c.MaxRetransmits = &v
		}
		if f&flagLifetime != 0 {
			v := r.uint16()
			c.MaxLifetime = &v
		}
		out.Channels = append(out.Channels, c)
	}
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: connection state", ErrMalformed)
	}
	*s = out
	return nil
}

// stateReader reads fields; after the first error it returns zero values.
type stateReader struct {
	b   []byte
	bad bool
}

// take cuts n bytes off, or fails.
func (r *stateReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *stateReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of a list whose items have at least size bytes.
func (r *stateReader) count(size uint64) uint64 {
	n := r.uvarint()
	if n > maxStateItems || n*size > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return n
}

func (r *stateReader) str() string { return string(r.take(r.uvarint())) }

func (r *stateReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *stateReader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *stateReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
