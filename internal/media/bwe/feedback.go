package bwe

import (
	"encoding/binary"
	"errors"

	"github.com/pion/rtcp"
)

// ErrMalformed means that a report contradicts its format or itself.
var ErrMalformed = errors.New("bwe: malformed transport-wide feedback")

// Sizes and units of transport-wide feedback (draft-holmer-rmcat-transport-wide-
// cc-extensions-01 section 3.1).
const (
	feedbackHeader    = 20
	feedbackTick      = 250    // microseconds of a receive delta
	feedbackReference = 64_000 // microseconds of a reference time
)

// Packet status symbols (section 3.1.1).
const (
	symbolNotReceived = iota
	symbolSmallDelta
	symbolLargeDelta
	symbolReserved
)

// arrival is one packet that a report says was received.
type arrival struct {
	offset uint16 // from the report's first number
	at     micros // from the report's reference time
}

// feedbackReader reads reports one after the other. The zero value is ready.
type feedbackReader struct {
	base     uint16 // first number reported on
	packets  int    // numbers reported on
	count    uint8  // feedback packet count
	epoch    micros // reference time on the viewer's clock, unwrapped
	arrivals []arrival

	referenced bool
	reference  int64
}

// parse reads an RTCP packet with its header.
func (r *feedbackReader) parse(b []byte) error {
	if len(b) < feedbackHeader || b[0]>>6 != 2 || b[0]&0x1f != rtcp.FormatTCC || b[1] != byte(rtcp.TypeTransportSpecificFeedback) {
		return ErrMalformed
	}
	size := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
	if size > len(b) || size < feedbackHeader {
		return ErrMalformed
	}
	b = b[:size]
	if b[0]&0x20 != 0 {
		pad := int(b[size-1])
		if pad == 0 || pad > size-feedbackHeader {
			return ErrMalformed
		}
		b = b[:size-pad]
	}
	packets := int(binary.BigEndian.Uint16(b[14:]))
	chunks := b[feedbackHeader:]
	n, err := chunksSize(chunks, packets)
	if err != nil {
		return err
	}
	r.arrivals = r.arrivals[:0]
	if err := r.readArrivals(chunks[:n], chunks[n:], packets); err != nil {
		return err
	}
	r.begin(binary.BigEndian.Uint16(b[12:]), packets, binary.BigEndian.Uint32(b[16:])>>8, b[19])
	return nil
}

// begin takes the fields of the header, once the rest has been found good.
func (r *feedbackReader) begin(base uint16, packets int, reference uint32, count uint8) {
	r.base, r.packets, r.count = base, packets, count
	if !r.referenced {
		r.referenced, r.reference = true, int64(reference)
	}
	// 24 bits, signed distance to the one before.
	r.reference += int64(int32(reference<<8-uint32(r.reference)<<8) >> 8) //nolint:gosec // wrap-around arithmetic
	r.epoch = r.reference * feedbackReference
}

// chunksSize returns how many bytes the chunks take that describe that many
// packets (sections 3.1.3 and 3.1.4).
func chunksSize(b []byte, packets int) (int, error) {
	n := 0
	for packets > 0 {
		if n+2 > len(b) {
			return 0, ErrMalformed
		}
		chunk := binary.BigEndian.Uint16(b[n:])
		n += 2
		switch {
		case chunk&0x8000 == 0:
			if chunk&0x1fff == 0 {
				return 0, ErrMalformed
			}
			packets -= int(chunk & 0x1fff)
		case chunk&0x4000 == 0:
			packets -= 14
		default:
			packets -= 7
		}
	}
	return n, nil
}

// readArrivals walks chunks and receive deltas together.
func (r *feedbackReader) readArrivals(chunks, deltas []byte, packets int) error {
	d := deltaReader{deltas: deltas}
	for offset := 0; offset < packets; chunks = chunks[2:] {
		chunk := binary.BigEndian.Uint16(chunks)
		if chunk&0x8000 == 0 {
			symbol, run := chunk>>13, min(int(chunk&0x1fff), packets-offset)
			if symbol == symbolNotReceived {
				offset += run
				continue
			}
			for ; run > 0; run-- {
				if err := r.read(&d, symbol, offset); err != nil {
					return err
				}
				offset++
			}
			continue
		}
		symbols, bits, mask := 14, 1, uint16(1)
		if chunk&0x4000 != 0 {
			symbols, bits, mask = 7, 2, 3
		}
		for i := 1; i <= symbols && offset < packets; i++ {
			if err := r.read(&d, chunk>>(14-i*bits)&mask, offset); err != nil {
				return err
			}
			offset++
		}
	}
	return nil
}

// read takes one packet status.
func (r *feedbackReader) read(d *deltaReader, symbol uint16, offset int) error {
	if symbol == symbolNotReceived {
		return nil
	}
	if !d.next(symbol) {
		return ErrMalformed
	}
	return r.append(offset, d.at)
}

// append keeps one arrival. More than the history holds cannot be of use.
func (r *feedbackReader) append(offset int, at micros) error {
	if len(r.arrivals) >= historySize {
		return ErrMalformed
	}
	r.arrivals = append(r.arrivals, arrival{offset: uint16(offset), at: at}) //nolint:gosec // 16 bits on the wire
	return nil
}

// deltaReader adds up receive deltas (section 3.1.5).
type deltaReader struct {
	deltas []byte
	at     micros
}

func (d *deltaReader) next(symbol uint16) bool {
	switch {
	case symbol == symbolSmallDelta && len(d.deltas) >= 1:
		d.at += micros(d.deltas[0]) * feedbackTick
		d.deltas = d.deltas[1:]
	case symbol == symbolLargeDelta && len(d.deltas) >= 2:
		d.at += micros(int16(binary.BigEndian.Uint16(d.deltas))) * feedbackTick //nolint:gosec // two's complement
		d.deltas = d.deltas[2:]
	default:
		return false
	}
	return true
}

// fromPacket reads a report that has been parsed already.
func (r *feedbackReader) fromPacket(fb *rtcp.TransportLayerCC) error {
	r.arrivals = r.arrivals[:0]
	packets, offset, delta, at := int(fb.PacketStatusCount), 0, 0, micros(0)
	read := func(symbol uint16) error {
		if symbol != symbolNotReceived {
			if symbol >= symbolReserved || delta >= len(fb.RecvDeltas) || fb.RecvDeltas[delta] == nil {
				return ErrMalformed
			}
			at += fb.RecvDeltas[delta].Delta
			delta++
			if err := r.append(offset, at); err != nil {
				return err
			}
		}
		offset++
		return nil
	}
	for _, chunk := range fb.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range min(int(c.RunLength), packets-offset) {
				if err := read(c.PacketStatusSymbol); err != nil {
					return err
				}
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList[:min(len(c.SymbolList), packets-offset)] {
				if err := read(symbol); err != nil {
					return err
				}
			}
		}
	}
	if offset < packets {
		return ErrMalformed
	}
	r.begin(fb.BaseSequenceNumber, packets, fb.ReferenceTime&0xffffff, fb.FbPktCount)
	return nil
}
