// Package sim runs the cluster brain in virtual time: the same placement and
// autoscaling functions as the live cluster, over made-up or recorded work.
//
// It owns scenario files, synthetic workloads and CSV traces, the discrete
// event loop with node launch times, failures, lost and late reports, the
// figures that policies are compared by, and their output as text, JSON and
// HTML. It also replays recorded decisions. It does no I/O: texts come in and
// go out as values. The same scenario and seed give the same bytes.
//
// Start reading at [Run] in engine.go; [Parse] in parse.go is the scenario
// language.
package sim
