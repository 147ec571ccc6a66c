// Package console is a leaf.
package console

// X is documented.
const X = 1
