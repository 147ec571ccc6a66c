package turn

// Transport is how a client reaches the server.
type Transport string

// The transports.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp" // TLS ended in front of the server
	TLS Transport = "tls"
)

// Reason is why a client was refused.
type Reason string

// The reasons.
const (
	// RefusedCredentials: malformed user name or wrong password.
	RefusedCredentials Reason = "credentials"
	// RefusedExpired: credentials too old for a new allocation.
	RefusedExpired Reason = "expired"
	// RefusedPeer: an address that may not be reached, at permission time or
	// by a packet to a wrong port.
	RefusedPeer Reason = "peer"
	// RefusedQuota: the participant holds too many allocations.
	RefusedQuota Reason = "quota"
	// RefusedCapacity: no relay address is left, or none of the wanted kind.
	RefusedCapacity Reason = "capacity"
)

// Direction is the way of a relayed packet.
type Direction string

// The directions.
const (
	FromClient Direction = "from_client"
	ToClient   Direction = "to_client"
)

// Metrics are callbacks for counting. Any may be nil. They are called from many
// goroutines, Relayed with every packet, and must not block.
type Metrics struct {
	// Opened and Closed follow each allocation.
	Opened, Closed func(Transport)
	// Refused is called for each request or packet that was not served.
	Refused func(Reason)
	// Relayed is called for each relayed packet with its payload size in bytes.
	Relayed func(t Transport, d Direction, bytes int)
}

func (m Metrics) complete() Metrics {
	if m.Opened == nil {
		m.Opened = func(Transport) {}
	}
	if m.Closed == nil {
		m.Closed = func(Transport) {}
	}
	if m.Refused == nil {
		m.Refused = func(Reason) {}
	}
	if m.Relayed == nil {
		m.Relayed = func(Transport, Direction, int) {}
	}
	return m
}
