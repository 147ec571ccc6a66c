package transport

import (
	"net"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

func isLoopback(ip net.IP) bool { return ip.IsLoopback() }

func TestMediaBothWays(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t)
	c.connect(h, conn)
	waitConnected(t, conn)
	flow(t, c, conn, r, 100)

	st := conn.Stats()
	if st.PacketsIn == 0 || st.PacketsOut == 0 || st.BytesIn == 0 || st.BytesOut == 0 || st.Undecryptable != 0 {
		t.Errorf("stats = %+v", st)
	}
	_, remote, protocol, ok := conn.SelectedPair()
	if !ok || protocol != "udp" || !remote.Addr().IsLoopback() {
		t.Errorf("SelectedPair = %v %q %v", remote, protocol, ok)
	}
	if got := h.Stats(); got.Connections != 1 || got.PacketsReceived == 0 || got.Traffic.PacketsIn < st.PacketsIn {
		t.Errorf("host stats = %+v", got)
	}
	_ = conn.Close()
	conn.Wait()
	st = conn.Stats()
	eventually(t, "the host counts the traffic of a closed connection", func() bool {
		got := h.Stats()
		return got.Connections == 0 && got.Traffic.PacketsIn >= st.PacketsIn && got.Traffic.BytesOut >= st.BytesOut
	})
}

func TestRTCPBothWays(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t)
	c.connect(h, conn)
	waitConnected(t, conn)
	flow(t, c, conn, r, 1)

	got := make(chan rtcp.Packet, 100)
	go func() {
		for {
			pkts, _, err := c.sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range pkts {
				select {
				case got <- p:
				default:
				}
			}
		}
	}()
	pli := &rtcp.PictureLossIndication{SenderSSRC: serverSSRC, MediaSSRC: uint32(c.sender.GetParameters().Encodings[0].SSRC)}
	raw, err := pli.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client gets a PLI", func() bool {
		if err := conn.WriteRTCP(raw); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-got:
			_, ok := p.(*rtcp.PictureLossIndication)
			return ok
		default:
			return false
		}
	})
	eventually(t, "the server gets a PLI", func() bool {
		if err := c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: serverSSRC}}); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, b := range r.rtcp {
			if pkts, err := rtcp.Unmarshal(b); err == nil {
				if p, ok := pkts[0].(*rtcp.PictureLossIndication); ok && p.MediaSSRC == serverSSRC {
					return true
				}
			}
		}
		return false
	})
}

func TestDataChannels(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	once := uint16(0)
	conn := newConn(t, h, r, ChannelSpec{Label: "server-reliable"}, ChannelSpec{Label: "server-lossy", Unordered: true, MaxRetransmits: &once})
	c := newClient(t)
	unordered := false
	reliable, err := c.pc.CreateDataChannel("_reliable", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.watch(reliable)
	lossy, err := c.pc.CreateDataChannel("_lossy", &webrtc.DataChannelInit{Ordered: &unordered, MaxRetransmits: &once})
	if err != nil {
		t.Fatal(err)
	}
	c.watch(lossy)
	c.connect(h, conn)
	waitConnected(t, conn)

	for _, label := range []string{"_reliable", "_lossy", "server-reliable", "server-lossy"} {
		eventually(t, label+" is open on both sides", func() bool { return c.isOpen(label) && r.channel(label) != nil })
		if err := r.channel(label).Write([]byte("to client"), true); err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		eventually(t, label+" carries text to the client", func() bool { return c.got(message{label, "to client", true}) })
		c.mu.Lock()
		dc := c.channels[label]
		c.mu.Unlock()
		if err := dc.Send([]byte("to server")); err != nil {
			t.Fatal(err)
		}
		eventually(t, label+" carries bytes to the server", func() bool { return r.got(message{label, "to server", false}) })
	}
	if id := r.channel("server-reliable").ID(); id%2 != 1 {
		t.Errorf("the DTLS server opened channel %d, want an odd id", id)
	}
	if s := r.channel("_lossy").Spec(); !s.Unordered || s.MaxRetransmits == nil || *s.MaxRetransmits != 0 {
		t.Errorf("_lossy was accepted as %+v", s)
	}
	if rtt, ok := conn.RTT(); !ok || rtt <= 0 {
		t.Errorf("RTT = %v %v", rtt, ok)
	}
	// A channel opened later, and one closed by each side.
	late, err := conn.OpenDataChannel(ChannelSpec{Label: "late"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the late channel is open", func() bool { return late.Open() && c.isOpen("late") })
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	if err := late.Write([]byte("x"), true); err == nil {
		t.Error("a closed channel took a message")
	}
	if err := lossy.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client's close arrives", func() bool { return !r.channel("_lossy").Open() })
}
