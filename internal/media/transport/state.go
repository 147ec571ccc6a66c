package transport

import "time"

// State returns the present state.
func (c *Conn) State() State {
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	return c.state
}

// Err says why the connection is Failed or Closed, and is nil before.
func (c *Conn) Err() error {
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	return c.err
}

// tick runs the timers. now is the host clock.
func (c *Conn) tick(now int64) {
	c.iceMu.Lock()
	c.expirePairs(now)
	c.iceMu.Unlock()
	switch s := c.State(); s {
	case StateNew, StateConnecting:
		if time.Duration(now-c.created) > c.host.cfg.ConnectTimeout {
			c.end(StateFailed, ErrTimeout, false)
		}
	case StateConnected, StateDisconnected:
		if time.Duration(now-c.lastSeen.Load()) > c.host.cfg.DisconnectedAfter {
			c.quiet.Store(true)
		}
		c.refreshState()
	}
}

// refreshState works out the state from what is known and announces a change.
func (c *Conn) refreshState() {
	silence := time.Duration(c.host.clock(time.Now()) - c.lastSeen.Load())
	s, err := StateNew, error(nil)
	switch known := c.selected.Load() != nil; {
	case known && c.secured.Load() && c.quiet.Load() && silence > c.host.cfg.FailedAfter:
		s, err = StateFailed, ErrConsent
	case known && c.secured.Load() && c.quiet.Load():
		s = StateDisconnected
	case known && c.secured.Load():
		s = StateConnected
	case known:
		s = StateConnecting
	}
	c.setState(s, err)
}

// setState announces a change of state. Closed is final, and so is every
// failure but silence.
func (c *Conn) setState(s State, err error) {
	c.stateMu.Lock()
	final := c.state == StateClosed || c.state == StateFailed && c.err != ErrConsent && s != StateClosed
	if final || c.state == s {
		c.stateMu.Unlock()
		return
	}
	if s != StateClosed || c.err == nil || c.err == ErrConsent {
		c.err = err // closing a failed connection keeps the reason
	}
	c.state = s
	c.events = append(c.events, s)
	if c.draining {
		c.stateMu.Unlock()
		return // whoever is draining delivers it, in order
	}
	c.draining = true
	for len(c.events) > 0 {
		next := c.events[0]
		c.events = c.events[1:]
		c.stateMu.Unlock()
		c.handler.OnState(next)
		c.stateMu.Lock()
	}
	c.draining = false
	c.stateMu.Unlock()
}
