package sim

// The kinds of events, in the order in which they happen at one moment: what
// ends comes before what starts, reports follow, then the autoscaler decides
// on what was reported, and figures are taken last.
type kind uint8

const (
	evTerminated kind = iota // a terminating node is gone
	evLaunched               // a launch completes
	evFault                  // something goes wrong
	evDetected               // a crash is noticed
	evReserve                // capacity is asked for ahead
	evEnd                    // a session ends
	evArrival                // a session starts (kept outside the queue)
	evReport                 // a node reports
	evDelivered              // a late report arrives
	evTick                   // the autoscaler decides
	evSample                 // figures are taken
)

// event is something to happen. What ref means depends on the kind.
type event struct {
	at   int64 // nanoseconds since the start
	seq  uint64
	ref  int32
	kind kind
}

func (e event) before(f event) bool {
	if e.at != f.at {
		return e.at < f.at
	}
	if e.kind != f.kind {
		return e.kind < f.kind
	}
	return e.seq < f.seq
}

// queue is a binary heap of events. Events of one moment and kind keep the
// order in which they were pushed.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(at int64, k kind, ref int32) {
	q.seq++
	q.heap = append(q.heap, event{at, q.seq, ref, k})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(q.heap[up]) {
			return
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

// peek is the next event; ok is false when there is none.
func (q *queue) peek() (e event, ok bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	return q.heap[0], true
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return top
		}
		if r := c + 1; r < last && q.heap[r].before(q.heap[c]) {
			c = r
		}
		if !q.heap[c].before(q.heap[i]) {
			return top
		}
		q.heap[i], q.heap[c] = q.heap[c], q.heap[i]
		i = c
	}
}
