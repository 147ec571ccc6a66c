package data

import (
	"encoding/binary"
	"errors"

	"github.com/livekit/protocol/livekit"
)

// ErrPacket is returned for bytes that are no data track packet.
var ErrPacket = errors.New("data: not a data track packet")

// The header of a data track packet, big endian: version, flags and a reserved
// byte; handle; sequence number; frame number; timestamp. With hasExtensions a
// 16-bit count follows, of 32-bit words less one, which includes itself, then
// elements of id, length and value, padded with zeros.
const (
	trackHeader   = 12
	hasExtensions = 1 << 2
	sidExtension  = byte(livekit.DataTrackExtensionID_DTEI_PARTICIPANT_SID)
)

// Handle returns the handle of a data track packet. Error: [ErrPacket].
func Handle(packet []byte) (uint16, error) {
	if len(packet) < trackHeader {
		return 0, ErrPacket
	}
	return binary.BigEndian.Uint16(packet[2:]), nil
}

// SetHandle replaces the handle of a packet that [Forward] made.
func SetHandle(packet []byte, handle uint16) { binary.BigEndian.PutUint16(packet[2:], handle) }

// Forward appends a packet to dst as it is forwarded: it names its publisher by
// sid, whatever it said about that itself. All else stays. Error: [ErrPacket].
func Forward(dst, packet []byte, sid string) ([]byte, error) {
	if len(packet) < trackHeader || len(sid) > 255 {
		return dst, ErrPacket
	}
	start := len(dst)
	dst = append(dst, packet[:trackHeader]...)
	dst[start] |= hasExtensions
	dst = append(dst, 0, 0, sidExtension, byte(len(sid)))
	dst = append(dst, sid...)
	payload := packet[trackHeader:]
	if packet[0]&hasExtensions != 0 {
		list, rest, err := splitExtensions(payload)
		if err != nil {
			return dst[:start], err
		}
		if dst, err = appendOthers(dst, list); err != nil {
			return dst[:start], err
		}
		payload = rest
	}
	size := len(dst) - start - trackHeader
	for ; size%4 != 0; size++ {
		dst = append(dst, 0)
	}
	if size/4-1 > 1<<16-1 {
		return dst[:start], ErrPacket
	}
	binary.BigEndian.PutUint16(dst[start+trackHeader:], uint16(size/4-1))
	return append(dst, payload...), nil
}

// splitExtensions parts the extension elements from the payload.
func splitExtensions(b []byte) (list, payload []byte, err error) {
	if len(b) < 2 {
		return nil, nil, ErrPacket
	}
	size := (int(binary.BigEndian.Uint16(b)) + 1) * 4
	if size > len(b) {
		return nil, nil, ErrPacket
	}
	return b[2:size], b[size:], nil
}

// appendOthers appends the elements that are not the publisher's sid.
func appendOthers(dst, list []byte) ([]byte, error) {
	for len(list) > 0 && list[0] != 0 { // 0 is padding, up to the end
		if len(list) < 2 || len(list) < 2+int(list[1]) {
			return dst, ErrPacket
		}
		n := 2 + int(list[1])
		if list[0] != sidExtension {
			dst = append(dst, list[:n]...)
		}
		list = list[n:]
	}
	return dst, nil
}
