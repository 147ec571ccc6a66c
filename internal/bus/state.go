package bus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The state of a cluster as text: one JSON object a line. The first is the
// header, then every record, event and task, then a footer with their number,
// so that a file that was cut off is noticed.

// stateFormat names the format and its version.
const stateFormat = "concertina state 1"

// stateLine is one line. Which fields it has says what it is.
type stateLine struct {
	Format string    `json:"format,omitempty"` // header
	At     time.Time `json:"at,omitzero"`      // header: when it was written

	Bucket string `json:"bucket,omitempty"` // record
	Key    string `json:"key,omitempty"`

	Stream  string `json:"stream,omitempty"` // event or task
	Subject string `json:"subject,omitempty"`
	ID      string `json:"id,omitempty"`
	Reason  string `json:"reason,omitempty"` // of a task that was given up

	Value []byte `json:"value,omitempty"`
	End   *int   `json:"end,omitempty"` // footer: how many lines lie between
}

// ErrNotEmpty: an import needs a cluster without records and events.
var ErrNotEmpty = errors.New("there is state already")

// Export writes every record, event and task. What is written meanwhile may or
// may not be in it, so export a cluster whose control loop rests, or a stopped
// one. Leases are not state. Masters only.
func (b *Bus) Export(ctx context.Context, w io.Writer) error {
	if !b.cfg.master() {
		return fmt.Errorf("export: %w", ErrDenied)
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	if err := enc.Encode(stateLine{Format: stateFormat, At: time.Now().UTC()}); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	n := 0
	put := func(l stateLine) error {
		n++
		return enc.Encode(l)
	}
	for _, name := range recordBuckets() {
		err := b.eachMessage(ctx, "KV_"+name, ">", func(m *jetstream.RawStreamMsg) error {
			if gone(m.Header) {
				return nil
			}
			return put(stateLine{Bucket: name, Key: m.Subject[len("$KV."+name+"."):], Value: m.Data})
		})
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	for _, name := range []string{StreamEvents, StreamWork, StreamDead} {
		err := b.eachMessage(ctx, name, ">", func(m *jetstream.RawStreamMsg) error {
			return put(stateLine{
				Stream: name, Subject: m.Subject, ID: m.Header.Get(jetstream.MsgIDHeader),
				Reason: m.Header.Get(headerReason), Value: m.Data,
			})
		})
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if err := enc.Encode(stateLine{End: &n}); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// eachMessage tells every message of a stream that is there now, in order.
func (b *Bus) eachMessage(ctx context.Context, stream, filter string, tell func(*jetstream.RawStreamMsg) error) error {
	bounded, cancel := b.bound(ctx)
	defer cancel()
	s, err := b.js.Stream(bounded, stream)
	if err != nil {
		return explain(stream, err)
	}
	last := s.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		bounded, cancel := b.bound(ctx)
		opts := []jetstream.GetMsgOpt{jetstream.WithGetMsgSubject(filter)}
		m, err := s.GetMsg(bounded, seq, opts...) // the next of the filter from seq on
		cancel()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return explain(stream, err)
		}
		if m.Sequence > last {
			return nil
		}
		if err := tell(m); err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		seq = m.Sequence
	}
	return nil
}

// ReadState checks a state as [Bus.Export] writes it, without importing it,
// and returns the number of its records, events and tasks.
func ReadState(r io.Reader) (int, error) {
	return readState(r, func(stateLine) error { return nil })
}

// maxStateLine bounds a line: a message of 1 MiB in base64, and its names.
const maxStateLine = 2 << 20

func readState(r io.Reader, tell func(stateLine) error) (n int, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxStateLine)
	ended := false
	for line := 1; in.Scan(); line++ {
		var l stateLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return n, fmt.Errorf("state line %d: %w: %w", line, ErrMalformed, err)
		}
		switch {
		case ended:
			return n, fmt.Errorf("state line %d: %w: after the end", line, ErrMalformed)
		case line == 1:
			if l.Format != stateFormat {
				return n, fmt.Errorf("state: %w: format %q is not %q", ErrMalformed, l.Format, stateFormat)
			}
			continue
		case l.End != nil:
			if ended = true; *l.End != n {
				return n, fmt.Errorf("state: %w: %d of %d entries", ErrMalformed, n, *l.End)
			}
			continue
		}
		if err := l.check(); err != nil {
			return n, fmt.Errorf("state line %d: %w", line, err)
		}
		if err := tell(l); err != nil {
			return n, fmt.Errorf("state line %d: %w", line, err)
		}
		n++
	}
	if err := in.Err(); err != nil {
		return n, fmt.Errorf("state: %w", err)
	}
	if !ended {
		return n, fmt.Errorf("state: %w: it has no end", ErrMalformed)
	}
	return n, nil
}

