package transport

import (
	"fmt"
	"slices"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Export ends the connection without telling the client and returns what
// another Conn needs to carry on. From its first moment on nothing leaves this
// Conn any more, so that no DTLS record number and no SRTP index is used
// twice; what the client still sends here is lost. SCTP itself is not carried:
// channels go on under their ids, but a message that was not acknowledged in
// either direction may be lost, also on a reliable channel, so let BufferedAmount
// reach 0 first and repeat what the application cannot miss. The state holds
// keys: send it sealed, resume it at most once, and [ConnState.Wipe] every copy.
// ErrNotConnected before the handshake is complete, ErrClosed after Close.
func (c *Conn) Export() (ConnState, error) {
	c.iceMu.Lock()
	d, gone := c.dtls, c.gone
	c.iceMu.Unlock()
	switch {
	case gone:
		return ConnState{}, ErrClosed
	case d == nil || !c.secured.Load():
		return ConnState{}, ErrNotConnected
	}
	c.sendMu.Lock()
	if c.sealed {
		c.sendMu.Unlock()
		return ConnState{}, ErrClosed
	}
	c.sealed = true
	out := c.out
	c.sendMu.Unlock()

	c.recvMu.Lock()
	in := c.in
	c.in, c.deaf = nil, true
	c.recvMu.Unlock()

	st, err := c.exportState(d, out, in)
	c.end(StateClosed, ErrClosed, true)
	if err != nil {
		return ConnState{}, fmt.Errorf("export connection: %w", err)
	}
	return st, nil
}

// exportState reads a sealed connection.
func (c *Conn) exportState(d *dtls.Conn, out *srtpSender, in *srtpReceiver) (ConnState, error) {
	state, ok := d.ConnectionState()
	if !ok {
		return ConnState{}, ErrNotConnected
	}
	profile, _ := d.SelectedSRTPProtectionProfile()
	blob, err := state.MarshalBinary()
	if err != nil {
		return ConnState{}, err
	}
	st := ConnState{DTLS: blob, Profile: uint16(profile)}
	for ssrc, r := range out.indexes.bySSRC {
		st.Out = append(st.Out, StreamIndex{SSRC: ssrc, Index: r.index})
	}
	for ssrc := range out.rtcp {
		index, _ := out.ctx.Index(ssrc)
		st.OutRTCP = append(st.OutRTCP, StreamIndex{SSRC: ssrc, Index: uint64(index)})
	}
	for ssrc, r := range in.indexes.bySSRC {
		st.In = append(st.In, StreamIndex{SSRC: ssrc, Index: r.index})
	}
	for ssrc, index := range in.rtcp {
		st.InRTCP = append(st.InRTCP, StreamIndex{SSRC: ssrc, Index: uint64(index)})
	}
	c.iceMu.Lock()
	cr := c.creds[len(c.creds)-1]
	st.LocalUfrag, st.LocalPwd = cr.ufrag, cr.pwd
	st.RemoteUfrag, st.RemotePwd = c.remote.ufrag, c.remote.pwd
	st.Fingerprints = slices.Clone(c.remote.fingerprints)
	c.iceMu.Unlock()
	c.data.mu.Lock()
	for _, ch := range c.data.channels {
		spec := ch.spec
		spec.Negotiated = true // both sides know it already
		st.Channels = append(st.Channels, spec)
	}
	c.data.mu.Unlock()
	return st, nil
}

// Resume makes a connection that carries on where the exported one stopped,
// under the same ICE credentials; use RestartICE for new ones, or Prepare when
// the client must nominate the new node before the old one may export.
func (h *Host) Resume(s ConnState, p Params) (*Conn, error) {
	if s.LocalUfrag == "" || s.LocalPwd == "" {
		return nil, fmt.Errorf("%w: state without ICE credentials", ErrMalformed)
	}
	c, err := h.newConn(p, true, s.LocalUfrag, s.LocalPwd)
	if err != nil {
		return nil, err
	}
	if err := c.Resume(s); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Resume gives a prepared connection the state to carry on with, and delivers
// what the client sent meanwhile. SCTP is restarted on it, its channels keep
// their ids. The caller's RTP must go on after the last sequence number the
// exporting node sent; what does not is refused with ErrIndexUsed.
func (c *Conn) Resume(s ConnState) error {
	var state dtls.State
	if err := state.UnmarshalBinary(s.DTLS); err != nil {
		return fmt.Errorf("resume connection: %w: %w", ErrMalformed, err)
	}
	keys, err := deriveKeys(&state, dtls.SRTPProtectionProfile(s.Profile))
	if err != nil {
		return fmt.Errorf("resume connection: %w", err)
	}
	out, err := resumeSender(keys, s)
	if err != nil {
		return fmt.Errorf("resume connection: %w", err)
	}
	in, err := resumeReceiver(keys, s)
	if err != nil {
		return fmt.Errorf("resume connection: %w", err)
	}
	c.iceMu.Lock()
	switch {
	case c.gone:
		c.iceMu.Unlock()
		return ErrClosed
	case !c.standby || c.resume != nil:
		c.iceMu.Unlock()
		return fmt.Errorf("%w: only a prepared connection resumes, once", ErrMalformed)
	}
	c.resume, c.unselected = &state, false
	if !c.remote.set {
		c.remote = remoteParams{set: true, ufrag: s.RemoteUfrag, pwd: s.RemotePwd, fingerprints: slices.Clone(s.Fingerprints)}
	}
	c.iceMu.Unlock()
	c.install(out, in)
	for _, spec := range s.Channels {
		if _, err := c.OpenDataChannel(spec); err != nil {
			err = fmt.Errorf("resume data channel %q: %w", spec.Label, err)
			c.fail(err)
			return err
		}
	}
	c.startSession()
	c.refreshState()
	return nil
}

// resumeSender makes a sender whose next packet follows the exported one's
// last. srtp.Context takes a rollover counter but no sequence number, so it is
// shown the last packet once more: the result never leaves this function.
func resumeSender(k srtpKeys, s ConnState) (*srtpSender, error) {
	out, err := newSRTPSender(k)
	if err != nil {
		return nil, err
	}
	for _, x := range s.Out {
		out.ctx.SetROC(x.SSRC, uint32(x.Index>>16))
		if _, err := primer(out.ctx, x); err != nil {
			return nil, err
		}
		*out.indexes.add(x.SSRC) = rollover{index: x.Index, started: true, floor: x.Index, resumed: true}
	}
	for _, x := range s.OutRTCP {
		next := x.Index + srtcpResumeJump
		if next > maxSRTCPIndex {
			return nil, fmt.Errorf("%w: SRTCP index %d is too close to its end", ErrMalformed, x.Index)
		}
		out.ctx.SetIndex(x.SSRC, uint32(next))
		out.rtcp[x.SSRC] = struct{}{}
	}
	return out, nil
}

// resumeReceiver makes a receiver that knows the exported one's indexes, by
// letting it decrypt packets with those indexes that the client never sent.
func resumeReceiver(k srtpKeys, s ConnState) (*srtpReceiver, error) {
	in, err := newSRTPReceiver(k)
	if err != nil {
		return nil, err
	}
	forge, err := srtp.CreateContext(k.remoteKey, k.remoteSalt, k.profile)
	if err != nil {
		return nil, err
	}
	for _, x := range s.In {
		forge.SetROC(x.SSRC, uint32(x.Index>>16))
		b, err := primer(forge, x)
		if err != nil {
			return nil, err
		}
		in.ctx.SetROC(x.SSRC, uint32(x.Index>>16))
		if _, err := in.ctx.DecryptRTP(nil, b, &in.header); err != nil {
			return nil, fmt.Errorf("prime SSRC %d: %w", x.SSRC, err)
		}
		*in.indexes.add(x.SSRC) = rollover{index: x.Index, started: true}
	}
	for _, x := range s.InRTCP {
		if x.Index == 0 || x.Index > maxSRTCPIndex {
			continue
		}
		report := rtcp.ReceiverReport{SSRC: x.SSRC}
		raw, err := report.Marshal()
		if err != nil {
			return nil, err
		}
		forge.SetIndex(x.SSRC, uint32(x.Index-1))
		b, err := forge.EncryptRTCP(nil, raw, nil)
		if err != nil {
			return nil, err
		}
		if _, err := in.ctx.DecryptRTCP(nil, b, nil); err != nil {
			return nil, fmt.Errorf("prime SRTCP of SSRC %d: %w", x.SSRC, err)
		}
		in.rtcp[x.SSRC] = uint32(x.Index)
	}
	return in, nil
}

// primer encrypts an empty packet that has the stream's last index.
func primer(ctx *srtp.Context, x StreamIndex) ([]byte, error) {
	h := rtp.Header{Version: 2, SSRC: x.SSRC, SequenceNumber: uint16(x.Index)}
	raw, err := h.Marshal()
	if err != nil {
		return nil, err
	}
	b, err := ctx.EncryptRTP(nil, raw, nil)
	if err != nil {
		return nil, fmt.Errorf("prime SSRC %d: %w", x.SSRC, err)
	}
	return b, nil
}
