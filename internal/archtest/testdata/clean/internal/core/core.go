// Package core only computes.
package core

import "time"

// Add adds.
func Add(now time.Time, d time.Duration) time.Time { return now.Add(d) }
