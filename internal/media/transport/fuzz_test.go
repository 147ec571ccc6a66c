package transport

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
)

// FuzzDispatch gives a socket arbitrary packets of a stranger and of a known
// address: nothing panics, and nothing but a valid check makes state.
func FuzzDispatch(f *testing.F) {
	handler := &counter{}
	h, conn, known := pathConn(f, srtp.ProtectionProfileAeadAes128Gcm, handler)
	stranger := netip.AddrPortFrom(known.Addr(), 9)
	ufrag, _ := conn.LocalCredentials()
	f.Add(request(f, ufrag, "wrong password"))
	f.Add(request(f, "nobody", "x", stun.RawAttribute{Type: stun.AttrUseCandidate}))
	for first := range 256 {
		b := make([]byte, 60)
		b[0] = byte(first)
		f.Add(b)
	}
	f.Add([]byte{})
	scratch := newSTUNScratch()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxDatagram {
			t.Skip()
		}
		s := h.sockets[0]
		s.dispatch(bytes.Clone(b), stranger, time.Now(), scratch)
		s.dispatch(bytes.Clone(b), known, time.Now(), scratch)
		s.mu.RLock()
		n := len(s.pairs)
		s.mu.RUnlock()
		if n != 1 {
			t.Fatalf("%d addresses known", n)
		}
		if handler.rtp.Load()+handler.rtcp.Load() != 0 {
			t.Fatal("an unauthenticated packet was delivered")
		}
		conn.records.mu.Lock()
		conn.records.queue = nil
		conn.records.mu.Unlock()
	})
}

// FuzzSTUN signs arbitrary attributes with the right password, so that what is
// behind the authentication sees them.
func FuzzSTUN(f *testing.F) {
	h, conn, known := pathConn(f, srtp.ProtectionProfileAeadAes128Gcm, &counter{})
	ufrag, pwd := conn.LocalCredentials()
	f.Add(uint16(stun.AttrPriority), []byte{1, 2, 3, 4}, uint16(stun.AttrUseCandidate), []byte{})
	f.Add(uint16(stun.AttrICEControlled), make([]byte, 8), uint16(1), []byte{1})
	f.Add(uint16(stun.AttrUsername), []byte(":"), uint16(0x7fff), make([]byte, 700))
	scratch := newSTUNScratch()
	f.Fuzz(func(t *testing.T, t1 uint16, v1 []byte, t2 uint16, v2 []byte) {
		m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":peer"),
			stun.RawAttribute{Type: stun.AttrType(t1), Value: v1}, stun.RawAttribute{Type: stun.AttrType(t2), Value: v2},
			stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil || len(m.Raw) > maxDatagram {
			t.Skip()
		}
		h.sockets[0].dispatch(m.Raw, known, time.Now(), scratch)
	})
}

// FuzzConnState reads arbitrary states.
func FuzzConnState(f *testing.F) {
	two := uint16(2)
	b, err := ConnState{
		LocalUfrag: "u", LocalPwd: "p", Fingerprints: []Fingerprint{{"sha-256", "AA"}}, DTLS: []byte("dtls"), Profile: 7,
		Out: []StreamIndex{{1, 2}}, Channels: []ChannelSpec{{Label: "x", ID: 1, MaxRetransmits: &two}},
	}.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{stateVersion})
	h := testHost(f, testCertificate(f), nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ConnState
		if s.UnmarshalBinary(b) != nil {
			return
		}
		again, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var s2 ConnState
		if err := s2.UnmarshalBinary(again); err != nil {
			t.Fatal(err)
		}
		if c, err := h.Resume(s, Params{Handler: &counter{}}); err == nil {
			_ = c.Close()
		}
	})
}

// FuzzFrame reads arbitrary TCP bytes as frames.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0xFF, 0xFF})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := bytes.NewReader(b), make([]byte, maxDatagram)
		for {
			n, err := readFrame(r, buf)
			if err != nil {
				return
			}
			_ = classify(buf[:n])
		}
	})
}
