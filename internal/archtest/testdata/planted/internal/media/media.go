package media

import (
	"example.com/planted/internal/core"   // planted
	"example.com/planted/internal/middle" // planted
)

var _ = core.Now
var _ = middle.X
