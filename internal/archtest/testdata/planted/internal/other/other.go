// Package other imports what it may not.
package other

import (
	"example.com/planted/console"          // planted
	"example.com/planted/internal/nowhere" // planted
	"example.com/planted/internal/top"     // planted
)

var a, b, c = console.X, nowhere.X, top.Long // planted
