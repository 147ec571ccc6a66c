package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

const (
	minSecret = 16
	// maxUsername is what a username may have here; STUN allows 508 bytes
	// (RFC 8489 section 14.3).
	maxUsername = 256
)

// Credentials returns the short-lived credentials of a participant. The user
// name is "expiry:participantID" with the expiry in seconds since 1970, the
// form of draft-uberti-behave-turn-rest; the password is the HMAC-SHA256 of the
// user name under a key derived from the server's secret, so nothing is stored
// and no other expiry or participant can be written in. The id must have at
// most 200 bytes.
//
// The credentials are good for new allocations until they expire. An existing
// allocation goes on with them: a call does not end because it is long.
func (s *Server) Credentials(participantID string, now time.Time) (username, password string) {
	username = strconv.FormatInt(now.Add(s.cfg.TTL).Unix(), 10) + ":" + participantID
	return username, s.password(username)
}

// ICEServer is what a client is told about a STUN or TURN server, in the shape
// of RTCIceServer and of LiveKit's ICEServer.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// ICEServers returns the URLs of this server and fresh credentials for a
// participant: turn:ip:port?transport=udp for each node IP, which is tried
// first, and turns:domain:port?transport=tcp.
func (s *Server) ICEServers(participantID string, now time.Time) []ICEServer {
	out := ICEServer{}
	if addr, ok := s.udp.(*net.UDPAddr); ok {
		for _, ip := range s.cfg.NodeIPs {
			out.URLs = append(out.URLs, "turn:"+net.JoinHostPort(ip.String(), strconv.Itoa(addr.Port))+"?transport=udp")
		}
	}
	if addr, ok := s.tcp.(*net.TCPAddr); ok {
		port := addr.Port
		switch {
		case s.cfg.AdvertisedTLSPort != 0:
			port = s.cfg.AdvertisedTLSPort
		case s.cfg.ExternalTLS:
			port = 443
		}
		out.URLs = append(out.URLs, "turns:"+net.JoinHostPort(s.cfg.Domain, strconv.Itoa(port))+"?transport=tcp")
	}
	out.Username, out.Credential = s.Credentials(participantID, now)
	return []ICEServer{out}
}

// deriveKey keeps the HMACs made here apart from other uses of the secret.
func deriveKey(secret []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("concertina turn credentials v1"))
	return mac.Sum(nil)
}

func (s *Server) password(username string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(username))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// parseUsername returns the parts of a user name of the right form.
func parseUsername(username string) (participantID string, expiry time.Time, ok bool) {
	if len(username) > maxUsername {
		return "", time.Time{}, false
	}
	seconds, participantID, found := strings.Cut(username, ":")
	if !found || participantID == "" {
		return "", time.Time{}, false
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || unix <= 0 {
		return "", time.Time{}, false
	}
	return participantID, time.Unix(unix, 0), true
}

// authenticate gives pion the key with which a request must have been signed
// and the participant that owns the allocation. pion compares the request's
// MESSAGE-INTEGRITY in constant time; nothing secret is compared here.
func (s *Server) authenticate(r *turn.RequestAttributes) (userID string, key []byte, ok bool) {
	participantID, expiry, ok := parseUsername(r.Username)
	if !ok || r.Realm != Realm {
		s.metrics.Refused(RefusedCredentials)
		s.log.Debug("TURN credentials refused", "client", r.SrcAddr)
		return "", nil, false
	}
	if r.Method == stun.MethodAllocate && !s.now().Before(expiry) {
		s.metrics.Refused(RefusedExpired)
		s.log.Debug("TURN credentials expired", "client", r.SrcAddr, "participant", participantID, "expiry", expiry)
		return "", nil, false
	}
	return participantID, turn.GenerateAuthKey(r.Username, Realm, s.password(r.Username)), true
}
