package cluster

import "time"

// Event is something that happened to the cluster. The set is closed: every
// event is declared in this file.
type Event interface {
	// When is the time of the event.
	When() time.Time
	// Kind is the name of the event in recorded logs.
	Kind() string
}

type (
	// PolicyChanged replaces the model's policy.
	PolicyChanged struct {
		At     time.Time `json:"at"`
		Policy Policy    `json:"policy"`
	}

	// NodeAdded adds a node in status launching. A Status in Node is ignored,
	// and so are its load, charges and counts.
	NodeAdded struct {
		At   time.Time `json:"at"`
		Node Node      `json:"node"`
	}

	// NodeUpdated sets what becomes known of a node after its launch. Zero
	// values leave the field as it is.
	NodeUpdated struct {
		At           time.Time `json:"at"`
		Node         string    `json:"node"`
		ProviderID   string    `json:"provider_id,omitempty"`
		Address      string    `json:"address,omitempty"`
		URI          string    `json:"uri,omitempty"`
		CPUs         float64   `json:"cpus,omitempty"`
		Capabilities []string  `json:"capabilities,omitempty"`
	}

	// NodeStatusChanged moves a node along the state machine.
	NodeStatusChanged struct {
		At     time.Time `json:"at"`
		Node   string    `json:"node"`
		Status Status    `json:"status"`
	}

	// NodeRemoved forgets a node and what was on it.
	NodeRemoved struct {
		At   time.Time `json:"at"`
		Node string    `json:"node"`
	}

	// LoadReported is a load report. One that is not newer than the last, by
	// version, is ignored: it was overtaken on the way.
	LoadReported struct {
		At   time.Time `json:"at"`
		Node string    `json:"node"`
		Load Load      `json:"load"`
	}

	// RoomCreated declares a room that nobody has joined yet.
	RoomCreated struct {
		At   time.Time `json:"at"`
		Room string    `json:"room"`
		Pin  string    `json:"pin,omitempty"`
	}

	// RoomPlaced puts a room on a node: its first, or a further one. Load is
	// what comes at once and will show in the reports over Ramp; Expect is
	// held for the participants to come until ExpectUntil.
	RoomPlaced struct {
		At          time.Time     `json:"at"`
		Room        string        `json:"room"`
		Node        string        `json:"node"`
		Load        Demand        `json:"load,omitzero"`
		Ramp        time.Duration `json:"ramp,omitempty"` // 0: the policy's
		Expect      Demand        `json:"expect,omitzero"`
		ExpectUntil time.Time     `json:"expect_until,omitzero"`
		Reservation string        `json:"reservation,omitempty"` // the one it uses
	}

	// ParticipantPlaced puts a participant on a node that hosts the room.
	ParticipantPlaced struct {
		At   time.Time     `json:"at"`
		Room string        `json:"room"`
		Node string        `json:"node"`
		Load Demand        `json:"load,omitzero"`
		Ramp time.Duration `json:"ramp,omitempty"`
	}

	// ParticipantLeft is one participant fewer on a node.
	ParticipantLeft struct {
		At   time.Time `json:"at"`
		Room string    `json:"room"`
		Node string    `json:"node"`
	}

	// RoomLeft ends a room on one of its nodes.
	RoomLeft struct {
		At   time.Time `json:"at"`
		Room string    `json:"room"`
		Node string    `json:"node"`
	}

	// RoomClosed ends a room on all its nodes.
	RoomClosed struct {
		At   time.Time `json:"at"`
		Room string    `json:"room"`
	}

	// JobQueued is a job that no node had room for.
	JobQueued struct {
		At  time.Time `json:"at"`
		Job Job       `json:"job"`
	}

	// JobPlaced puts a job on a node, and an agent job on a worker.
	JobPlaced struct {
		At   time.Time     `json:"at"`
		Job  Job           `json:"job"`
		Ramp time.Duration `json:"ramp,omitempty"`
	}

	// JobEnded removes a job, queued or placed.
	JobEnded struct {
		At  time.Time `json:"at"`
		Job string    `json:"job"`
	}

	// WorkerRegistered adds an agent worker.
	WorkerRegistered struct {
		At     time.Time `json:"at"`
		Worker Worker    `json:"worker"`
	}

	// WorkerReported is a worker's load update.
	WorkerReported struct {
		At     time.Time `json:"at"`
		Worker string    `json:"worker"`
		Load   float64   `json:"load"`
		Full   bool      `json:"full,omitempty"`
	}

	// WorkerGone removes an agent worker.
	WorkerGone struct {
		At     time.Time `json:"at"`
		Worker string    `json:"worker"`
	}

	// ReservationAdmitted books capacity ahead.
	ReservationAdmitted struct {
		At          time.Time   `json:"at"`
		Reservation Reservation `json:"reservation"`
	}

	// ReservationBound books on a node a part of what the reservation has
	// unplaced: CPU of it, with the rest of its demand in proportion.
	ReservationBound struct {
		At          time.Time `json:"at"`
		Reservation string    `json:"reservation"`
		Node        string    `json:"node"`
		CPU         float64   `json:"cpu"`
	}

	// ReservationReleased gives the capacity back.
	ReservationReleased struct {
		At          time.Time `json:"at"`
		Reservation string    `json:"reservation"`
	}

	// TimePassed charges the reservations that are near and drops those that
	// are over. The control loop sends one before each of its ticks.
	TimePassed struct {
		At time.Time `json:"at"`
	}

	// Scaled is what the autoscaler remembers of a plan that was carried out.
	Scaled struct {
		At        time.Time    `json:"at"`
		Added     int          `json:"added,omitempty"`
		Removed   int          `json:"removed,omitempty"`
		Announced Announcement `json:"announced,omitzero"` // on premises: the advice given
	}

	// LoadSampled adds the total load of the cluster to the history.
	LoadSampled struct {
		At    time.Time `json:"at"`
		Total float64   `json:"total"` // percent points
	}
)

