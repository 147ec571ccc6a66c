package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
)

func frame(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// tcpPath is pathConn for a client that came by TCP; the caller reads its end
// or does not.
func tcpPath(t *testing.T, h *Host) (*Conn, *net.TCPConn) {
	t.Helper()
	conn, err := h.NewConn(Params{Handler: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", h.listeners[0].local.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ufrag, pwd := conn.LocalCredentials()
	if _, err := c.Write(frame(request(t, ufrag, pwd, stun.RawAttribute{Type: stun.AttrUseCandidate}))); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := readFrame(c, buf)
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess {
		t.Fatalf("answer %v, %v", m, err)
	}
	k := testKeys(srtp.ProtectionProfileAeadAes128Gcm)
	out, err := newSRTPSender(k)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newSRTPReceiver(k)
	if err != nil {
		t.Fatal(err)
	}
	conn.install(out, in)
	return conn, c.(*net.TCPConn)
}

// TestSlowTCPClient checks that a viewer who does not read costs its own
// packets only, and that what it gets after all is whole frames.
func TestSlowTCPClient(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.TCPPort, c.TCPWriteBuffer = 0, 64<<10 })
	slow, client := tcpPath(t, h)
	if err := client.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fast, reader := tcpPath(t, h)
	header, payload := videoHeader(t), bytes.Repeat([]byte{7}, 1000)
	var full int
	eventually(t, "the slow client's buffer is full", func() bool {
		for range 100 {
			setSequence(header, uint16(full))
			if _, err := slow.WriteRTP(header, payload); errors.Is(err, ErrBufferFull) {
				full++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return full > 1000
	})
	if h.Stats().TCPOverflow == 0 || slow.Stats().SendErrors == 0 {
		t.Errorf("drops are not counted: %+v, %+v", h.Stats(), slow.Stats())
	}
	if _, err := fast.WriteRTP(header, payload); err != nil {
		t.Fatal(err)
	}
	_ = reader.SetReadDeadline(time.Now().Add(testDeadline))
	if n, err := readFrame(reader, make([]byte, maxDatagram)); err != nil || n != len(header)+len(payload)+16 {
		t.Errorf("the other client read %d bytes, %v", n, err)
	}
	_ = client.SetReadDeadline(time.Now().Add(testDeadline))
	for range 50 {
		if n, err := readFrame(client, make([]byte, maxDatagram)); err != nil || n != len(header)+len(payload)+16 {
			t.Fatalf("the slow client read %d bytes, %v", n, err)
		}
	}
	_ = slow.Close()
}

func TestTCPWriteAllocs(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.TCPPort = 0 })
	conn, client := tcpPath(t, h)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			if _, err := client.Read(buf); err != nil {
				return
			}
		}
	}()
	header, payload := videoHeader(t), make([]byte, 1000)
	seq := uint16(0)
	write := func() {
		seq++
		setSequence(header, seq)
		if _, err := conn.WriteRTP(header, payload); err != nil && err != ErrBufferFull {
			t.Fatal(err)
		}
	}
	for range 2000 { // until both buffers have grown
		write()
	}
	if n := testing.AllocsPerRun(500, write); n > 0 {
		t.Errorf("WriteRTP over TCP allocates %v times", n)
	}
	_ = conn.Close()
}

func TestReadFrame(t *testing.T) {
	buf := make([]byte, maxDatagram)
	if n, err := readFrame(bytes.NewReader([]byte{0, 2, 5, 6, 9}), buf); err != nil || n != 2 || buf[0] != 5 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := readFrame(bytes.NewReader([]byte{0xFF, 0xFF}), buf); !errors.Is(err, ErrMalformed) {
		t.Errorf("oversized frame: %v", err)
	}
	if _, err := readFrame(bytes.NewReader([]byte{0, 9, 1}), buf); err == nil {
		t.Error("truncated frame was read")
	}
}
