package codec

// Limits of RED with Opus.
const (
	// MaxREDBlocks is how many blocks a parsed packet may hold, the primary
	// one included. Browsers send up to 3, or 4 with a longer distance.
	MaxREDBlocks = 8
	// MaxREDDistance is how many earlier packets REDEncoder repeats.
	MaxREDDistance = 2
	// maxREDBlockLen and maxREDOffset are the limits of the header fields.
	maxREDBlockLen = 1<<10 - 1
	maxREDOffset   = 1<<14 - 1

	redHeaderLen  = 4
	redPrimaryLen = 1
)

// REDBlock is one block of a RED packet (RFC 2198 section 3).
type REDBlock struct {
	// PayloadType is the RTP payload type of the block's own codec.
	PayloadType uint8
	// TimestampOffset is how much older than the packet the block is, in RTP
	// timestamp units; 0 for the primary block.
	TimestampOffset uint16
	// Payload is the block's data, a part of the packet's payload.
	Payload []byte
}

// RED is a parsed RED packet. Its payloads point into the parsed bytes.
type RED struct {
	blocks [MaxREDBlocks]REDBlock
	n      int
}

// Parse splits payload into blocks. Redundant blocks may be empty.
func (r *RED) Parse(payload []byte) error {
	r.n = 0
	var lengths [MaxREDBlocks]int
	b := payload
	for {
		if len(b) < redPrimaryLen {
			return ErrTruncated
		}
		if r.n == MaxREDBlocks {
			r.n = 0
			return ErrInvalid
		}
		block := &r.blocks[r.n]
		*block = REDBlock{PayloadType: b[0] & 0x7f}
		r.n++
		if last := b[0]&0x80 == 0; last {
			b = b[redPrimaryLen:]
			break
		}
		if len(b) < redHeaderLen {
			r.n = 0
			return ErrTruncated
		}
		block.TimestampOffset = uint16(b[1])<<6 | uint16(b[2])>>2
		lengths[r.n-1] = int(b[2]&0x03)<<8 | int(b[3])
		b = b[redHeaderLen:]
	}
	for i := range r.n - 1 {
		if lengths[i] > len(b) {
			r.n = 0
			return ErrTruncated
		}
		r.blocks[i].Payload, b = b[:lengths[i]:lengths[i]], b[lengths[i]:]
	}
	r.blocks[r.n-1].Payload = b
	return nil
}

// Primary returns the block of the packet itself. It must not be called before
// a Parse that succeeded.
func (r *RED) Primary() *REDBlock { return &r.blocks[r.n-1] }

// Redundant returns the repeated blocks, oldest first. The slice is valid until
// the next Parse.
func (r *RED) Redundant() []REDBlock { return r.blocks[:max(r.n-1, 0)] }

// REDPrimary returns the primary block of a RED payload and its payload type
// without looking at the others. It is what a client without RED gets.
func REDPrimary(payload []byte) (primary []byte, payloadType uint8, err error) {
	headers, data := 0, 0
	for {
		if len(payload) < headers+redPrimaryLen {
			return nil, 0, ErrTruncated
		}
		if payload[headers]&0x80 == 0 {
			break
		}
		if len(payload) < headers+redHeaderLen {
			return nil, 0, ErrTruncated
		}
		data += int(payload[headers+2]&0x03)<<8 | int(payload[headers+3])
		headers += redHeaderLen
	}
	start := headers + redPrimaryLen + data
	if start > len(payload) {
		return nil, 0, ErrTruncated
	}
	return payload[start:], payload[headers] & 0x7f, nil
}

// REDRecovered is a lost packet found in the redundancy of a later one.
type REDRecovered struct {
	// Sequence and Timestamp are the lost packet's RTP header fields.
	Sequence  uint16
	Timestamp uint32
	// PayloadType is the payload type of the block's own codec.
	PayloadType uint8
	// Payload points into the RED packet's payload.
	Payload []byte
}

