//go:build noconsole

package console

import "io/fs"

// Dist is nil: this binary was built without the pages.
var Dist fs.FS
