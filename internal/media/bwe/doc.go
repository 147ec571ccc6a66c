// Package bwe estimates, at the sender, how many bits per second the network to
// one viewer carries, from what the viewer reports about the packets it got.
//
// It owns the history of what was sent ([Estimator.Sent]), the reading of
// transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01),
// the detection of queues and losses, the rate control that follows from them
// (in the manner of draft-ietf-rmcat-gcc-02), and when and how much to probe. It
// does not own transport-wide sequence numbers, the padding that a probe is made
// of, pacing, nor how the estimate is divided over tracks (allocator). One
// Estimator serves one connection.
//
// The package is pure: no clock, no I/O, no locks, no goroutines. The same calls
// give the same decisions, so a trace of a connection can be run again.
//
// Start reading at [Estimator], then control.go. DESIGN.md tells how the parts
// work together and how a connection uses them.
package bwe
