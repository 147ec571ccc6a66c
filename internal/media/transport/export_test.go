package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"pgregory.net/rapid"
)

// TestExportResume moves a live connection to another host in the way of a
// planned move: the client restarts ICE towards the new host, whose nomination
// makes the old one export. No packet of either direction is lost or repeated.
func TestExportResume(t *testing.T) {
	cert := testCertificate(t)
	a, b := testHost(t, cert, nil), testHost(t, cert, nil)
	ra := newRecorder()
	old := newConn(t, a, ra)
	c := newClient(t)
	c.connect(a, old)
	waitConnected(t, old)
	next := flow(t, c, old, ra, 65530) // the rollover counter is 1 at the move
	uplink := c.seq + 1

	rb := newRecorder()
	fresh, err := b.Prepare(Params{Handler: rb})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Export(); err != ErrNotConnected {
		t.Errorf("Export of a prepared connection = %v", err)
	}
	c.negotiate(b, fresh, true, nil)
	eventually(t, "the client nominates the new host", func() bool { return fresh.State() == StateConnecting })
	c.send(5) // held by the new host until it has the keys
	// libwebrtc would still take this packet; pion forgets the old address when
	// it restarts ICE.
	writeRTP(t, old, next)
	next++
	settled := next

	state, err := old.Export()
	if err != nil {
		t.Fatal(err)
	}
	if old.State() != StateClosed {
		t.Errorf("exported connection is %v", old.State())
	}
	if _, err := old.WriteRTP(make([]byte, rtpHeaderSize), nil); err != ErrClosed {
		t.Errorf("WriteRTP after Export = %v", err)
	}
	if err := old.WriteRTCP(make([]byte, 8)); err != ErrClosed {
		t.Errorf("WriteRTCP after Export = %v", err)
	}
	sent := old.Stats().PacketsOut
	raw, err := state.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var copied ConnState
	if err := copied.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Resume(copied); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Resume(copied); !errors.Is(err, ErrMalformed) {
		t.Errorf("second Resume = %v", err)
	}
	waitConnected(t, fresh)
	eventually(t, "held packets are delivered", func() bool { return rb.packets() >= 5 })

	// An index of the old host is refused.
	h, _ := (&rtp.Header{Version: 2, PayloadType: serverPT, SSRC: serverSSRC, SequenceNumber: next - 1}).Marshal()
	if _, err := fresh.WriteRTP(h, []byte{1}); err != ErrIndexUsed {
		t.Errorf("an index of the old host: %v, want ErrIndexUsed", err)
	}
	next = flow(t, c, fresh, rb, next)
	// Every packet of the new host was decrypted by the client.
	eventually(t, "the client has all packets", func() bool {
		for seq := settled; seq != next; seq++ {
			if !c.has(seq) {
				return false
			}
		}
		return true
	})
	if n := fresh.Stats().Undecryptable; n != 0 {
		t.Errorf("%d undecryptable packets at the new host", n)
	}
	if old.Stats().PacketsOut != sent {
		t.Error("packets left the exported connection")
	}
	// Uplink: the client's packets are all at one of the two hosts.
	for seq := uplink; seq <= c.seq; seq++ {
		if !ra.has(seq) && !rb.has(seq) {
			t.Errorf("client packet %d lost", seq)
		}
	}
	// The resumed DTLS association works too: it hears the client's end.
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new host hears that the client closes", func() bool { return fresh.State() == StateClosed })
	if fresh.Err() != ErrRemoteClosed {
		t.Errorf("Err = %v, want ErrRemoteClosed", fresh.Err())
	}
}

