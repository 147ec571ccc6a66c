package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnknownEvent is wrapped by the error of [DecodeEvent] for a kind that this
// version does not have.
var ErrUnknownEvent = errors.New("unknown event")

// envelope is an event in a recorded log.
type envelope struct {
	Kind  string          `json:"kind"`
	Event json.RawMessage `json:"event"`
}

// EncodeEvent writes an event as one JSON object: its kind and its fields.
func EncodeEvent(e Event) ([]byte, error) {
	if e == nil {
		return nil, fmt.Errorf("%w: nil", ErrUnknownEvent)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Kind(), err)
	}
	return json.Marshal(envelope{Kind: e.Kind(), Event: body})
}

// DecodeEvent reads what [EncodeEvent] wrote. Unknown fields are errors, so
// that a log of another version does not replay as something else.
func DecodeEvent(data []byte) (Event, error) {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	switch env.Kind {
	case PolicyChanged{}.Kind():
		return decodeAs[PolicyChanged](env)
	case NodeAdded{}.Kind():
		return decodeAs[NodeAdded](env)
	case NodeUpdated{}.Kind():
		return decodeAs[NodeUpdated](env)
	case NodeStatusChanged{}.Kind():
		return decodeAs[NodeStatusChanged](env)
	case NodeRemoved{}.Kind():
		return decodeAs[NodeRemoved](env)
	case LoadReported{}.Kind():
		return decodeAs[LoadReported](env)
	case RoomCreated{}.Kind():
		return decodeAs[RoomCreated](env)
	case RoomPlaced{}.Kind():
		return decodeAs[RoomPlaced](env)
	case ParticipantPlaced{}.Kind():
		return decodeAs[ParticipantPlaced](env)
	case ParticipantLeft{}.Kind():
		return decodeAs[ParticipantLeft](env)
	case RoomLeft{}.Kind():
		return decodeAs[RoomLeft](env)
	case RoomClosed{}.Kind():
		return decodeAs[RoomClosed](env)
	case JobQueued{}.Kind():
		return decodeAs[JobQueued](env)
	case JobPlaced{}.Kind():
		return decodeAs[JobPlaced](env)
	case JobEnded{}.Kind():
		return decodeAs[JobEnded](env)
	case WorkerRegistered{}.Kind():
		return decodeAs[WorkerRegistered](env)
	case WorkerReported{}.Kind():
		return decodeAs[WorkerReported](env)
	case WorkerGone{}.Kind():
		return decodeAs[WorkerGone](env)
	case ReservationAdmitted{}.Kind():
		return decodeAs[ReservationAdmitted](env)
	case ReservationBound{}.Kind():
		return decodeAs[ReservationBound](env)
	case ReservationReleased{}.Kind():
		return decodeAs[ReservationReleased](env)
	case TimePassed{}.Kind():
		return decodeAs[TimePassed](env)
	case Scaled{}.Kind():
		return decodeAs[Scaled](env)
	case LoadSampled{}.Kind():
		return decodeAs[LoadSampled](env)
	default:
		return nil, fmt.Errorf("%w: kind %q", ErrUnknownEvent, env.Kind)
	}
}

func decodeAs[E Event](env envelope) (Event, error) {
	var e E
	d := json.NewDecoder(bytes.NewReader(env.Event))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return nil, fmt.Errorf("decode %s: %w", env.Kind, err)
	}
	return e, nil
}
