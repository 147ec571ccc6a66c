package room

import (
	"sync"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Message is one signal response on its way to one or many clients. Each
// encoding is made once, however many clients receive it. The response must
// not be changed after the message is sent.
type Message struct {
	Response *livekit.SignalResponse

	binOnce, textOnce sync.Once
	bin, text         []byte
	binErr, textErr   error
}

// NewMessage wraps r.
func NewMessage(r *livekit.SignalResponse) *Message { return &Message{Response: r} }

// Binary returns the protobuf encoding.
func (m *Message) Binary() ([]byte, error) {
	m.binOnce.Do(func() { m.bin, m.binErr = proto.Marshal(m.Response) })
	return m.bin, m.binErr
}

// Text returns the protojson encoding, for clients that speak text frames.
func (m *Message) Text() ([]byte, error) {
	m.textOnce.Do(func() { m.text, m.textErr = protojson.Marshal(m.Response) })
	return m.text, m.textErr
}

// Sink is a client's signal connection. Send queues and never blocks; it fails
// when the queue is full or the connection is gone. Close closes the
// connection after what is queued has been written; it does not wait.
type Sink interface {
	Send(m *Message) error
	Close(reason string)
}
