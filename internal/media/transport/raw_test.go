package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/sctp"
	"github.com/pion/stun/v4"
)

// rawClient is a client made of pion's parts, to do what a PeerConnection does
// not let a test do: restart SCTP on a live DTLS association like a browser.
type rawClient struct {
	*net.UDPConn
	t    testing.TB
	cert tls.Certificate
	dtls *dtls.Conn

	mu     sync.Mutex
	server netip.AddrPort
}

func newRawClient(t testing.TB) *rawClient {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &rawClient{UDPConn: c, t: t, cert: testCertificate(t)}
}

// ReadFrom returns the next DTLS datagram.
func (r *rawClient) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, a, err := r.UDPConn.ReadFrom(b)
		if err != nil || classify(b[:n]) == packetDTLS {
			return n, a, err
		}
	}
}

// WriteTo sends to wherever the server is now.
func (r *rawClient) WriteTo(b []byte, _ net.Addr) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.WriteToUDPAddrPort(b, r.server)
}

// nominate makes a connection use this client's address.
func (r *rawClient) nominate(h *Host, conn *Conn) {
	r.t.Helper()
	r.mu.Lock()
	r.server = h.Candidates()[0].Address
	r.mu.Unlock()
	ufrag, pwd := conn.LocalCredentials()
	b := request(r.t, ufrag, pwd, stun.RawAttribute{Type: stun.AttrUseCandidate})
	eventually(r.t, "the connection knows the client's address", func() bool {
		if _, err := r.WriteTo(b, nil); err != nil {
			r.t.Fatal(err)
		}
		_, _, _, ok := conn.SelectedPair()
		return ok
	})
}

// handshake connects DTLS.
func (r *rawClient) handshake(conn *Conn) {
	r.t.Helper()
	fp := Fingerprint{"sha-256", CertificateFingerprint(r.cert.Certificate[0])}
	if err := conn.SetRemote("u", "p", []Fingerprint{fp}, "active"); err != nil {
		r.t.Fatal(err)
	}
	d, err := dtls.ClientWithOptions(r, recordAddr{}, dtls.WithCertificates(r.cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testDeadline)
	defer cancel()
	if err := d.HandshakeContext(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.dtls = d
	r.t.Cleanup(func() { _ = d.Close() })
}

// associate opens SCTP on the DTLS association. The returned function ends it
// without telling the server, which is what a restart looks like from there.
func (r *rawClient) associate() (*sctp.Association, func()) {
	r.t.Helper()
	assoc, err := sctp.ClientWithOptions(sctp.WithNetConn(&dataConn{Conn: r.dtls}), sctp.WithLoggerFactory(logging.NewDefaultLoggerFactory()))
	if err != nil {
		r.t.Fatal(err)
	}
	return assoc, func() {
		_ = assoc.Close()
		_ = r.dtls.SetReadDeadline(time.Time{})
	}
}

func channelConfig(label string, negotiated bool) *datachannel.Config {
	return &datachannel.Config{Label: label, Negotiated: negotiated, LoggerFactory: logging.NewDefaultLoggerFactory()}
}

// TestDataChannelsSurviveMove resumes a connection with channels of both sides
// and finds them under their ids on the new host.
func TestDataChannelsSurviveMove(t *testing.T) {
	cert := testCertificate(t)
	a, b := testHost(t, cert, nil), testHost(t, cert, nil)
	ra, rb := newRecorder(), newRecorder()
	old := newConn(t, a, ra, ChannelSpec{Label: "ours"})
	r := newRawClient(t)
	r.nominate(a, old)
	r.handshake(old)
	assoc, stop := r.associate()
	theirs, err := datachannel.Dial(assoc, 0, channelConfig("theirs", false))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := datachannel.Accept(assoc, channelConfig("", false))
	if err != nil {
		t.Fatal(err)
	}
	if accepted.Label != "ours" || accepted.StreamIdentifier() != 1 {
		t.Fatalf("accepted %q on %d", accepted.Label, accepted.StreamIdentifier())
	}
	if _, err := theirs.WriteDataChannel([]byte("before"), true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message arrives at the old host", func() bool { return ra.got(message{"theirs", "before", true}) })

	state, err := old.Export()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if len(state.Channels) != 2 {
		t.Fatalf("exported channels %+v", state.Channels)
	}
	fresh, err := b.Resume(state, Params{Handler: rb})
	if err != nil {
		t.Fatal(err)
	}
	r.nominate(b, fresh)
	assoc, stop = r.associate()
	defer stop()
	// A browser keeps its channels through the restart; here they are made
	// again under the same ids, without an opening handshake.
	theirs, err = datachannel.Dial(assoc, 0, channelConfig("theirs", true))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := datachannel.Dial(assoc, 1, channelConfig("ours", true))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the channels are open on the new host", func() bool { return rb.channel("theirs") != nil && rb.channel("ours") != nil })
	if _, err := theirs.WriteDataChannel([]byte("after"), true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message arrives at the new host", func() bool { return rb.got(message{"theirs", "after", true}) })
	if err := rb.channel("ours").Write([]byte("from new host"), true); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, isString, err := ours.ReadDataChannel(buf)
	if err != nil || !isString || string(buf[:n]) != "from new host" {
		t.Errorf("client read %q, %v, %v", buf[:n], isString, err)
	}
}

// TestAssociationRestarts checks that media survives the end of SCTP and that
// the client can open it again.
func TestAssociationRestarts(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	rec := newRecorder()
	conn := newConn(t, h, rec)
	r := newRawClient(t)
	r.nominate(h, conn)
	r.handshake(conn)
	waitConnected(t, conn)
	for _, label := range []string{"first", "second"} {
		assoc, stop := r.associate()
		if _, err := datachannel.Dial(assoc, 0, channelConfig(label, false)); err != nil {
			t.Fatal(err)
		}
		eventually(t, label+" is open", func() bool { return rec.channel(label) != nil && rec.channel(label).Open() })
		assoc.Abort("test")
		stop()
		eventually(t, label+" is closed", func() bool { return !rec.channel(label).Open() })
	}
	if conn.State() != StateConnected {
		t.Errorf("state = %v, %v", conn.State(), conn.Err())
	}
	if err := r.dtls.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed", func() bool { return conn.State() == StateClosed })
}

// TestStreamsAreBounded checks that a client cannot open channels for ever,
// and that one that is no channel does not hold back the others.
func TestStreamsAreBounded(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	rec := newRecorder()
	conn := newConn(t, h, rec)
	r := newRawClient(t)
	r.nominate(h, conn)
	r.handshake(conn)
	assoc, stop := r.associate()
	defer stop()
	junk, err := assoc.OpenStream(500, sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := junk.Write([]byte("no opening handshake")); err != nil {
		t.Fatal(err)
	}
	for i := range uint16(2 * maxChannels) {
		dc, err := datachannel.Dial(assoc, 2*i, channelConfig("x", false))
		if err != nil {
			t.Fatal(err)
		}
		if i < maxChannels/2 {
			// In step with the server, whose SCTP accepts 16 new streams at once.
			if _, _, err := dc.ReadDataChannel(make([]byte, 0)); err == nil {
				t.Fatal("read a message")
			}
		}
	}
	eventually(t, "a good number of channels is open", func() bool {
		conn.data.mu.Lock()
		defer conn.data.mu.Unlock()
		return len(conn.data.channels) >= 16
	})
	conn.data.mu.Lock()
	defer conn.data.mu.Unlock()
	if n := len(conn.data.channels); n > maxChannels {
		t.Errorf("%d channels", n)
	}
}
