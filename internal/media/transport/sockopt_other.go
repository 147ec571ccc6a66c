//go:build !linux

package transport

import (
	"net"
	"syscall"
)

// reusePort is nil where the kernel does not spread clients over sockets.
var reusePort func(network, address string, rc syscall.RawConn) error

// raiseBuffers asks for socket buffers. Other systems than Linux are for
// development and report no cap.
func raiseBuffers(c *net.UDPConn, receive, send int) []string {
	if receive > 0 {
		_ = c.SetReadBuffer(receive)
	}
	if send > 0 {
		_ = c.SetWriteBuffer(send)
	}
	return nil
}
