package transport

import (
	"encoding/binary"
	"fmt"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	// srtpOverhead is the most a profile adds: 16 bytes of GCM tag, or 10 of
	// HMAC, and 4 of SRTCP index.
	srtpOverhead = 20
	// maxPacket bounds a packet before encryption. It is not the MTU: what a
	// publisher got through is forwarded as it is.
	maxPacket = maxDatagram - srtpOverhead
	// maxSSRCs bounds the streams one client may send.
	maxSSRCs = 1024
	// srtcpResumeJump is added to the SRTCP index of a resumed connection, so
	// that reports the node before it sent late never share an index with ours.
	srtcpResumeJump = 1 << 16
	// maxSRTCPIndex is the last index of RFC 3711 section 9.2.
	maxSRTCPIndex = 1<<31 - 1
	// exporterLabel is that of RFC 5764 section 4.2.
	exporterLabel = "EXTRACTOR-dtls_srtp"
)

// srtpKeys are the master keys and salts of both directions.
type srtpKeys struct {
	profile               srtp.ProtectionProfile
	localKey, localSalt   []byte
	remoteKey, remoteSalt []byte
}

// deriveKeys exports the SRTP keys of a DTLS association in which we are the
// server (RFC 5764 section 4.2).
func deriveKeys(st *dtls.State, profile dtls.SRTPProtectionProfile) (srtpKeys, error) {
	p := srtp.ProtectionProfile(profile)
	keyLen, err := p.KeyLen()
	if err != nil {
		return srtpKeys{}, fmt.Errorf("SRTP profile %#x: %w", uint16(profile), err)
	}
	saltLen, err := p.SaltLen()
	if err != nil {
		return srtpKeys{}, fmt.Errorf("SRTP profile %#x: %w", uint16(profile), err)
	}
	m, err := st.ExportKeyingMaterial(exporterLabel, nil, 2*(keyLen+saltLen))
	if err != nil {
		return srtpKeys{}, fmt.Errorf("export SRTP keys: %w", err)
	}
	cut := func(n int) []byte { b := m[:n:n]; m = m[n:]; return b }
	k := srtpKeys{profile: p}
	k.remoteKey, k.localKey = cut(keyLen), cut(keyLen)
	k.remoteSalt, k.localSalt = cut(saltLen), cut(saltLen)
	return k, nil
}

// srtpSender encrypts what we send. Not safe for concurrent use.
type srtpSender struct {
	ctx     *srtp.Context
	header  rtp.Header
	control rtcp.Header
	indexes indexTable
	rtcp    map[uint32]struct{} // SSRCs that sent reports
	buf     [maxDatagram]byte
}

func newSRTPSender(k srtpKeys) (*srtpSender, error) {
	ctx, err := srtp.CreateContext(k.localKey, k.localSalt, k.profile)
	if err != nil {
		return nil, fmt.Errorf("SRTP sender: %w", err)
	}
	return &srtpSender{
		ctx:     ctx,
		indexes: newIndexTable(),
		rtcp:    make(map[uint32]struct{}),
	}, nil
}

// sealRTP encrypts into the sender's buffer, valid until the next call.
func (s *srtpSender) sealRTP(header, payload []byte) ([]byte, error) {
	if len(header) < rtpHeaderSize {
		return nil, fmt.Errorf("%w: RTP header of %d bytes", ErrMalformed, len(header))
	}
	n := len(header) + len(payload)
	if n > maxPacket {
		return nil, ErrPacketTooLarge
	}
	seq, ssrc := binary.BigEndian.Uint16(header[2:]), binary.BigEndian.Uint32(header[8:])
	r := s.indexes.get(ssrc)
	if r == nil {
		r = s.indexes.add(ssrc)
	}
	index, diff := r.estimate(seq)
	if r.resumed && index <= r.floor {
		return nil, ErrIndexUsed
	}
	copy(s.buf[:], header)
	copy(s.buf[len(header):], payload)
	out, err := s.ctx.EncryptRTP(s.buf[:0], s.buf[:n], &s.header)
	if err != nil {
		return nil, fmt.Errorf("encrypt RTP: %w", err)
	}
	r.accept(index, diff)
	return out, nil
}

