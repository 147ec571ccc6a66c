// Package middle has variables.
package middle

import (
	_ "embed"
	"errors"
	_ "image/png"
	_ "net/http/pprof" // planted
	"regexp"
	"sync"
	"testing" // planted
)

// X is documented.
const X = 1

// ErrFine is an error.
var ErrFine = errors.New("fine")

//go:embed middle.go
var source string

var (
	_          interface{}         = nil
	expression                     = regexp.MustCompile("x")
	table                          = [...]int{1, 2}
	written                        = map[string]int{} // planted
	pool       sync.Pool                              // planted
	addressed  = struct{ a int }{}                    // planted
	shadowed   = []int{1}
	clock      = testing.Short // planted
)

// Exported could be changed.
var Exported = []int{1} // planted

func init() { // planted
	written["a"] = 1
}

// Use uses them.
func Use() (any, any) {
	p := &addressed.a
	shadowed := []int{2}
	shadowed[0] = 3
	*p = table[0]
	return source, expression
}
