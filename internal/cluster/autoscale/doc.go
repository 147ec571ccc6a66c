// Package autoscale decides how many Media Nodes there should be, and which
// ones are launched, kept, canceled or drained.
//
// It owns the published algorithm of OpenVidu Pro with its messages and its
// autoscaling event, the optional policies on top of it, and the drain order.
// It changes nothing and does no I/O: [Decide] turns a state, a policy and the
// time into a [Plan] and an [Explanation]; whoever calls it carries the plan
// out and applies [Plan.Events]. Cooldowns and history are read from the state,
// so that a new leader, a replay and a dry run decide alike.
//
// Start reading at [Decide] in decide.go: measure, target, options, pick.
package autoscale
