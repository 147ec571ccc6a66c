package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Origin says where the state of a cluster comes from. It is written once,
// before anything else may be read or written: several masters that start
// together must not take for empty what one of them is about to bring along.
type Origin struct {
	// Cluster is the cluster's id, made up when it was founded. It survives
	// export and import.
	Cluster string `json:"cluster"`
	// Founded is when, by a master's clock.
	Founded time.Time `json:"founded"`
}

// originKey is in [BucketCluster]; it is not a record of the leader's.
const originKey = "origin"

// askOrigin is where a master asks all masters whether they bring state along.
const askOrigin = "cluster.origin"

// originAnswer is a master's answer.
type originAnswer struct {
	Node  string `json:"node"`
	State bool   `json:"state"`
}

// Origin returns where the cluster's state comes from, once the bus is
// [Bus.Ready].
func (b *Bus) Origin(ctx context.Context) (Origin, error) {
	o, _, err := NewRecords[Origin](b, BucketCluster, "").Get(ctx, originKey)
	return o, err
}

// ensureOrigin returns nil when there is an origin. A master helps to make one.
func (b *Bus) ensureOrigin(ctx context.Context) error {
	_, err := b.Origin(ctx)
	if !b.cfg.master() || err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	switch {
	case b.grown != nil:
		if err := b.grown.finish(ctx, b, err == nil); err != nil {
			return err
		}
		b.grown = nil
		return b.ensureOrigin(ctx)
	case err == nil:
		return nil
	}
	if err := b.mayFound(ctx); err != nil {
		return err
	}
	return b.found(ctx, Origin{Cluster: "clu_" + rand.Text()[:10], Founded: time.Now().UTC()})
}

// found writes the origin. Somebody else's is as good.
func (b *Bus) found(ctx context.Context, o Origin) error {
	_, err := NewRecords[Origin](b, BucketCluster, "").Create(ctx, originKey, o)
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// errFounding: not all masters have said that they bring no state.
var errFounding = errors.New("the cluster begins when all masters are there once")

// foundWait is how long masters have to answer.
const foundWait = time.Second

// mayFound returns nil when every master is here and none brings state.
func (b *Bus) mayFound(ctx context.Context) error {
	inbox := b.conn.nc.NewInbox()
	answers, err := b.conn.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }() // it can only have ended already
	if err := b.conn.nc.PublishRequest(askOrigin, inbox, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, foundWait)
	defer cancel()
	var nodes []string
	for len(nodes) < b.cfg.Server.Masters {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("%w: %d of %d", errFounding, len(nodes), b.cfg.Server.Masters)
		}
		var a originAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if a.State {
			return fmt.Errorf("%w: %s brings state along", errFounding, a.Node)
		}
		if !slices.Contains(nodes, a.Node) {
			nodes = append(nodes, a.Node)
		}
	}
	return nil
}

// answerOrigin tells other masters whether this one brings state along.
func (b *Bus) answerOrigin(state bool) error {
	data, err := json.Marshal(originAnswer{b.cfg.Node, state})
	if err != nil {
		return err
	}
	_, err = subscribe(b, askOrigin, "", func(m *nats.Msg) {
		// Who asks does so again.
		_ = b.conn.nc.Publish(m.Reply, data)
	})
	return err
}
