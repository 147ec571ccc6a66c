package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// source is where a packet came from and where its answer goes.
type source struct {
	udp           *udpSocket // one of udp and tcp is set
	tcp           *tcpConn
	local, remote netip.AddrPort
}

func (s source) write(b []byte) error {
	if s.tcp != nil {
		return s.tcp.write(b)
	}
	_, err := s.udp.conn.WriteToUDPAddrPort(b, s.remote)
	return err
}

// check is a binding request that proved to come from the client.
type check struct {
	priority     uint32
	useCandidate bool
	generation   uint32 // of the local credentials it used
}

// stunScratch is the reused memory of one reading goroutine.
type stunScratch struct {
	request, response stun.Message
	key               []byte
}

func newSTUNScratch() *stunScratch { return &stunScratch{} }

// handleSTUN answers one STUN message. Requests that do not prove knowledge of
// a password get no answer at all, so that the port is no reflector; anything
// that is no binding request is ignored (a lite agent sends no requests).
func (h *Host) handleSTUN(b []byte, from source, at time.Time, sc *stunScratch) {
	m := &sc.request
	m.Raw = append(m.Raw[:0], b...)
	if m.Decode() != nil || int(m.Length)+stunHeaderSize != len(b) {
		h.drops.malformed.Add(1)
		return
	}
	if m.Type != stun.BindingRequest {
		return
	}
	cr := h.authenticate(m, sc)
	if cr == nil {
		return
	}
	if unknown := unknownAttributes(m); len(unknown) > 0 {
		sc.respondError(cr, from, stun.CodeUnknownAttribute, unknown)
		return
	}
	// A lite agent is always controlled. It answers like one whose tie-breaker
	// is the smallest: the client must change its role (RFC 8445 section 7.3.1.1).
	if m.Contains(stun.AttrICEControlled) {
		sc.respondError(cr, from, stun.CodeRoleConflict, nil)
		return
	}
	k := check{useCandidate: m.Contains(stun.AttrUseCandidate), generation: cr.generation}
	if v, err := m.Get(stun.AttrPriority); err == nil && len(v) == 4 {
		k.priority = binary.BigEndian.Uint32(v)
	}
	if cr.conn.handleCheck(k, from, at) {
		sc.respondSuccess(cr, from)
	}
}

// authenticate returns the credential a request was made with, or nil
// (RFC 8489 section 9.1.3, RFC 8445 section 7.3).
func (h *Host) authenticate(m *stun.Message, sc *stunScratch) *credential {
	if stun.Fingerprint.Check(m) != nil {
		h.drops.badIntegrity.Add(1)
		return nil
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		h.drops.malformed.Add(1)
		return nil
	}
	ufrag, _, _ := bytes.Cut(name, []byte{':'})
	cr := h.credential(ufrag)
	if cr == nil {
		h.drops.unknownUfrag.Add(1)
		return nil
	}
	sc.key = append(sc.key[:0], cr.pwd...)
	if stun.MessageIntegrity(sc.key).Check(m) != nil {
		h.drops.badIntegrity.Add(1)
		return nil
	}
	return cr
}

// unknownAttributes returns the comprehension-required attributes of a request
// that this agent does not know (RFC 8489 section 6.3.1).
func unknownAttributes(m *stun.Message) stun.UnknownAttributes {
	var out stun.UnknownAttributes
	for _, a := range m.Attributes {
		if a.Type >= 0x8000 {
			continue
		}
		switch a.Type {
		case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256,
			stun.AttrPriority, stun.AttrUseCandidate:
		default:
			if len(out) < 16 {
				out = append(out, a.Type)
			}
		}
	}
	return out
}

func (sc *stunScratch) respondSuccess(cr *credential, from source) {
	m := sc.begin(stun.BindingSuccess)
	addr := stun.XORMappedAddress{IP: net.IP(from.remote.Addr().AsSlice()), Port: int(from.remote.Port())}
	if addr.AddTo(m) != nil {
		return
	}
	sc.finish(cr, from)
}

func (sc *stunScratch) respondError(cr *credential, from source, code stun.ErrorCode, unknown stun.UnknownAttributes) {
	m := sc.begin(stun.BindingError)
	if code.AddTo(m) != nil {
		return
	}
	if len(unknown) > 0 && unknown.AddTo(m) != nil {
		return
	}
	sc.finish(cr, from)
}

// begin starts a response to the request in the scratch.
func (sc *stunScratch) begin(t stun.MessageType) *stun.Message {
	m := &sc.response
	m.Reset()
	m.Type = t
	m.TransactionID = sc.request.TransactionID
	m.WriteHeader()
	return m
}

// finish signs the response and sends it. A lost response is the client's to
// ask for again, so errors are left alone.
func (sc *stunScratch) finish(cr *credential, from source) {
	sc.key = append(sc.key[:0], cr.pwd...)
	if stun.MessageIntegrity(sc.key).AddTo(&sc.response) != nil || stun.Fingerprint.AddTo(&sc.response) != nil {
		return
	}
	_ = from.write(sc.response.Raw)
}
