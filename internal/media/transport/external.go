package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// stunRetry is how long one request waits before it is sent again.
const stunRetry = 300 * time.Millisecond

// externalAddr asks STUN servers in order, from the media socket itself, for
// the address they see (RFC 8489 section 2).
func externalAddr(ctx context.Context, c *net.UDPConn, servers []string) (netip.Addr, error) {
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	var errs []error
	for i, server := range servers {
		// Each server gets an equal share of the time that is left.
		deadline, _ := ctx.Deadline()
		share := time.Until(deadline) / time.Duration(len(servers)-i)
		sub, cancel := context.WithTimeout(ctx, share)
		a, err := askSTUN(sub, c, server)
		cancel()
		if err == nil {
			return a, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, err))
	}
	if len(errs) == 0 {
		return netip.Addr{}, errors.New("no STUN servers")
	}
	return netip.Addr{}, errors.Join(errs...)
}

func askSTUN(ctx context.Context, c *net.UDPConn, server string) (netip.Addr, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return netip.Addr{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.Addr{}, err
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
	if err != nil {
		return netip.Addr{}, err
	}
	req, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.Addr{}, err
	}
	buf := make([]byte, maxDatagram)
	for ctx.Err() == nil {
		if _, err := c.WriteToUDPAddrPort(req.Raw, to); err != nil {
			return netip.Addr{}, err
		}
		_ = c.SetReadDeadline(time.Now().Add(stunRetry))
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != to {
				continue
			}
			if a, ok := mappedAddr(buf[:n], req.TransactionID); ok {
				return a, nil
			}
		}
	}
	return netip.Addr{}, ctx.Err()
}

// mappedAddr reads the answer to the request with the given transaction.
func mappedAddr(b []byte, id [stun.TransactionIDSize]byte) (netip.Addr, bool) {
	m := &stun.Message{Raw: b}
	if !stun.IsMessage(b) || m.Decode() != nil || m.Type != stun.BindingSuccess || m.TransactionID != id {
		return netip.Addr{}, false
	}
	var x stun.XORMappedAddress
	if x.GetFrom(m) != nil {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(x.IP)
	return a.Unmap(), ok
}
