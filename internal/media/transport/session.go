package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/pion/dtls/v3"
)

// dtlsFlight is the first retransmission delay of a handshake flight. RFC 6347
// section 4.2.4.1 says 1 s; real-time applications use less (RFC 9147 section
// 5.8.2 names 100 ms), and clients start with 50 ms.
const dtlsFlight = 250 * time.Millisecond

// srtpProfiles is the order of preference: AES-128-GCM costs a fifth of
// HMAC-SHA1 profiles and less than AES-256-GCM.
func srtpProfiles() []dtls.SRTPProtectionProfile {
	return []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM,
		dtls.SRTP_AEAD_AES_256_GCM,
		dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	}
}

// startSession starts the session goroutine when all is there for it: an
// address, and either the client's fingerprints and its first record, or a
// state to resume.
func (c *Conn) startSession() {
	c.iceMu.Lock()
	defer c.iceMu.Unlock()
	if c.started || c.gone || c.selected.Load() == nil {
		return
	}
	fresh := !c.standby && c.remote.set && c.records.waiting()
	if !fresh && c.resume == nil {
		return
	}
	c.wg.Add(1)
	c.started = c.host.goFunc(c.runSession)
	if !c.started {
		c.wg.Done()
	}
}

// runSession owns the DTLS association from its first record to its end.
func (c *Conn) runSession() {
	defer c.wg.Done()
	d, err := c.connectDTLS()
	if err != nil {
		c.fail(err)
		return
	}
	if err := c.secure(d); err != nil {
		c.fail(err)
		return
	}
	c.refreshState()
	c.runData(d)
	if c.ctx.Err() == nil { // otherwise Close or Export ended the association
		c.end(StateClosed, ErrRemoteClosed, true)
	}
}

// fail ends the connection for good but leaves it to its owner to close.
func (c *Conn) fail(err error) {
	if c.ctx.Err() != nil {
		err = ErrClosed
	}
	c.log.Debug("connection failed", "error", err)
	c.end(StateFailed, err, true)
}

// connectDTLS runs the handshake, or resumes a state without one.
func (c *Conn) connectDTLS() (*dtls.Conn, error) {
	c.iceMu.Lock()
	state, fingerprints := c.resume, c.remote.fingerprints
	c.iceMu.Unlock()

	var mismatch error
	verify := func(certs [][]byte, _ [][]*x509.Certificate) error {
		if len(certs) == 0 {
			mismatch = fmt.Errorf("%w: no certificate", ErrFingerprint)
		} else {
			mismatch = verifyFingerprints(fingerprints, certs[0])
		}
		return mismatch
	}
	d, err := c.newDTLS(state, verify)
	if err != nil {
		return nil, fmt.Errorf("DTLS: %w", err)
	}
	c.iceMu.Lock()
	if c.gone {
		c.iceMu.Unlock()
		_ = d.Close()
		return nil, ErrClosed
	}
	c.dtls = d
	c.iceMu.Unlock()

	ctx, cancel := context.WithTimeout(c.ctx, c.host.cfg.ConnectTimeout)
	defer cancel()
	if err := d.HandshakeContext(ctx); err != nil {
		if mismatch != nil {
			err = mismatch
		}
		_ = d.Close()
		return nil, fmt.Errorf("DTLS handshake: %w", err)
	}
	return d, nil
}

func (c *Conn) newDTLS(state *dtls.State, verify func([][]byte, [][]*x509.Certificate) error) (*dtls.Conn, error) {
	pc, log := recordConn{c}, pionLog{log: c.log}
	if state != nil {
		return dtls.ResumeWithOptions(state, pc, recordAddr{},
			dtls.WithCertificates(c.host.cert), dtls.WithMTU(c.host.cfg.MTU), dtls.WithLoggerFactory(log))
	}
	return dtls.ServerWithOptions(pc, recordAddr{},
		dtls.WithCertificates(c.host.cert),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		// The certificate is self-signed; the SDP fingerprint is what vouches
		// for it (RFC 8827 section 6.5).
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(verify),
		// ICE has proved the address already, so a cookie would only cost a
		// round trip.
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithSRTPProtectionProfiles(srtpProfiles()...),
		dtls.WithFlightInterval(dtlsFlight),
		dtls.WithMTU(c.host.cfg.MTU),
		dtls.WithLoggerFactory(log),
	)
}

// secure takes the SRTP keys of a fresh association into use. A resumed one
// has them from Resume, with the indexes that were used already: starting them
// afresh would use those again.
func (c *Conn) secure(d *dtls.Conn) error {
	c.iceMu.Lock()
	resumed := c.resume != nil
	c.iceMu.Unlock()
	if resumed {
		return nil
	}
	profile, ok := d.SelectedSRTPProtectionProfile()
	if !ok {
		return errors.New("DTLS handshake: client negotiated no SRTP profile")
	}
	st, ok := d.ConnectionState()
	if !ok {
		return errors.New("DTLS handshake: no connection state")
	}
	keys, err := deriveKeys(&st, profile)
	if err != nil {
		return err
	}
	out, err := newSRTPSender(keys)
	if err != nil {
		return err
	}
	in, err := newSRTPReceiver(keys)
	if err != nil {
		return err
	}
	c.install(out, in)
	return nil
}

// install makes media flow and delivers what was held.
func (c *Conn) install(out *srtpSender, in *srtpReceiver) {
	c.sendMu.Lock()
	c.out = out
	c.sendMu.Unlock()
	c.secured.Store(true)
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	c.in = in
	held := c.held
	c.held = nil
	for _, h := range held {
		c.receive(h.kind, h.data, h.pair, h.at)
	}
}