// Import writes what [Bus.Export] wrote into a cluster without records, events
// and tasks: [ErrNotEmpty]. It checks all of the text before it writes
// anything. The cluster gets the id of the exported one, and the counts of
// fences go on from there. An import that failed half-way can be repeated only
// with a new data directory. The events' times are those of the import; what an
// event says itself is unchanged. Masters only.
func (b *Bus) Import(ctx context.Context, r io.ReadSeeker) error {
	if !b.cfg.master() {
		return fmt.Errorf("import: %w", ErrDenied)
	}
	if err := b.Ready(ctx); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := b.checkEmpty(ctx); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := b.importState(ctx, r); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// importState checks and writes a state. It can be repeated: what is there
// stays.
func (b *Bus) importState(ctx context.Context, r io.ReadSeeker) error {
	if _, err := ReadState(r); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var origin *stateLine
	_, err := readState(r, func(l stateLine) error {
		switch {
		case l.Bucket == BucketCluster && l.Key == originKey:
			origin = &l // last: it says that all is there
			return nil
		case l.Bucket == BucketCluster && l.Key == growthKey:
			return nil
		case strings.HasPrefix(l.Key, fencePrefix):
			return b.importFence(ctx, l)
		}
		return b.importLine(ctx, l)
	})
	if err != nil || origin == nil {
		return err
	}
	o, err := decode[Origin](origin.Value)
	if err != nil {
		return err
	}
	_, err = NewRecords[Origin](b, BucketCluster, "").Put(ctx, originKey, o)
	return err
}

// importFence makes a fence's count go on from the exported one.
func (b *Bus) importFence(ctx context.Context, l stateLine) error {
	theirs, err := decode[fenceRecord](l.Value)
	if err != nil {
		return err
	}
	fences := NewRecords[fenceRecord](b, l.Bucket, "")
	ours, rev, err := fences.Get(ctx, l.Key)
	if errors.Is(err, ErrNotFound) {
		return b.importLine(ctx, l)
	}
	if err != nil || ours.Epoch >= theirs.Epoch {
		return err
	}
	_, err = fences.Update(ctx, l.Key, theirs, rev)
	return err
}

// check reports a line that is none of ours.
func (l stateLine) check() error {
	switch {
	case l.Format != "" || !l.At.IsZero():
		return fmt.Errorf("%w: a second header", ErrMalformed)
	case (l.Bucket == "") == (l.Stream == ""):
		return fmt.Errorf("%w: neither record nor event", ErrMalformed)
	case l.Bucket != "":
		if !slices.Contains(recordBuckets(), l.Bucket) || !recordKey.MatchString(l.Key) {
			return fmt.Errorf("%w: bucket %q, key %q", ErrMalformed, l.Bucket, l.Key)
		}
	default:
		if !streamSubject.MatchString(l.Stream + " " + l.Subject) {
			return fmt.Errorf("%w: stream %q, subject %q", ErrMalformed, l.Stream, l.Subject)
		}
	}
	if _, _, err := open(l.Value); err != nil {
		return err
	}
	return nil
}

var (
	recordKey     = regexp.MustCompile(`^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*$`)
	streamSubject = regexp.MustCompile(`^(EVENTS event\.[A-Za-z0-9_-]+|WORK work|DEAD dead)\.[A-Za-z0-9_-]+$`)
)

// checkEmpty looks for anything but what a cluster has from its first second.
func (b *Bus) checkEmpty(ctx context.Context) error {
	names := []string{StreamEvents, StreamWork, StreamDead}
	for _, bucket := range recordBuckets() {
		names = append(names, "KV_"+bucket)
	}
	for _, name := range names {
		err := b.eachMessage(ctx, name, ">", func(m *jetstream.RawStreamMsg) error {
			key := strings.TrimPrefix(m.Subject, "$KV."+BucketCluster+".")
			if key == originKey || key == growthKey || strings.HasPrefix(key, fencePrefix) || gone(m.Header) {
				return nil
			}
			return ErrNotEmpty
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// importLine writes a line once: a record that is there stays, and streams
// know the ids that they have.
func (b *Bus) importLine(ctx context.Context, l stateLine) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if l.Bucket != "" {
		_, err := b.js.Publish(ctx, "$KV."+l.Bucket+"."+l.Key, l.Value, jetstream.WithExpectLastSequencePerSubject(0))
		if wrongSequence(err) {
			return nil
		}
		return explain(l.Key, err)
	}
	m := nats.NewMsg(l.Subject)
	m.Data = l.Value
	if l.ID != "" {
		m.Header.Set(jetstream.MsgIDHeader, l.ID)
	}
	if l.Reason != "" {
		m.Header.Set(headerReason, l.Reason)
	}
	_, err := b.js.PublishMsg(ctx, m, jetstream.WithExpectStream(l.Stream))
	return explain(l.Subject, err)
}
