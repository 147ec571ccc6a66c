package bus

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Version is that of the messages that this program sends. It rises when a
// message changes its meaning, not when one gains a field: unknown fields are
// ignored. A receiver reads its own version and all earlier ones, and refuses
// later ones with [ErrVersion]; so masters are upgraded last.
const Version = 1

// A message is one byte for the codec, the version as a varint, and the body.
const (
	codecJSON  = 'J'
	codecProto = 'P'
)

// encode writes a value as protobuf if it is a message of it, else as JSON.
func encode(v any) ([]byte, error) {
	head := binary.AppendUvarint([]byte{codecJSON}, Version)
	if m, ok := v.(proto.Message); ok {
		head[0] = codecProto
		out, err := proto.MarshalOptions{}.MarshalAppend(head, m)
		if err != nil {
			return nil, fmt.Errorf("encode %T: %w", v, err)
		}
		return out, nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return append(head, body...), nil
}

// decode reads what encode wrote. T is a protobuf message by pointer, or
// anything that JSON takes.
func decode[T any](data []byte) (T, error) {
	var v T
	codec, body, err := open(data)
	if err != nil {
		return v, err
	}
	if m, ok := any(v).(proto.Message); ok {
		if codec != codecProto {
			return v, fmt.Errorf("%w: codec %q for %T", ErrMalformed, codec, v)
		}
		m = reflect.New(reflect.TypeOf(m).Elem()).Interface().(proto.Message)
		if err := proto.Unmarshal(body, m); err != nil {
			return v, fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
		}
		return m.(T), nil
	}
	if codec != codecJSON {
		return v, fmt.Errorf("%w: codec %q for %T", ErrMalformed, codec, v)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	return v, nil
}

// open returns the codec and the body of a message.
func open(data []byte) (codec byte, body []byte, err error) {
	if len(data) < 2 {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	version, n := binary.Uvarint(data[1:])
	switch {
	case n <= 0 || version == 0:
		return 0, nil, fmt.Errorf("%w: version", ErrMalformed)
	case version > Version:
		return 0, nil, fmt.Errorf("%w: %d, ours is %d", ErrVersion, version, Version)
	}
	return data[0], data[1+n:], nil
}
