//go:build !noconsole

package console

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var embedded embed.FS

// Dist is the built pages: meet.html, console.html and assets/. It is nil
// when the binary was built with the tag noconsole. Do not assign to it.
var Dist = sub(embedded)

// sub cannot fail: the path is constant and valid.
func sub(files embed.FS) fs.FS {
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		panic(err)
	}
	return dist
}