// sealRTCP encrypts into the sender's buffer, valid until the next call.
func (s *srtpSender) sealRTCP(raw []byte) ([]byte, error) {
	switch {
	case len(raw) < rtcpHeaderSize:
		return nil, fmt.Errorf("%w: RTCP packet of %d bytes", ErrMalformed, len(raw))
	case len(raw) > maxPacket:
		return nil, ErrPacketTooLarge
	}
	n := copy(s.buf[:], raw)
	out, err := s.ctx.EncryptRTCP(s.buf[:0], s.buf[:n], &s.control)
	if err != nil {
		return nil, fmt.Errorf("encrypt RTCP: %w", err)
	}
	ssrc := binary.BigEndian.Uint32(raw[4:])
	if _, ok := s.rtcp[ssrc]; !ok {
		s.rtcp[ssrc] = struct{}{}
	}
	return out, nil
}

// srtpReceiver decrypts what the client sends. Not safe for concurrent use.
type srtpReceiver struct {
	ctx     *srtp.Context
	header  rtp.Header
	control rtcp.Header
	indexes indexTable
	rtcp    map[uint32]uint32 // highest SRTCP index by SSRC
	gcm     bool
}

// newSRTPReceiver makes the inbound half. Replayed RTP is let through: Firefox
// probes with copies of old packets, which a replay window would drop and the
// bandwidth estimate would take for loss; a copy of a packet does no harm in an
// SFU, whose jitter buffers and NACK state know duplicates. Replayed RTCP
// could repeat a request, so it is dropped.
func newSRTPReceiver(k srtpKeys) (*srtpReceiver, error) {
	ctx, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, k.profile,
		srtp.SRTPNoReplayProtection(), srtp.SRTCPReplayProtection(64))
	if err != nil {
		return nil, fmt.Errorf("SRTP receiver: %w", err)
	}
	gcm := k.profile == srtp.ProtectionProfileAeadAes128Gcm || k.profile == srtp.ProtectionProfileAeadAes256Gcm
	return &srtpReceiver{ctx: ctx, indexes: newIndexTable(), rtcp: make(map[uint32]uint32), gcm: gcm}, nil
}

// openRTP decrypts in place.
func (s *srtpReceiver) openRTP(b []byte) ([]byte, error) {
	seq, ssrc := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:])
	r := s.indexes.get(ssrc)
	if r == nil && len(s.indexes.bySSRC) >= maxSSRCs {
		return nil, fmt.Errorf("%w: more than %d SSRCs", ErrMalformed, maxSSRCs)
	}
	out, err := s.ctx.DecryptRTP(b[:0], b, &s.header)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = s.indexes.add(ssrc)
	}
	r.accept(r.estimate(seq))
	return out, nil
}

// openRTCP decrypts in place.
func (s *srtpReceiver) openRTCP(b []byte) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(b[4:])
	last, known := s.rtcp[ssrc]
	if !known && len(s.rtcp) >= maxSSRCs {
		return nil, fmt.Errorf("%w: more than %d SSRCs", ErrMalformed, maxSSRCs)
	}
	index := s.rtcpIndex(b)
	out, err := s.ctx.DecryptRTCP(b[:0], b, &s.control)
	if err != nil {
		return nil, err
	}
	if !known || index > last {
		s.rtcp[ssrc] = index
	}
	return out, nil
}

// rtcpIndex reads the SRTCP index: the last word with AEAD (RFC 7714 section
// 9.2), the word before the 10-byte tag otherwise (RFC 3711 section 3.4).
func (s *srtpReceiver) rtcpIndex(b []byte) uint32 {
	end := len(b)
	if !s.gcm {
		end -= 10
	}
	if end < rtcpHeaderSize+4 {
		return 0
	}
	return binary.BigEndian.Uint32(b[end-4:]) &^ (1 << 31)
}