// Recover finds the packets that were lost before the parsed packet with the
// given RTP sequence number and timestamp, where lastSequence and lastTimestamp
// are those of the newest packet before it. It writes them to out, oldest first,
// and returns how many. Nothing is recovered when nothing is missing or when
// the packet itself is late.
//
// RED names the age of a block but not its sequence number. Blocks newer than
// the last packet are numbered backwards from the packet; that is right when
// the sender repeats every packet, as browsers do.
func (r *RED) Recover(sequence uint16, timestamp uint32, lastSequence uint16, lastTimestamp uint32, out []REDRecovered) int {
	missing := int(int16(sequence-lastSequence)) - 1
	span := int32(timestamp - lastTimestamp)
	if missing <= 0 || span <= 0 || r.n < 2 {
		return 0
	}
	redundant := r.Redundant()
	first := len(redundant)
	for first > 0 && len(redundant)-first < missing {
		b := &redundant[first-1]
		if int32(b.TimestampOffset) >= span || b.TimestampOffset == 0 {
			break
		}
		first--
	}
	n := 0
	for i := first; i < len(redundant) && n < len(out); i++ {
		b := &redundant[i]
		if len(b.Payload) == 0 {
			continue
		}
		out[n] = REDRecovered{
			Sequence:    sequence - uint16(len(redundant)-i),
			Timestamp:   timestamp - uint32(b.TimestampOffset),
			PayloadType: b.PayloadType,
			Payload:     b.Payload,
		}
		n++
	}
	return n
}

// REDEncoder turns the packets of an Opus publisher without RED into RED
// packets that repeat up to MaxREDDistance earlier ones. One encoder serves all
// viewers of a track. The zero value is ready. It is not safe for concurrent
// use. It allocates nothing.
type REDEncoder struct {
	// history is ordered by sequence number, oldest first.
	history [MaxREDDistance]redEntry
	n       int
}

type redEntry struct {
	sequence  uint16
	timestamp uint32
	len       int
	payload   [maxREDBlockLen]byte
}

// Encode writes the RED payload for a packet with the given RTP sequence number
// and timestamp to dst and remembers the packet. payloadType is the one of the
// primary codec. Earlier packets are left out, oldest first, when dst has no
// room for them; ErrShortBuffer says that not even the packet itself fits. The
// length of dst is therefore the largest payload to be sent. A late packet is
// encoded too; it repeats only what came before it.
func (e *REDEncoder) Encode(dst []byte, payloadType uint8, sequence uint16, timestamp uint32, payload []byte) (int, error) {
	if len(dst) < redPrimaryLen+len(payload) {
		return 0, ErrShortBuffer
	}
	first, end := e.repeatable(len(dst)-redPrimaryLen-len(payload), sequence, timestamp)
	n := 0
	for i := first; i < end; i++ {
		h := &e.history[i]
		offset := uint16(timestamp - h.timestamp)
		dst[n] = 0x80 | payloadType&0x7f
		dst[n+1] = byte(offset >> 6)
		dst[n+2] = byte(offset<<2) | byte(h.len>>8)
		dst[n+3] = byte(h.len)
		n += redHeaderLen
	}
	dst[n] = payloadType & 0x7f
	n += redPrimaryLen
	for i := first; i < end; i++ {
		h := &e.history[i]
		n += copy(dst[n:], h.payload[:h.len])
	}
	n += copy(dst[n:], payload)
	e.remember(sequence, timestamp, payload)
	return n, nil
}

// repeatable returns the range of the history to repeat in the given packet:
// what came before it, is near enough, and fits into room bytes.
func (e *REDEncoder) repeatable(room int, sequence uint16, timestamp uint32) (first, end int) {
	end = e.n
	for end > 0 && int16(sequence-e.history[end-1].sequence) <= 0 {
		end--
	}
	for first = end; first > 0; first-- {
		h := &e.history[first-1]
		age := timestamp - h.timestamp
		room -= redHeaderLen + h.len
		if sequence-h.sequence > MaxREDDistance || age == 0 || age > maxREDOffset || room < 0 {
			break
		}
	}
	return first, end
}

func (e *REDEncoder) remember(sequence uint16, timestamp uint32, payload []byte) {
	if len(payload) == 0 || len(payload) > maxREDBlockLen {
		return
	}
	if e.n > 0 && int16(sequence-e.history[e.n-1].sequence) <= 0 {
		return // late or repeated: it is not the newest any more
	}
	if e.n == MaxREDDistance {
		copy(e.history[:], e.history[1:])
		e.n--
	}
	h := &e.history[e.n]
	h.sequence, h.timestamp = sequence, timestamp
	h.len = copy(h.payload[:], payload)
	e.n++
}
