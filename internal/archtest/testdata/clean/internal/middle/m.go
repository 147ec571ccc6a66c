// Package middle does the rest.
package middle

import (
	"errors"
	"os"

	"example.com/planted/internal/core"
)

// ErrNone is an error.
var ErrNone = errors.New("none")

// Read reads.
func Read() ([]byte, error) { _ = core.Add; return os.ReadFile("x") }
