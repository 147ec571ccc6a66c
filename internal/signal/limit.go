package signal

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxTracked bounds the memory of the limiter, whoever knocks.
const maxTracked = 50_000

// joinLimiter holds each address to a rate of joins.
type joinLimiter struct {
	limit rate.Limit
	burst int

	mu    sync.Mutex
	byIP  map[string]*rate.Limiter
	swept time.Time
}

func newJoinLimiter(perSecond float64, burst int) *joinLimiter {
	return &joinLimiter{limit: rate.Limit(perSecond), burst: burst, byIP: map[string]*rate.Limiter{}}
}

// allow reports whether address may join now.
func (l *joinLimiter) allow(address string, now time.Time) bool {
	if l.limit <= 0 {
		return true
	}
	address = network(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > time.Minute || len(l.byIP) > maxTracked {
		l.sweep(now)
	}
	lim := l.byIP[address]
	if lim == nil {
		lim = rate.NewLimiter(l.limit, l.burst)
		l.byIP[address] = lim
	}
	return lim.AllowN(now, 1)
}

// network is what one client holds: an IPv4 address, or an IPv6 network of 64
// bits, of which any host can use every address.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// sweep forgets addresses that have their whole burst again.
func (l *joinLimiter) sweep(now time.Time) {
	l.swept = now
	for ip, lim := range l.byIP {
		if lim.TokensAt(now) >= float64(l.burst) {
			delete(l.byIP, ip)
		}
	}
	if len(l.byIP) > maxTracked {
		clear(l.byIP) // a flood from everywhere: better to forget than to grow
	}
}
