package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Config is the `rtc` section of the configuration, as in livekit.yaml where a
// key exists there. The zero value is not usable; start from [Default].
type Config struct {
	// UDPPort carries all media. 0 takes a free port, for tests.
	UDPPort int `yaml:"udp_port"`
	// TCPPort is where ICE/TCP (RFC 6544, passive) listens. 0 takes a free
	// port, a negative value turns TCP off.
	TCPPort int `yaml:"tcp_port"`
	// UDPSockets is how many SO_REUSEPORT sockets share UDPPort on each
	// address, each with its own reading goroutine. At least 1.
	UDPSockets int `yaml:"udp_sockets"`
	// BindAddresses are the local addresses to listen on. Empty, "0.0.0.0" and
	// "::" mean every address of every interface that the filters let through:
	// one socket per address, because an answer must leave from the address
	// the check came to (RFC 8445 section 7.3.1.4).
	BindAddresses []string `yaml:"bind_addresses"`
	// NodeIP is advertised in place of the local addresses of its family, for
	// a node behind a one-to-one NAT.
	NodeIP string `yaml:"node_ip"`
	// UseExternalIP asks STUNServers for the address to advertise when NodeIP
	// is empty. Without an answer the local address is advertised.
	UseExternalIP bool `yaml:"use_external_ip"`
	// AdvertiseInternalIP advertises the local addresses too when NodeIP or
	// UseExternalIP replaced them.
	AdvertiseInternalIP bool `yaml:"advertise_internal_ip"`
	// STUNServers are host:port pairs, asked in order.
	STUNServers []string `yaml:"stun_servers"`
	// STUNTimeout bounds the whole discovery of one socket's external address.
	STUNTimeout time.Duration `yaml:"stun_timeout"`
	// EnableLoopback also listens on and advertises loopback addresses.
	EnableLoopback bool `yaml:"enable_loopback_candidate"`
	// Interfaces and IPs filter the addresses found on the machine.
	Interfaces InterfaceFilter `yaml:"interfaces"`
	// IPs filters by prefix, such as 10.0.0.0/8.
	IPs IPFilter `yaml:"ips"`
	// ReceiveBuffer and SendBuffer are the socket buffers asked of the kernel,
	// in bytes. What the kernel caps is reported by [Host.Warnings].
	ReceiveBuffer int `yaml:"receive_buffer_size"`
	// SendBuffer is the send side of ReceiveBuffer.
	SendBuffer int `yaml:"send_buffer_size"`
	// MTU bounds a DTLS datagram, and with it what SCTP sends, in bytes.
	MTU int `yaml:"mtu"`

	// DisconnectedAfter is the silence after which a connection is
	// Disconnected. Firefox sends consent checks only every 4 to 6 s
	// (RFC 7675 section 5.1), so less than 6 s makes idle viewers flap.
	DisconnectedAfter time.Duration `yaml:"disconnected_after"`
	// FailedAfter is the silence after which a connection is Failed and
	// nothing is sent to its address any more (consent is gone).
	FailedAfter time.Duration `yaml:"failed_after"`
	// ConnectTimeout bounds the time from NewConn to Connected.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`

	// TCPFirstFrame bounds the wait for a valid check on a new TCP connection.
	TCPFirstFrame time.Duration `yaml:"tcp_first_frame_timeout"`
	// TCPUnauthenticated bounds the TCP connections that have not sent a valid
	// check yet; more are refused.
	TCPUnauthenticated int `yaml:"tcp_max_unauthenticated"`
	// TCPWriteBuffer bounds what waits for one slow TCP client, in bytes. More
	// is dropped.
	TCPWriteBuffer int `yaml:"tcp_write_buffer"`

	// DataBuffer bounds the unacknowledged bytes of one data channel;
	// [DataChannel.Write] gives ErrBufferFull beyond it.
	DataBuffer int `yaml:"data_channel_buffer"`
	// MaxMessageSize bounds one data channel message in either direction.
	MaxMessageSize int `yaml:"data_channel_max_message_size"`
}

// InterfaceFilter selects network interfaces by name. An empty Includes means
// all; Excludes wins.
type InterfaceFilter struct {
	Includes []string `yaml:"includes"`
	Excludes []string `yaml:"excludes"`
}

// IPFilter selects addresses by prefix ("10.0.0.0/8") or address. An empty
// Includes means all; Excludes wins.
type IPFilter struct {
	Includes []string `yaml:"includes"`
	Excludes []string `yaml:"excludes"`
}

// Default returns the configuration of a node with public addresses.
func Default() Config {
	return Config{
		UDPPort:            7882,
		TCPPort:            7881,
		UDPSockets:         1,
		STUNServers:        []string{"global.stun.twilio.com:3478", "stun.l.google.com:19302", "stun1.l.google.com:19302"},
		STUNTimeout:        3 * time.Second,
		ReceiveBuffer:      4 << 20,
		SendBuffer:         4 << 20,
		MTU:                1200,
		DisconnectedAfter:  7 * time.Second,
		FailedAfter:        15 * time.Second,
		ConnectTimeout:     30 * time.Second,
		TCPFirstFrame:      10 * time.Second,
		TCPUnauthenticated: 256,
		TCPWriteBuffer:     512 << 10,
		DataBuffer:         2 << 20,
		MaxMessageSize:     64 << 10,
	}
}

// Validate reports every setting that cannot work, joined into one error.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.UDPPort >= 0 && c.UDPPort <= 65535, "udp_port %d is not a port", c.UDPPort)
	bad(c.TCPPort <= 65535, "tcp_port %d is not a port", c.TCPPort)
	bad(c.UDPSockets >= 1 && c.UDPSockets <= 256, "udp_sockets %d is not in 1..256", c.UDPSockets)
	bad(c.MTU >= 576 && c.MTU <= 1472, "mtu %d is not in 576..1472", c.MTU)
	bad(c.DisconnectedAfter > 0, "disconnected_after must be positive")
	bad(c.FailedAfter > c.DisconnectedAfter, "failed_after must be longer than disconnected_after")
	bad(c.ConnectTimeout > 0, "connect_timeout must be positive")
	bad(c.TCPFirstFrame > 0, "tcp_first_frame_timeout must be positive")
	bad(c.TCPUnauthenticated > 0, "tcp_max_unauthenticated must be positive")
	bad(c.TCPWriteBuffer >= 16<<10, "tcp_write_buffer must be at least 16384")
	bad(c.DataBuffer > 0, "data_channel_buffer must be positive")
	bad(c.MaxMessageSize >= 16<<10, "data_channel_max_message_size must be at least 16384")
	if c.NodeIP != "" {
		_, err := netip.ParseAddr(c.NodeIP)
		bad(err == nil, "node_ip %q is not an address", c.NodeIP)
	}
	for _, a := range c.BindAddresses {
		if a != "" {
			_, err := netip.ParseAddr(a)
			bad(err == nil, "bind_addresses: %q is not an address", a)
		}
	}
	for _, p := range append(append([]string(nil), c.IPs.Includes...), c.IPs.Excludes...) {
		_, err := parsePrefix(p)
		bad(err == nil, "ips: %q is not a prefix", p)
	}
	return errors.Join(errs...)
}
