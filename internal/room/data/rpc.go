package data

import "sync"

// Calls are RPCs under way that the server has made. Answers come by the data
// goroutine of the participant called, which never waits for the room. Safe for
// concurrent use; the zero value is ready.
type Calls struct {
	mu   sync.Mutex
	byID map[string]call
}

type call struct {
	sid    string // of the participant called
	answer chan Result
}

// Result is how an RPC ended.
type Result struct {
	Payload string
	Err     error
}

// Begin notes a call to a participant. Its result comes once, unless [Calls.End]
// is called before.
func (c *Calls) Begin(id, sid string) <-chan Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[string]call{}
	}
	answer := make(chan Result, 1)
	c.byID[id] = call{sid, answer}
	return answer
}

// End forgets a call.
func (c *Calls) End(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// Settle ends the call with that id; false when no such call was made to that
// participant.
func (c *Calls) Settle(id, sid string, r Result) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, ok := c.byID[id]
	if !ok || call.sid != sid {
		return false
	}
	delete(c.byID, id)
	call.answer <- r
	return true
}

// Abandon ends the calls to a participant, or all of them when sid is empty.
func (c *Calls) Abandon(sid string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, call := range c.byID {
		if sid == "" || call.sid == sid {
			delete(c.byID, id)
			call.answer <- Result{Err: err}
		}
	}
}

// Pending returns the ids of the calls under way.
func (c *Calls) Pending() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, 0, len(c.byID))
	for id := range c.byID {
		out = append(out, id)
	}
	return out
}
