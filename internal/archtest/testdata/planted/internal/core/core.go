// Package core is pure, or should be.
package core

import (
	"context"  // planted
	"log/slog" // planted
	"math/rand/v2"
	"net/http" // planted
	"net/netip"
	"sync/atomic" // planted
	"time"
)

// Now reads the clock.
func Now(context.Context, *slog.Logger, http.Header, netip.Addr, *atomic.Bool) time.Time {
	go func() {}()    // planted
	time.Sleep(1)     // planted
	return time.Now() // planted
}

// Luck is not seeded, then seeded.
func Luck(seed uint64) int {
	r := rand.New(rand.NewPCG(seed, 0))
	return rand.IntN(3) + r.IntN(3) // planted
}

// Fine takes now. The local variable is not the package.
func Fine(now time.Time) time.Duration {
	time := fake{}
	return time.Now().Sub(now)
}

type fake struct{}

// Now is a method, not the clock.
func (fake) Now() time.Time { return time.Time{} }
