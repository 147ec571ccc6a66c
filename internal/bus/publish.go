package bus

import (
	"log/slog"

	"github.com/nats-io/nats.go"
)

// Message is what [Subscribe] hands over.
type Message[T any] struct {
	// Subject is what it was published on. See [NodeOf].
	Subject string
	// Value is what was published.
	Value T
}

// Publish sends a value to those who listen to the subject now. A value that
// is a protobuf message goes as one, others as JSON. In an outage the value is
// dropped and counted, and the error is [ErrOutage]: senders of what is
// repeated anyway ignore it.
func Publish[T any](b *Bus, subject string, v T) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	if err := b.conn.nc.Publish(subject, data); err != nil {
		err = explain("publish "+subject, err)
		b.conn.notSent()
		return err
	}
	return nil
}

// Subscription is what listens. Its end is that of [Subscription.Stop] or of
// the bus.
type Subscription struct {
	sub *nats.Subscription
}

// Stop ends it. A message that is being handled is not waited for.
func (s *Subscription) Stop() {
	// The only errors are that it, or its connection, has ended already.
	_ = s.sub.Unsubscribe()
}

// Subscribe calls handle for each message on subjects that match (* is one
// token, > the rest), one after the other in the order of each sender, until
// it is stopped. It survives outages; what was sent meanwhile is lost. Messages
// that cannot be read are logged and skipped. handle must not block for long:
// when 64 MB wait, messages are dropped.
func Subscribe[T any](b *Bus, subject string, handle func(Message[T])) (*Subscription, error) {
	return subscribe(b, subject, "", func(m *nats.Msg) {
		v, err := decode[T](m.Data)
		if err != nil {
			b.note.say(slog.LevelWarn, "decode "+subject, "bus message not understood", "subject", m.Subject, "error", err)
			return
		}
		handle(Message[T]{m.Subject, v})
	})
}

func subscribe(b *Bus, subject, queue string, handle nats.MsgHandler) (*Subscription, error) {
	var sub *nats.Subscription
	var err error
	if queue == "" {
		sub, err = b.conn.nc.Subscribe(subject, handle)
	} else {
		sub, err = b.conn.nc.QueueSubscribe(subject, queue, handle)
	}
	if err != nil {
		return nil, explain("subscribe "+subject, err)
	}
	return &Subscription{sub}, nil
}
