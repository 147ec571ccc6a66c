package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a number with an optional unit:
// 64000, 64kB (1000), 64KiB (1024), 10MB, 10MiB, 1GB, 1GiB.
type Size int64

// sizeUnits is ordered from large to small, binary before decimal.
var sizeUnits = [...]struct {
	suffix string
	factor int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// UnmarshalText parses the text form.
func (s *Size) UnmarshalText(text []byte) error {
	num, factor := strings.ReplaceAll(string(text), "_", ""), int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(num, u.suffix); ok {
			num, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	switch {
	case err != nil:
		return errors.New("not a size")
	case n > math.MaxInt64/factor || n < math.MinInt64/factor:
		return errors.New("size is too large")
	}
	*s = Size(n * factor)
	return nil
}

// MarshalText returns the shortest exact form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the shortest exact form, for example 64KiB.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.factor == 0 && u.factor > 1 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Expected describes the text form.
func (*Size) Expected() string { return "a size such as 64000, 64kB or 2MiB" }
