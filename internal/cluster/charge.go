package cluster

import "time"

// Demand is an amount of work, in the units that nodes report.
type Demand struct {
	CPU         float64 `json:"cpu,omitempty"` // CPUs, not percent
	Rooms       float64 `json:"rooms,omitempty"`
	Clients     float64 `json:"clients,omitempty"`
	Tracks      float64 `json:"tracks,omitempty"`
	BytesPerSec float64 `json:"bytes_per_sec,omitempty"`
}

// Plus is the sum of two demands.
func (d Demand) Plus(e Demand) Demand {
	d.CPU += e.CPU
	d.Rooms += e.Rooms
	d.Clients += e.Clients
	d.Tracks += e.Tracks
	d.BytesPerSec += e.BytesPerSec
	return d
}

// Times is the demand multiplied by f.
func (d Demand) Times(f float64) Demand {
	d.CPU *= f
	d.Rooms *= f
	d.Clients *= f
	d.Tracks *= f
	d.BytesPerSec *= f
	return d
}

// without is what remains of the demand of so many clients when some are gone.
// The room itself is still there.
func (d Demand) without(gone, clients float64) Demand {
	left := d.Times(max(0, 1-gone/clients))
	left.Rooms = d.Rooms
	return left
}

// IsZero reports whether nothing is demanded.
func (d Demand) IsZero() bool { return d == Demand{} }

// Charge is demand booked on a node ahead of its load report.
//
// A placed charge (Until is zero) is there because work was just sent to the
// node: it fades linearly over Ramp as reports come in, since by then they show
// the work itself. Only a report makes it fade, never the passing of time.
//
// A held charge (Until is set) is there because work is promised: participants
// that a room expects, or a reservation. It is used up by the participants of
// the room as they come, and is dropped by the first report after Until.
type Charge struct {
	At          time.Time     `json:"at"`
	Ramp        time.Duration `json:"ramp,omitempty"`
	Until       time.Time     `json:"until,omitzero"`
	Room        string        `json:"room,omitempty"`
	Job         string        `json:"job,omitempty"`
	Reservation string        `json:"reservation,omitempty"`
	Demand      Demand        `json:"demand"`
}

func (c *Charge) held() bool { return !c.Until.IsZero() }

// unseen is the part of the charge that a report of time t does not show.
// Counts (rooms, clients, tracks) show as soon as the work has arrived, CPU and
// bytes over the whole ramp.
func (c *Charge) unseen(t time.Time, countsAfter time.Duration) Demand {
	if c.held() || t.IsZero() {
		return c.Demand
	}
	age := t.Sub(c.At)
	if age <= 0 {
		return c.Demand
	}
	d := c.Demand
	if age >= countsAfter {
		d.Rooms, d.Clients, d.Tracks = 0, 0, 0
	}
	left := 0.0
	if age < c.Ramp {
		left = 1 - float64(age)/float64(c.Ramp)
	}
	d.CPU *= left
	d.BytesPerSec *= left
	return d
}

// charge books c on the node, for the share of a room if it is for one.
func (n *Node) charge(c Charge, sh *RoomShare, countsAfter time.Duration) {
	n.Charges = append(n.Charges, c)
	if sh != nil {
		sh.charged(&c, countsAfter)
	}
	n.pending = n.pending.Plus(c.unseen(n.Load.At, countsAfter))
}

// settle drops the charges that the latest report shows in full and those that
// keep says no to, and sums up the rest.
func (n *Node) settle(countsAfter time.Duration, keep func(*Charge) bool) {
	if len(n.Charges) == 0 {
		return
	}
	kept := 0
	n.pending = Demand{}
	for i := range n.Charges {
		c := &n.Charges[i]
		if c.held() && !n.Load.At.IsZero() && !n.Load.At.Before(c.Until) {
			continue
		}
		u := c.unseen(n.Load.At, countsAfter)
		if u.IsZero() || keep != nil && !keep(c) {
			continue
		}
		if kept != i {
			n.Charges[kept] = *c
		}
		kept++
		n.pending = n.pending.Plus(u)
	}
	clear(n.Charges[kept:])
	n.Charges = n.Charges[:kept]
}

// HeldFor is what the node still holds for a reservation.
func (n *Node) HeldFor(reservation string) Demand {
	var d Demand
	for i := range n.Charges {
		if c := &n.Charges[i]; c.Reservation == reservation {
			d = d.Plus(c.Demand)
		}
	}
	return d
}

// consume uses up what is held for that many participants of the room, and
// returns for how many nothing was. The caller settles the node.
func (n *Node) consume(room string, clients float64) (left float64) {
	for i := range n.Charges {
		if clients <= 0 {
			break
		}
		c := &n.Charges[i]
		if !c.held() || c.Room != room || c.Demand.Clients <= 0 {
			continue
		}
		take := min(clients, c.Demand.Clients)
		c.Demand = c.Demand.Times(1 - take/c.Demand.Clients)
		clients -= take
	}
	return clients
}
