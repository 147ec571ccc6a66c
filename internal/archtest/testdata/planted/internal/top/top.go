// Package wrongname does not start right.
package top // planted

import (
	"example.com/planted/console"
	"example.com/planted/internal/core"
	"example.com/planted/internal/kind/a"
	"example.com/planted/internal/middle"
)

// Big has too many methods.
type Big interface { // planted
	Small
	B()
}

// Small is within the budget.
type Small interface {
	A()
	C()
}

// Long is too long.
func Long() { // planted
	_ = console.X
	_ = core.Now
	_ = a.X
	_ = middle.X
	_ = 1
	_ = 2
	_ = 3
	_ = 4
	_ = 5
}

func A() {}

type B struct{}

// M is documented.
func (B) M() {}

func (B) N() {}