// TestPreparedIsSelectedByMedia: a check alone does not make a prepared connection
// the client's, but what the client sends there does, before it nominates.
func TestPreparedIsSelectedByMedia(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	c, err := h.Prepare(Params{Handler: newRecorder()})
	if err != nil {
		t.Fatal(err)
	}
	r := newRawClient(t)
	r.server = h.Candidates()[0].Address
	ufrag, pwd := c.LocalCredentials()
	if _, err := r.WriteTo(request(t, ufrag, pwd), nil); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, maxDatagram)
	if err := r.SetReadDeadline(time.Now().Add(testDeadline)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := r.UDPConn.ReadFrom(answer); err != nil || classify(answer[:n]) != packetSTUN {
		t.Fatalf("answer to a check: %v", err)
	}
	if c.State() != StateNew {
		t.Fatalf("%v after a check", c.State())
	}
	if _, err := r.WriteTo(append([]byte{0x80, 96}, make([]byte, 30)...), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client's choice is known", func() bool { return c.State() == StateConnecting })
	if _, remote, _, ok := c.SelectedPair(); !ok || remote.Port() != netip.MustParseAddrPort(r.LocalAddr().String()).Port() {
		t.Errorf("selected %v", remote)
	}
}

func TestResumeInPlace(t *testing.T) {
	// A state can also be resumed under its own ICE credentials.
	cert := testCertificate(t)
	a, b := testHost(t, cert, nil), testHost(t, cert, nil)
	ra, rb := newRecorder(), newRecorder()
	old := newConn(t, a, ra)
	nat := newNATProxy(t, a.Candidates()[0].Address)
	c := newClient(t)
	c.negotiate(a, old, false, nat.through)
	waitConnected(t, old)
	next := flow(t, c, old, ra, 1)
	state, err := old.Export()
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := b.Resume(state, Params{Handler: rb})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Resume(state, Params{Handler: rb}); !errors.Is(err, ErrDuplicate) {
		t.Errorf("second Resume on one host = %v", err)
	}
	// The client keeps its address for us; the network brings it to b. Its
	// checks do not nominate any more, since it has done so already.
	nat.mu.Lock()
	nat.server = b.Candidates()[0].Address
	nat.mu.Unlock()
	ufrag, pwd := fresh.LocalCredentials()
	if ufrag != state.LocalUfrag || pwd != state.LocalPwd {
		t.Error("credentials changed")
	}
	waitConnected(t, fresh)
	flow(t, c, fresh, rb, next)
}

func TestResumeErrors(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	if _, err := h.Resume(ConnState{}, Params{Handler: newRecorder()}); !errors.Is(err, ErrMalformed) {
		t.Errorf("empty state: %v", err)
	}
	if _, err := h.Resume(ConnState{LocalUfrag: "u", LocalPwd: "p", DTLS: []byte{1, 2, 3}}, Params{Handler: newRecorder()}); !errors.Is(err, ErrMalformed) {
		t.Errorf("bad DTLS state: %v", err)
	}
	if n := h.Stats().Connections; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func testKeys(profile srtp.ProtectionProfile) srtpKeys {
	n, _ := profile.KeyLen()
	m, _ := profile.SaltLen()
	return srtpKeys{
		profile:  profile,
		localKey: bytes.Repeat([]byte{1}, n), localSalt: bytes.Repeat([]byte{2}, m),
		remoteKey: bytes.Repeat([]byte{3}, n), remoteSalt: bytes.Repeat([]byte{4}, m),
	}
}

// TestResumedIndexes checks at the SRTP layer that a resumed sender continues
// every index, over the whole range and across the rollover.
func TestResumedIndexes(t *testing.T) {
	for _, profile := range []srtp.ProtectionProfile{
		srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		rapid.Check(t, func(t *rapid.T) {
			k := testKeys(profile)
			last := rapid.Uint64Range(0, 1<<40).Draw(t, "index")
			step := rapid.Uint64Range(1, 1<<14).Draw(t, "step")
			rtcpIndex := rapid.Uint64Range(1, maxSRTCPIndex-srtcpResumeJump-10).Draw(t, "rtcp")
			s := ConnState{Out: []StreamIndex{{7, last}}, OutRTCP: []StreamIndex{{7, rtcpIndex}}, In: []StreamIndex{{9, last}}, InRTCP: []StreamIndex{{9, rtcpIndex}}}
			out, err := resumeSender(k, s)
			if err != nil {
				t.Fatal(err)
			}
			peer, err := srtp.CreateContext(k.localKey, k.localSalt, profile)
			if err != nil {
				t.Fatal(err)
			}
			next := last + step
			h, _ := (&rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(next)}).Marshal()
			b, err := out.sealRTP(h, []byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			peer.SetROC(7, uint32(next>>16))
			plain, err := peer.DecryptRTP(nil, b, nil)
			if err != nil || !bytes.HasSuffix(plain, []byte("payload")) {
				t.Fatalf("index %d after %d: %v", next, last, err)
			}
			if got := out.indexes.get(7).index; got != next {
				t.Fatalf("tracked index %d, want %d", got, next)
			}
			binary.BigEndian.PutUint16(h[2:], uint16(last))
			if _, err := out.sealRTP(h, nil); step < seqMedian && err != ErrIndexUsed {
				t.Fatalf("index %d again: %v", last, err)
			}
			report, _ := (&rtcp.ReceiverReport{SSRC: 7}).Marshal()
			if b, err = out.sealRTCP(report); err != nil {
				t.Fatal(err)
			}
			gcm := profile != srtp.ProtectionProfileAes128CmHmacSha1_80
			if got := (&srtpReceiver{gcm: gcm}).rtcpIndex(b); uint64(got) <= rtcpIndex+srtcpResumeJump-1 {
				t.Fatalf("SRTCP index %d after %d", got, rtcpIndex)
			}

			// Inbound: the peer's next packet decrypts, its last report does not
			// count twice.
			in, err := resumeReceiver(k, s)
			if err != nil {
				t.Fatal(err)
			}
			sender, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, profile)
			if err != nil {
				t.Fatal(err)
			}
			sender.SetROC(9, uint32(next>>16))
			raw, _ := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 9, SequenceNumber: uint16(next)}, Payload: []byte("up")}).Marshal()
			b, _ = sender.EncryptRTP(nil, raw, nil)
			if plain, err = in.openRTP(b); err != nil || !bytes.HasSuffix(plain, []byte("up")) {
				t.Fatalf("inbound index %d after %d: %v", next, last, err)
			}
			report, _ = (&rtcp.ReceiverReport{SSRC: 9}).Marshal()
			sender.SetIndex(9, uint32(rtcpIndex-1))
			b, _ = sender.EncryptRTCP(nil, report, nil)
			if _, err := in.openRTCP(b); err == nil {
				t.Fatal("a replayed report was accepted")
			}
			b, _ = sender.EncryptRTCP(nil, report, nil)
			if _, err := in.openRTCP(b); err != nil {
				t.Fatalf("the next report: %v", err)
			}
		})
	}
}

