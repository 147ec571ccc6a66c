package peer

import "sync"

// eventQueue calls functions one after the other on a goroutine that lives only
// while there are some.
type eventQueue struct {
	mu      sync.Mutex
	list    []func()
	running bool
	closed  bool
	wg      sync.WaitGroup
}

// post queues f. After close it is dropped.
func (q *eventQueue) post(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.list = append(q.list, f)
	if !q.running {
		q.running = true
		q.wg.Go(q.run)
	}
}

func (q *eventQueue) run() {
	for {
		q.mu.Lock()
		if len(q.list) == 0 || q.closed {
			q.running, q.list = false, nil
			q.mu.Unlock()
			return
		}
		f := q.list[0]
		q.list = q.list[1:]
		q.mu.Unlock()
		f()
	}
}

// close drops what is queued and waits for the call under way.
func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wg.Wait()
}
