// Package placement decides which node takes a room, a participant, an egress,
// an ingress or an agent job, whether a reservation is admitted, and whether
// everything would still fit without a node.
//
// It owns the rules and their explanation: every call says which nodes were
// considered, which were refused and why, the scores, the tie-break and the
// policy. It changes nothing and does no I/O; whoever calls it applies
// [Decision.Events] to the state, which charges the node for what was placed
// until a load report shows it. That charge is what makes bursts spread.
//
// Start reading at [Place] in place.go; grade.go says which node is better;
// [Index] in index.go gives the same answers for rooms without looking at every
// node.
package placement
