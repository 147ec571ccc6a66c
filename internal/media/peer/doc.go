// Package peer is one client's media connection in a role: it negotiates which
// media section carries which track, sends every packet of the client to the
// receiver of its track, and carries the data channels.
//
// It owns the negotiation of a connection over time (package sdp only knows one
// description at a time), the allocation of sections to down tracks, the map
// from SSRC, mid and rid to tracks, and the periodic work of all connections
// ([Loop]): reports, retransmission requests, transport-wide feedback.
//
// It does not know rooms or who may receive what: a room tells it with
// [Peer.Subscribe] and [Peer.Unsubscribe] and joins the receivers and down
// tracks that it hands out. Sockets and keys are package transport, forwarding
// is package sfu.
//
// # Goroutines and locks
//
// Peer.mu serialises negotiation. Packets arrive on a socket's goroutine, which
// takes no lock of the peer: it reads an immutable table of routes and owns the
// map of latched SSRCs. [Handler] is called from a goroutine that exists only
// while there is something to tell, one at a time and in order, and never with a
// lock held; OnMessage comes from its data channel's goroutine instead.
//
// # Where to start reading
//
// peer.go (what it is made of), answer.go (the client offers), offer.go (we
// offer), route.go (a packet arrives), move.go and handover.go (the connection goes
// elsewhere).
package peer
