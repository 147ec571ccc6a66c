package server

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/event"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/media/turn"
	"github.com/concertina-rtc/concertina/internal/room"
	"github.com/concertina-rtc/concertina/internal/room/measure"
	"github.com/concertina-rtc/concertina/internal/signal"
	"github.com/concertina-rtc/concertina/internal/webhook"
)

// This file gives each package its part of the configuration.

func transportConfig(cfg Config) transport.Config {
	c := transport.Default()
	c.UDPPort, c.TCPPort = cfg.RTC.UDPPort, cfg.RTC.TCPPort
	if c.TCPPort == 0 {
		c.TCPPort = -1
	}
	// bind_addresses is about HTTP, as in LiveKit: media has interfaces and ips.
	c.NodeIP, c.UseExternalIP = cfg.RTC.NodeIP, cfg.RTC.UseExternalIP
	c.EnableLoopback = cfg.RTC.EnableLoopbackCandidate
	if len(cfg.RTC.STUNServers) > 0 {
		c.STUNServers = cfg.RTC.STUNServers
	}
	c.Interfaces = transport.InterfaceFilter(cfg.RTC.Interfaces)
	c.IPs = transport.IPFilter(cfg.RTC.IPs)
	return c
}

func roomConfig(cfg Config) room.Config {
	c := room.DefaultConfig()
	c.AutoCreate = cfg.Room.AutoCreate
	c.EmptyTimeout, c.DepartureTimeout = cfg.Room.EmptyTimeout, cfg.Room.DepartureTimeout
	c.MaxParticipants = cfg.Room.MaxParticipants
	c.EnableRemoteUnmute = cfg.Room.EnableRemoteUnmute
	switch {
	case cfg.RTC.ForceTCP:
		c.Protocol = "tcp"
	case !cfg.RTC.AllowTCPFallback:
		c.Protocol = "udp"
	}
	for _, k := range cfg.Room.EnabledCodecs {
		c.Codecs = append(c.Codecs, peer.CodecSpec{Mime: string(k.MIME)})
	}
	c.MaxMetadataSize, c.MaxAttributesSize = int(cfg.Limit.MaxMetadataSize), int(cfg.Limit.MaxAttributesSize)
	c.MaxRoomName, c.MaxIdentity = cfg.Limit.MaxRoomNameLength, cfg.Limit.MaxParticipantIdentityLength
	c.MaxName = cfg.Limit.MaxParticipantNameLength
	c.MaxTracks, c.MaxDataMessage = cfg.Limit.TracksPerParticipant, int(cfg.Limit.MaxDataMessageSize)
	c.JoinTimeout, c.MediaGrace, c.SignalGrace = cfg.Room.JoinTimeout, cfg.Room.MediaGrace, cfg.Room.SignalGrace
	c.MaxSubscribedAudio, c.MaxSubscribedVideo = cfg.Limit.SubscriptionLimitAudio, cfg.Limit.SubscriptionLimitVideo
	t := cfg.RTC.PLIThrottle
	c.PLIThrottle = [3]time.Duration{t.LowQuality, t.MidQuality, t.HighQuality}
	c.Levels = measure.Levels{
		Active: uint8(cfg.Audio.ActiveLevel), Percent: uint8(cfg.Audio.MinPercentile),
		Interval: cfg.Audio.UpdateInterval, Smoothing: uint32(cfg.Audio.SmoothIntervals),
	}
	return c
}

func signalConfig(cfg Config) (signal.Config, error) {
	c := signal.DefaultConfig()
	c.MaxFrame = int64(cfg.Limit.SignalMessageSizeLimit)
	c.JoinsPerSecond, c.JoinBurst = float64(cfg.Limit.JoinsPerSecondPerIP), cfg.Limit.JoinBurstPerIP
	var err error
	c.TrustedProxies, err = parseAll(cfg.TrustedProxies, netip.ParsePrefix)
	return c, err
}