// TestRolloverMirrorsSRTP checks that our index is the one srtp.Context uses.
func TestRolloverMirrorsSRTP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := testKeys(srtp.ProtectionProfileAeadAes128Gcm)
		out, err := newSRTPSender(k)
		if err != nil {
			t.Fatal(err)
		}
		seq := rapid.Uint16().Draw(t, "first")
		for i := range 60 {
			h, _ := (&rtp.Header{Version: 2, SSRC: 7, SequenceNumber: seq}).Marshal()
			if _, err := out.sealRTP(h, nil); err != nil {
				t.Fatal(err)
			}
			roc, _ := out.ctx.ROC(7)
			if got := out.indexes.get(7).index; uint32(got>>16) != roc {
				t.Fatalf("packet %d, sequence number %d: index %#x, context has rollover counter %d", i, seq, got, roc)
			}
			seq += uint16(rapid.IntRange(-40000, 40000).Draw(t, "step"))
		}
	})
}

func TestStateRoundTrip(t *testing.T) {
	two := uint16(2)
	rapid.Check(t, func(t *rapid.T) {
		index := rapid.Custom(func(t *rapid.T) StreamIndex {
			return StreamIndex{rapid.Uint32().Draw(t, "ssrc"), rapid.Uint64Range(0, 1<<48-1).Draw(t, "index")}
		})
		list := func(name string) []StreamIndex {
			if l := rapid.SliceOfN(index, 0, 5).Draw(t, name); len(l) > 0 {
				return l
			}
			return nil
		}
		s := ConnState{
			LocalUfrag: rapid.String().Draw(t, "ufrag"), LocalPwd: "pwd", RemoteUfrag: "r", RemotePwd: "q",
			Fingerprints: []Fingerprint{{"sha-256", "AA:BB"}},
			DTLS:         rapid.SliceOfN(rapid.Byte(), 1, 1000).Draw(t, "dtls"), Profile: 7,
			Out: list("out"), In: list("in"), OutRTCP: list("outrtcp"), InRTCP: list("inrtcp"),
			Channels: []ChannelSpec{{Label: "a", Negotiated: true, ID: 3}, {Label: "b", Protocol: "p", Unordered: true, MaxRetransmits: &two}, {Label: "c", MaxLifetime: &two}},
		}
		b, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got ConnState
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got %#v", got)
		}
		for _, bad := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), 0)} {
			if err := got.UnmarshalBinary(bad); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d of %d bytes: %v", len(bad), len(b), err)
			}
		}
		b[0]++
		if err := got.UnmarshalBinary(b); !errors.Is(err, ErrStateVersion) {
			t.Fatal(err)
		}
	})
}

func TestStateIsNotPrinted(t *testing.T) {
	s := ConnState{LocalUfrag: "u", LocalPwd: "local-secret", RemotePwd: "remote-secret", DTLS: []byte("master-secret")}
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(f, s); strings.Contains(text, "secret") {
			t.Errorf("%s prints %s", f, text)
		}
	}
	if text := s.LogValue().String(); strings.Contains(text, "secret") {
		t.Errorf("log value %s", text)
	}
	blob := s.DTLS
	s.Wipe()
	if !bytes.Equal(blob, make([]byte, len(blob))) || s.LocalPwd != "" {
		t.Error("Wipe left secrets")
	}
}

func TestQuiescedExportLosesNoRecordNumber(t *testing.T) {
	// Writers race with Export; whatever they sent is covered by the state.
	cert := testCertificate(t)
	a := testHost(t, cert, nil)
	r := newRecorder()
	conn := newConn(t, a, r)
	c := newClient(t)
	c.connect(a, conn)
	waitConnected(t, conn)
	done := make(chan uint16)
	go func() {
		seq := uint16(1)
		for {
			h, _ := (&rtp.Header{Version: 2, SSRC: serverSSRC, SequenceNumber: seq}).Marshal()
			if _, err := conn.WriteRTP(h, []byte{1}); err != nil {
				done <- seq - 1
				return
			}
			seq++
		}
	}()
	eventually(t, "the writer is running", func() bool { return conn.Stats().PacketsOut > 100 })
	state, err := conn.Export()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case last := <-done:
		if len(state.Out) != 1 || uint16(state.Out[0].Index) != last {
			t.Errorf("exported %v, last sent %d", state.Out, last)
		}
	case <-time.After(testDeadline):
		t.Fatal("writer still running after Export")
	}
}
