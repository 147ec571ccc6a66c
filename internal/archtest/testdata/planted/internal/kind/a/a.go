// Package a is fine.
package a

// X is documented.
const X = 1
