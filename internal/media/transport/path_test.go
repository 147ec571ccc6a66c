package transport

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
)

// counter is the Handler of the packet path's tests: it only counts.
type counter struct{ rtp, rtcp atomic.Uint64 }

func (c *counter) OnRTP([]byte, time.Time)              { c.rtp.Add(1) }
func (c *counter) OnRTCP([]byte, time.Time)             { c.rtcp.Add(1) }
func (c *counter) OnState(State)                        {}
func (c *counter) OnDataChannel(*DataChannel)           {}
func (c *counter) OnMessage(*DataChannel, []byte, bool) {}

// pathConn is a connection with keys and an address but without a client: its
// packets go to a socket nobody reads.
func pathConn(t testing.TB, profile srtp.ProtectionProfile, handler Handler) (*Host, *Conn, netip.AddrPort) {
	t.Helper()
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	remote, _ := netip.ParseAddrPort(sink.LocalAddr().String())
	h := testHost(t, testCertificate(t), nil)
	conn, err := h.NewConn(Params{Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	ufrag, pwd := conn.LocalCredentials()
	s := h.sockets[0]
	s.dispatch(request(t, ufrag, pwd, stun.RawAttribute{Type: stun.AttrUseCandidate}), remote, time.Now(), newSTUNScratch())
	k := testKeys(profile)
	out, err := newSRTPSender(k)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newSRTPReceiver(k)
	if err != nil {
		t.Fatal(err)
	}
	conn.install(out, in)
	return h, conn, remote
}

// videoHeader is an RTP header with three extensions, as browsers send.
func videoHeader(t testing.TB) []byte {
	t.Helper()
	h := rtp.Header{Version: 2, PayloadType: 96, SSRC: 0xABCDEF, SequenceNumber: 1}
	for id, size := range map[uint8]int{1: 3, 3: 2, 4: 1} {
		if err := h.SetExtension(id, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setSequence(header []byte, seq uint16) { header[2], header[3] = byte(seq>>8), byte(seq) }

func TestWriteRTPAllocs(t *testing.T) {
	for name, profile := range map[string]srtp.ProtectionProfile{
		"AES-128-GCM": srtp.ProtectionProfileAeadAes128Gcm,
		"HMAC-SHA1":   srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		_, conn, _ := pathConn(t, profile, &counter{})
		header, payload := videoHeader(t), make([]byte, 1100)
		seq := uint16(0)
		write := func() {
			seq++
			setSequence(header, seq)
			if _, err := conn.WriteRTP(header, payload); err != nil {
				t.Fatal(err)
			}
		}
		write()
		if n := testing.AllocsPerRun(500, write); n != 0 {
			t.Errorf("%s: WriteRTP allocates %v times", name, n)
		}
		for _, b := range payload {
			if b != 0 {
				t.Fatalf("%s: WriteRTP changed the payload", name)
			}
		}
	}
}

func TestReceiveRTPAllocs(t *testing.T) {
	for name, profile := range map[string]srtp.ProtectionProfile{
		"AES-128-GCM": srtp.ProtectionProfileAeadAes128Gcm,
		"HMAC-SHA1":   srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		handler := &counter{}
		h, _, remote := pathConn(t, profile, handler)
		k := testKeys(profile)
		client, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, profile)
		if err != nil {
			t.Fatal(err)
		}
		const runs = 500
		header := videoHeader(t)
		packets := make([][]byte, runs+2)
		for i := range packets {
			setSequence(header, uint16(i))
			if packets[i], err = client.EncryptRTP(nil, append(append([]byte(nil), header...), make([]byte, 1100)...), nil); err != nil {
				t.Fatal(err)
			}
		}
		scratch, next := newSTUNScratch(), 0
		read := func() {
			h.sockets[0].dispatch(packets[next], remote, time.Now(), scratch)
			next++
		}
		read()
		if n := testing.AllocsPerRun(runs, read); n != 0 {
			t.Errorf("%s: receiving allocates %v times", name, n)
		}
		if got := handler.rtp.Load(); got != runs+2 {
			t.Errorf("%s: %d packets delivered, want %d", name, got, runs+2)
		}
	}
}

func TestDropsAllocateNothing(t *testing.T) {
	h, _, remote := pathConn(t, srtp.ProtectionProfileAeadAes128Gcm, &counter{})
	stranger := netip.AddrPortFrom(remote.Addr(), remote.Port()+1)
	scratch := newSTUNScratch()
	packet := make([]byte, 1200)
	for _, first := range []byte{0x80, 0x16, 0xFF, 0x40} {
		packet[0] = first
		if n := testing.AllocsPerRun(100, func() {
			h.sockets[0].dispatch(packet, stranger, time.Now(), scratch)
		}); n != 0 {
			t.Errorf("a stranger's packet starting with %#x allocates %v times", first, n)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	_, conn, _ := pathConn(t, srtp.ProtectionProfileAeadAes128Gcm, &counter{})
	if _, err := conn.WriteRTP(make([]byte, 11), nil); err == nil {
		t.Error("a short header was sent")
	}
	if _, err := conn.WriteRTP(videoHeader(t), make([]byte, maxDatagram)); err != ErrPacketTooLarge {
		t.Errorf("oversized packet: %v", err)
	}
	bad := videoHeader(t)
	bad[15] = 0xFF // more extension words than there are bytes
	if _, err := conn.WriteRTP(bad, nil); err == nil {
		t.Error("a malformed header was sent")
	}
	if err := conn.WriteRTCP(make([]byte, 4)); err == nil {
		t.Error("a short report was sent")
	}
	if err := conn.WriteRTCP(make([]byte, maxDatagram)); err != ErrPacketTooLarge {
		t.Errorf("oversized report: %v", err)
	}
	fresh := newConn(t, conn.host, newRecorder())
	if _, err := fresh.WriteRTP(videoHeader(t), nil); err != ErrNotConnected {
		t.Errorf("WriteRTP before keys: %v", err)
	}
}

func TestSSRCsAreBounded(t *testing.T) {
	handler := &counter{}
	h, conn, remote := pathConn(t, srtp.ProtectionProfileAeadAes128Gcm, handler)
	k := testKeys(srtp.ProtectionProfileAeadAes128Gcm)
	client, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, k.profile)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(maxSSRCs + 100) {
		raw, _ := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: i}, Payload: []byte{1}}).Marshal()
		b, err := client.EncryptRTP(nil, raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.sockets[0].dispatch(b, remote, time.Now(), newSTUNScratch())
	}
	if got := handler.rtp.Load(); got != maxSSRCs {
		t.Errorf("%d SSRCs let through, want %d", got, maxSSRCs)
	}
	if got := conn.Stats().Undecryptable; got != 100 {
		t.Errorf("Undecryptable = %d", got)
	}
}

func TestHeldPacketsAreBounded(t *testing.T) {
	h, _, _ := pathConn(t, srtp.ProtectionProfileAeadAes128Gcm, &counter{})
	conn := newConn(t, h, newRecorder())
	for range 3 * maxHeld {
		conn.handlePacket(packetRTP, make([]byte, 100), nil, time.Now())
		conn.handlePacket(packetDTLS, make([]byte, 100), nil, time.Now())
	}
	if n := len(conn.held); n != maxHeld {
		t.Errorf("%d packets held", n)
	}
	if n := len(conn.records.queue); n != maxRecords {
		t.Errorf("%d records held", n)
	}
	if got := conn.Stats().HeldDropped; got != 2*maxHeld {
		t.Errorf("HeldDropped = %d", got)
	}
}

func BenchmarkWriteRTP(b *testing.B) {
	for name, profile := range map[string]srtp.ProtectionProfile{
		"AES-128-GCM": srtp.ProtectionProfileAeadAes128Gcm,
		"HMAC-SHA1":   srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		b.Run(name, func(b *testing.B) {
			_, conn, _ := pathConn(b, profile, &counter{})
			header, payload := videoHeader(b), make([]byte, 1100)
			b.ReportAllocs()
			b.SetBytes(int64(len(header) + len(payload)))
			seq := uint16(0)
			for b.Loop() {
				seq++
				setSequence(header, seq)
				if _, err := conn.WriteRTP(header, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReceiveRTP(b *testing.B) {
	handler := &counter{}
	h, _, remote := pathConn(b, srtp.ProtectionProfileAeadAes128Gcm, handler)
	k := testKeys(srtp.ProtectionProfileAeadAes128Gcm)
	client, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, k.profile)
	if err != nil {
		b.Fatal(err)
	}
	packet, err := client.EncryptRTP(nil, append(videoHeader(b), make([]byte, 1100)...), nil)
	if err != nil {
		b.Fatal(err)
	}
	scratch, buf := newSTUNScratch(), make([]byte, len(packet))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, packet)
		h.sockets[0].dispatch(buf, remote, time.Now(), scratch)
	}
	if handler.rtp.Load() == 0 {
		b.Fatal("nothing delivered")
	}
}
