package transport

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusePort lets several sockets share one port; the kernel spreads the
// clients over them by 5-tuple.
func reusePort(_, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}

// raiseBuffers asks for socket buffers, past the administrator's limit when
// the process may, and says which sysctl stands in the way when it may not.
func raiseBuffers(c *net.UDPConn, receive, send int) []string {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var warnings []string
	raise := func(what, sysctl string, opt, force, want int) {
		if want <= 0 {
			return
		}
		var got int
		_ = rc.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, want) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, want)
			}
			got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, opt)
		})
		// The kernel doubles the value for its bookkeeping (socket(7)).
		if got/2 < want {
			warnings = append(warnings, fmt.Sprintf("%s buffer is %d bytes instead of %d: raise %s", what, got/2, want, sysctl))
		}
	}
	raise("receive", "net.core.rmem_max", unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, receive)
	raise("send", "net.core.wmem_max", unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, send)
	return warnings
}
