package codec

// bitReader reads big-endian bit fields. After the first read past the end it
// returns zeros and failed stays set, so that callers check once at the end.
type bitReader struct {
	buf    []byte
	pos    int // in bits
	failed bool
}

// bit reads one bit.
func (r *bitReader) bit() bool { return r.bits(1) == 1 }

// bits reads n bits, n <= 32.
func (r *bitReader) bits(n int) uint32 {
	if r.failed || r.pos+n > len(r.buf)*8 {
		r.failed = true
		return 0
	}
	var v uint64
	for n > 0 {
		free := 8 - r.pos&7
		take := min(free, n)
		chunk := r.buf[r.pos>>3] >> (free - take) & (1<<take - 1)
		v = v<<take | uint64(chunk)
		r.pos += take
		n -= take
	}
	return uint32(v)
}

// skip passes over n bits.
func (r *bitReader) skip(n int) {
	if r.failed || n < 0 || r.pos+n > len(r.buf)*8 {
		r.failed = true
		return
	}
	r.pos += n
}

// nonSymmetric reads a value in [0, n) in the ns(n) code of AV1 (4.10.7).
func (r *bitReader) nonSymmetric(n uint32) uint32 {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	if w == 0 {
		return 0
	}
	m := uint32(1)<<w - n
	v := r.bits(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.bits(1)
}

// expGolomb reads an unsigned Exp-Golomb value, ue(v) of H.264 and H.265 and
// uvlc() of AV1.
func (r *bitReader) expGolomb() uint32 {
	zeros := 0
	for !r.bit() {
		zeros++
		if zeros > 31 || r.failed {
			r.failed = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// signedExpGolomb reads se(v).
func (r *bitReader) signedExpGolomb() int32 {
	v := r.expGolomb()
	if v&1 == 1 {
		return int32(v>>1) + 1
	}
	return -int32(v >> 1)
}

// leb128 reads an unsigned little-endian base-128 value of at most 5 bytes and
// returns it with its length, or length 0 when it is broken.
func leb128(b []byte) (v uint32, n int) {
	var x uint64
	for n < 5 && n < len(b) {
		x |= uint64(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1]&0x80 == 0 {
			if x > 1<<32-1 {
				return 0, 0
			}
			return uint32(x), n
		}
	}
	return 0, 0
}
