package room

import "sync/atomic"

// Totals counts what happened on this node since it started.
type Totals struct {
	RoomsStarted, RoomsFinished          atomic.Int64
	ParticipantsJoined, ParticipantsLeft atomic.Int64
	ParticipantsAborted                  atomic.Int64
	Resumes, FullReconnects, Moves       atomic.Int64
	TracksPublished                      atomic.Int64
	DataPackets, DataBytes               atomic.Int64
	DataDropped                          atomic.Int64
	BadMessages                          atomic.Int64
	SlowClients                          atomic.Int64
}
