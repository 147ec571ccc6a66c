// Package transport is the server side of a client's WebRTC connection: ICE,
// DTLS, SRTP, SCTP and data channels on sockets that all connections of a node
// share. It is assembled from pion/dtls, pion/srtp, pion/sctp and
// pion/datachannel, without webrtc.PeerConnection and without pion/ice.
//
// It owns the media sockets ([Host]), the table that maps a remote address to
// its connection, and the state of each connection ([Conn]). That state is a
// value: [Conn.Export] packs it up and [Host.Resume] carries on with it on
// another node, with the same keys and the next packet index.
//
// It does not parse or write SDP, does not know tracks, rooms or codecs, and
// does not read RTP payloads or RTCP packets: [Handler] receives them
// decrypted. NACK, pacing and bandwidth estimation are made elsewhere.
//
// ICE is a lite implementation (RFC 8445 section 2.5): it only answers checks,
// never sends them, so a connection needs no timer and no goroutine for it.
// The peer is always controlling and always the DTLS client.
//
// # Goroutines
//
// A Host owns one goroutine per UDP socket, one per TCP listener and one
// ticker for the timers of all connections. A socket's goroutine reads a
// packet, demultiplexes it (RFC 7983), decrypts it and calls the Handler: a
// media packet meets no other goroutine.
//
// A Conn has no goroutine until its first DTLS packet. Then it has four: its
// session goroutine, which owns the handshake and everything after it, and
// three inside pion/dtls (record reader, handshake machine, read watcher).
// With data channels come two of pion/sctp (read and write loop) and one
// reader per open channel, owned by the session goroutine. A client that
// comes by TCP adds a reader and a writer, owned by its tcpConn. All of them
// end with [Conn.Close]; [Host.Close] waits for them.
//
// # Where to start reading
//
// socket.go (a packet arrives), ice.go (which address is used), session.go
// (handshake and after), srtp.go (the media path), export.go (moving).
package transport