// When is the time of the event.
func (e PolicyChanged) When() time.Time { return e.At }

// When is the time of the event.
func (e NodeAdded) When() time.Time { return e.At }

// When is the time of the event.
func (e NodeUpdated) When() time.Time { return e.At }

// When is the time of the event.
func (e NodeStatusChanged) When() time.Time { return e.At }

// When is the time of the event.
func (e NodeRemoved) When() time.Time { return e.At }

// When is the time of the event.
func (e LoadReported) When() time.Time { return e.At }

// When is the time of the event.
func (e RoomCreated) When() time.Time { return e.At }

// When is the time of the event.
func (e RoomPlaced) When() time.Time { return e.At }

// When is the time of the event.
func (e ParticipantPlaced) When() time.Time { return e.At }

// When is the time of the event.
func (e ParticipantLeft) When() time.Time { return e.At }

// When is the time of the event.
func (e RoomLeft) When() time.Time { return e.At }

// When is the time of the event.
func (e RoomClosed) When() time.Time { return e.At }

// When is the time of the event.
func (e JobQueued) When() time.Time { return e.At }

// When is the time of the event.
func (e JobPlaced) When() time.Time { return e.At }

// When is the time of the event.
func (e JobEnded) When() time.Time { return e.At }

// When is the time of the event.
func (e WorkerRegistered) When() time.Time { return e.At }

// When is the time of the event.
func (e WorkerReported) When() time.Time { return e.At }

// When is the time of the event.
func (e WorkerGone) When() time.Time { return e.At }

// When is the time of the event.
func (e ReservationAdmitted) When() time.Time { return e.At }

// When is the time of the event.
func (e ReservationBound) When() time.Time { return e.At }

// When is the time of the event.
func (e ReservationReleased) When() time.Time { return e.At }

// When is the time of the event.
func (e TimePassed) When() time.Time { return e.At }

// When is the time of the event.
func (e Scaled) When() time.Time { return e.At }

// When is the time of the event.
func (e LoadSampled) When() time.Time { return e.At }

// Kind is "policy_changed".
func (PolicyChanged) Kind() string { return "policy_changed" }

// Kind is "node_added".
func (NodeAdded) Kind() string { return "node_added" }

// Kind is "node_updated".
func (NodeUpdated) Kind() string { return "node_updated" }

// Kind is "node_status_changed".
func (NodeStatusChanged) Kind() string { return "node_status_changed" }

// Kind is "node_removed".
func (NodeRemoved) Kind() string { return "node_removed" }

// Kind is "load_reported".
func (LoadReported) Kind() string { return "load_reported" }

// Kind is "room_created".
func (RoomCreated) Kind() string { return "room_created" }

// Kind is "room_placed".
func (RoomPlaced) Kind() string { return "room_placed" }

// Kind is "participant_placed".
func (ParticipantPlaced) Kind() string { return "participant_placed" }

// Kind is "participant_left".
func (ParticipantLeft) Kind() string { return "participant_left" }

// Kind is "room_left".
func (RoomLeft) Kind() string { return "room_left" }

// Kind is "room_closed".
func (RoomClosed) Kind() string { return "room_closed" }

// Kind is "job_queued".
func (JobQueued) Kind() string { return "job_queued" }

// Kind is "job_placed".
func (JobPlaced) Kind() string { return "job_placed" }

// Kind is "job_ended".
func (JobEnded) Kind() string { return "job_ended" }

// Kind is "worker_registered".
func (WorkerRegistered) Kind() string { return "worker_registered" }

// Kind is "worker_reported".
func (WorkerReported) Kind() string { return "worker_reported" }

// Kind is "worker_gone".
func (WorkerGone) Kind() string { return "worker_gone" }

// Kind is "reservation_admitted".
func (ReservationAdmitted) Kind() string { return "reservation_admitted" }

// Kind is "reservation_bound".
func (ReservationBound) Kind() string { return "reservation_bound" }

// Kind is "reservation_released".
func (ReservationReleased) Kind() string { return "reservation_released" }

// Kind is "time_passed".
func (TimePassed) Kind() string { return "time_passed" }

// Kind is "scaled".
func (Scaled) Kind() string { return "scaled" }

// Kind is "load_sampled".
func (LoadSampled) Kind() string { return "load_sampled" }
