package cluster

import (
	"fmt"
	"time"
)

// Policy holds what the model itself has to know to keep its ledger: when a
// load is unknown, how fast placed work shows, and what work costs.
type Policy struct {
	// StaleAfter is how old a load report may be before the load is unknown.
	StaleAfter time.Duration `json:"stale_after"`
	// RampUp is how long placed work takes to show fully in a load report,
	// when the event that placed it does not say.
	RampUp time.Duration `json:"ramp_up"`
	// CountsAfter is how long placed work takes to show in the counted values
	// of a report: rooms, clients, tracks.
	CountsAfter time.Duration `json:"counts_after"`
	// ReservationLead is how long before its start a reservation is charged.
	ReservationLead time.Duration `json:"reservation_lead"`
	// HistoryBucket and HistorySeason shape the load history that the forecast
	// reads: one value per bucket of the season.
	HistoryBucket time.Duration `json:"history_bucket"`
	HistorySeason time.Duration `json:"history_season"`
	// Costs is what work is expected to cost where nobody said.
	Costs Costs `json:"costs"`
}

// Costs is what rooms and participants are expected to cost in CPUs.
type Costs struct {
	Room       float64 `json:"room"`        // an open room without participants
	Stream     float64 `json:"stream"`      // one track received from or sent to a client
	PerClient  float64 `json:"per_client"`  // a connection, whatever it carries
	TrackBytes float64 `json:"track_bytes"` // bytes per second of one track
}

// DefaultPolicy is the policy of a cluster whose nodes report once a second.
func DefaultPolicy() Policy {
	return Policy{
		StaleAfter:      5 * time.Second,
		RampUp:          20 * time.Second,
		CountsAfter:     2 * time.Second,
		ReservationLead: 10 * time.Minute,
		HistoryBucket:   5 * time.Minute,
		HistorySeason:   24 * time.Hour,
		Costs:           Costs{Room: 0.005, Stream: 0.0008, PerClient: 0.002, TrackBytes: 40_000},
	}
}

// Validate reports the first value that makes no sense.
func (p Policy) Validate() error {
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"stale_after", p.StaleAfter}, {"history_bucket", p.HistoryBucket}, {"history_season", p.HistorySeason},
	} {
		if d.v <= 0 {
			return fmt.Errorf("%s: %v is not above zero", d.name, d.v)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"ramp_up", p.RampUp}, {"counts_after", p.CountsAfter}, {"reservation_lead", p.ReservationLead},
	} {
		if d.v < 0 {
			return fmt.Errorf("%s: %v is negative", d.name, d.v)
		}
	}
	if p.HistoryBucket%time.Second != 0 {
		return fmt.Errorf("history_bucket: %v is not a number of whole seconds", p.HistoryBucket)
	}
	if p.HistorySeason%p.HistoryBucket != 0 {
		return fmt.Errorf("history_season: %v is not a multiple of history_bucket %v", p.HistorySeason, p.HistoryBucket)
	}
	if n := p.HistorySeason / p.HistoryBucket; n > maxHistorySlots {
		return fmt.Errorf("history_bucket: %v gives %d buckets a season, at most %d", p.HistoryBucket, n, maxHistorySlots)
	}
	c := p.Costs
	if !(c.Room >= 0 && c.Stream >= 0 && c.PerClient >= 0 && c.TrackBytes >= 0) {
		return fmt.Errorf("costs: %+v has a negative value", c)
	}
	return nil
}

// tracksPerPublisher is audio and video.
const tracksPerPublisher = 2

// OfRoom is the expected demand of a room in which everybody receives every
// published track: with P publishers among N participants, 2P tracks come in
// and 2P(N-1) go out.
func (c Costs) OfRoom(participants, publishers int) Demand {
	n, p := float64(participants), float64(min(publishers, participants))
	tracks := tracksPerPublisher * p * max(n, 1)
	if n == 0 {
		tracks = 0
	}
	return Demand{
		CPU:         c.Room + n*c.PerClient + tracks*c.Stream,
		Rooms:       1,
		Clients:     n,
		Tracks:      tracks,
		BytesPerSec: tracks * c.TrackBytes,
	}
}

// OfParticipant is the expected demand of one more participant of a room that
// has participants already, publishers of them publishing.
func (c Costs) OfParticipant(participants, publishers int, publishes bool) Demand {
	tracks := tracksPerPublisher * float64(publishers)
	if publishes {
		tracks += tracksPerPublisher * float64(participants+1)
	}
	return Demand{CPU: c.PerClient + tracks*c.Stream, Clients: 1, Tracks: tracks, BytesPerSec: tracks * c.TrackBytes}
}
