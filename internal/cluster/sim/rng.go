package sim

import "math"

// rng is splitmix64: small, seeded, and the same on every machine and with
// every version of Go.
type rng struct{ state uint64 }

// newRNG returns a stream of its own for each purpose, so that more draws for
// one do not change another.
func newRNG(seed uint64, purpose string) *rng {
	for i := range len(purpose) {
		seed = (seed ^ uint64(purpose[i])) * 1099511628211
	}
	r := &rng{seed}
	r.next()
	return r
}

func (r *rng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float is in [0, 1).
func (r *rng) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// intn is in [0, n).
func (r *rng) intn(n int) int { return int(r.next() % uint64(n)) }

// exp is exponential with mean 1, at most 4.
func (r *rng) exp() float64 { return min(-math.Log(1-r.float()), 4) }