// iceServers returns what tells a participant its STUN and TURN servers.
func iceServers(cfg Config, embedded *turn.Server) func(participantSID string) []*livekit.ICEServer {
	var stun []string
	for _, s := range cfg.RTC.STUNServers {
		stun = append(stun, "stun:"+s)
	}
	return func(sid string) []*livekit.ICEServer {
		now := time.Now()
		var out []*livekit.ICEServer
		if embedded != nil {
			for _, s := range embedded.ICEServers(sid, now) {
				out = append(out, &livekit.ICEServer{Urls: s.URLs, Username: s.Username, Credential: s.Credential})
			}
		}
		for _, t := range cfg.RTC.TURNServers {
			out = append(out, externalTURN(t, sid, now))
		}
		if len(stun) > 0 {
			out = append(out, &livekit.ICEServer{Urls: stun})
		}
		return out
	}
}

// externalTURN names a TURN server elsewhere; with a shared secret, by the
// TURN REST API (draft-uberti-behave-turn-rest): the user name carries the
// expiry and its HMAC is the password.
func externalTURN(t TURNServer, sid string, now time.Time) *livekit.ICEServer {
	scheme, transport := "turn", t.Protocol
	if t.Protocol == "tls" {
		scheme, transport = "turns", "tcp"
	}
	s := &livekit.ICEServer{
		Urls:     []string{fmt.Sprintf("%s:%s:%d?transport=%s", scheme, bracket(t.Host), t.Port, transport)},
		Username: t.Username, Credential: t.Credential,
	}
	if t.Secret != "" {
		s.Username = fmt.Sprintf("%d:%s", now.Add(t.TTL).Unix(), sid)
		mac := hmac.New(sha1.New, []byte(t.Secret))
		mac.Write([]byte(s.Username))
		s.Credential = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return s
}

// bracket makes an IPv6 address fit for a URI.
func bracket(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// startWebhook makes the notifier; without URLs it drops every event.
func startWebhook(cfg Config, keys *auth.Keys, log *slog.Logger, reg prometheus.Registerer) (*webhook.Notifier, error) {
	c := webhook.DefaultConfig()
	c.URLs, c.APIKey = cfg.Webhook.URLs, cfg.Webhook.APIKey
	c.APISecret = keys.GetSecret(c.APIKey)
	c.Timeout, c.MaxAge, c.QueueSize = cfg.Webhook.Timeout, cfg.Webhook.MaxAge, cfg.Webhook.QueueSize
	for _, k := range cfg.Webhook.FilterParams.IncludeEvents {
		c.Include = append(c.Include, event.Kind(k))
	}
	for _, k := range cfg.Webhook.FilterParams.ExcludeEvents {
		c.Exclude = append(c.Exclude, event.Kind(k))
	}
	return webhook.New(c, log, reg)
}

// startTURN starts the embedded TURN server. Clients may reach this node's
// media through it and, by default, nothing else.
func startTURN(cfg Config, host *transport.Host, log *slog.Logger) (*turn.Server, error) {
	t := cfg.TURN
	c := turn.Config{
		Domain: t.Domain, CertFile: t.CertFile, KeyFile: t.KeyFile, TLSPort: t.TLSPort, UDPPort: t.UDPPort,
		ExternalTLS: t.ExternalTLS, RelayRangeStart: t.RelayRangeStart, RelayRangeEnd: t.RelayRangeEnd, TTL: t.TTL,
		AllocationsPerParticipant: t.PerUserRelayAllocationLimit,
		AllowLoopback:             cfg.RTC.EnableLoopbackCandidate,
	}
	var err error
	if c.BindAddrs, err = parseAll(t.BindAddresses, netip.ParseAddr); err != nil {
		return nil, err
	}
	if c.AllowPeers, err = parseAll(t.AllowRestrictedPeerCIDRs, netip.ParsePrefix); err != nil {
		return nil, err
	}
	if c.DenyPeers, err = parseAll(t.DenyPeerCIDRs, netip.ParsePrefix); err != nil {
		return nil, err
	}
	for _, cand := range host.Candidates() {
		if cand.Protocol != "udp" {
			continue
		}
		c.MediaAddrs = append(c.MediaAddrs, cand.Address)
		if ip := cand.Address.Addr(); !slices.ContainsFunc(c.NodeIPs, func(o netip.Addr) bool { return o.Is4() == ip.Is4() }) {
			c.NodeIPs = append(c.NodeIPs, ip)
		}
	}
	return turn.New(c, turn.Deps{Log: log})
}

func parseAll[T any](list []string, parse func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
