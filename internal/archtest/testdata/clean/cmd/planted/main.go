// Command planted is the program.
package main

import "example.com/planted/internal/middle"

func main() { _, _ = middle.Read() }
