package transport

import "errors"

// Errors of this package. Wrapped errors keep them for errors.Is.
var (
	// ErrClosed means that the Conn or Host was closed, or the Conn exported.
	ErrClosed = errors.New("transport: closed")
	// ErrRemoteClosed means that the client ended the connection with a DTLS
	// close_notify.
	ErrRemoteClosed = errors.New("transport: closed by the client")
	// ErrNotConnected means that there are no keys or no address yet.
	ErrNotConnected = errors.New("transport: not connected")
	// ErrDuplicate means that another connection has the same user fragment, or
	// another data channel the same id.
	ErrDuplicate = errors.New("transport: already in use")
	// ErrTimeout means that the client did not connect in time.
	ErrTimeout = errors.New("transport: the client did not connect in time")
	// ErrConsent means that the client has been silent for FailedAfter.
	ErrConsent = errors.New("transport: nothing received from the client")
	// ErrFingerprint means that the client's certificate is not the one its SDP
	// announced.
	ErrFingerprint = errors.New("transport: certificate does not match the SDP fingerprint")
	// ErrFingerprintChanged means that a later SDP announced another
	// certificate; a new Conn is needed for that.
	ErrFingerprintChanged = errors.New("transport: fingerprint changed on an established connection")
	// ErrSetup means that the client wants to be the DTLS server, which is
	// always us.
	ErrSetup = errors.New("transport: client must be the DTLS client")
	// ErrPacketTooLarge means that a packet does not fit in one datagram.
	ErrPacketTooLarge = errors.New("transport: packet too large")
	// ErrMalformed means that bytes given or received are not what they must be.
	ErrMalformed = errors.New("transport: malformed")
	// ErrIndexUsed means that a resumed connection was asked to send an RTP
	// packet whose index the node before it may have used already.
	ErrIndexUsed = errors.New("transport: SRTP index already used")
	// ErrBufferFull means that a data channel has DataBuffer unacknowledged
	// bytes, or that the queue of a TCP client is full.
	ErrBufferFull = errors.New("transport: buffer full")
	// ErrChannelNotOpen means that a data channel is not open yet, or no more.
	ErrChannelNotOpen = errors.New("transport: data channel not open")
	// ErrMessageTooLarge means that a message exceeds MaxMessageSize.
	ErrMessageTooLarge = errors.New("transport: message too large")
	// ErrStateVersion means that a ConnState was written by another version.
	ErrStateVersion = errors.New("transport: unknown state version")
)
