package signal

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room"
)

// maxJoinRequest bounds a join request after decompression: an SDP offer with
// all its sections is some 20 kB.
const maxJoinRequest = 1 << 20

// parse reads and authenticates a request to join or resume.
func (s *Server) parse(r *http.Request, v1 bool) (room.Join, error) {
	var j room.Join
	q := r.URL.Query()
	token, err := auth.FromRequest(r)
	if err != nil {
		return j, refuse(http.StatusUnauthorized, "%w", err)
	}
	claims, err := s.keys.Verify(token, time.Now())
	if err != nil {
		return j, refuse(http.StatusUnauthorized, "%w", err)
	}
	j.Claims = claims
	j.Room, err = claims.EnsureJoin(q.Get("room"))
	switch {
	case errors.Is(err, auth.ErrNoIdentity), errors.Is(err, auth.ErrNoRoom):
		return j, refuse(http.StatusBadRequest, "%w", err)
	case err != nil:
		return j, refuse(http.StatusUnauthorized, "%w", err)
	}
	wrapped := q.Get("join_request")
	switch {
	case wrapped != "":
		err = parseJoinRequest(&j, wrapped, r)
	case v1:
		err = refuse(http.StatusBadRequest, "join_request is required on /rtc/v1")
	default:
		err = parseQuery(&j, q, r)
	}
	if err == nil && (j.Metadata != "" || len(j.Attributes) > 0) && !claims.Permission().CanUpdateMetadata {
		err = refuse(http.StatusUnauthorized, "metadata and attributes of a join need the grant canUpdateOwnMetadata")
	}
	return j, err
}

// parseQuery reads the parameters of /rtc.
func parseQuery(j *room.Join, q url.Values, r *http.Request) error {
	j.AutoSubscribe = true
	if v := q.Get("auto_subscribe"); v != "" {
		j.AutoSubscribe = truthy(v)
	}
	j.AutoSubscribeData = j.AutoSubscribe && !q.Has("auto_subscribe_data_track") || truthy(q.Get("auto_subscribe_data_track"))
	j.AdaptiveStream = truthy(q.Get("adaptive_stream"))
	j.Reconnect = truthy(q.Get("reconnect"))
	j.ParticipantSID = q.Get("sid")
	if n, err := strconv.Atoi(q.Get("reconnect_reason")); err == nil {
		j.ReconnectReason = livekit.ReconnectReason(n)
	}
	if a := q.Get("attributes"); a != "" {
		raw, err := base64.URLEncoding.DecodeString(a)
		if err == nil {
			err = json.Unmarshal(raw, &j.Attributes)
		}
		if err != nil {
			return refuse(http.StatusBadRequest, "cannot decode attributes: %w", err)
		}
	}
	j.Client = clientInfo(q)
	addUserAgent(j.Client, r)
	return nil
}

func truthy(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// clientInfo reads what a v0 client tells about itself.
func clientInfo(q url.Values) *livekit.ClientInfo {
	c := &livekit.ClientInfo{
		Version: q.Get("version"), Os: q.Get("os"), OsVersion: q.Get("os_version"), Browser: q.Get("browser"),
		BrowserVersion: q.Get("browser_version"), DeviceModel: q.Get("device_model"), Network: q.Get("network"),
		Sdk: livekit.ClientInfo_SDK(livekit.ClientInfo_SDK_value[strings.ToUpper(q.Get("sdk"))]),
	}
	if strings.EqualFold(q.Get("sdk"), "reactnative") {
		c.Sdk = livekit.ClientInfo_REACT_NATIVE
	}
	if n, err := strconv.ParseInt(q.Get("protocol"), 10, 32); err == nil {
		c.Protocol = int32(n)
	}
	if n, err := strconv.ParseInt(q.Get("client_protocol"), 10, 32); err == nil {
		c.ClientProtocol = int32(n)
	}
	for _, name := range strings.Split(q.Get("capabilities"), ",") {
		if n, err := strconv.ParseInt(name, 10, 32); err == nil {
			c.Capabilities = append(c.Capabilities, livekit.ClientInfo_Capability(n))
		}
	}
	return c
}

// addUserAgent fills browser and system from the header when the SDK left them
// out: codec quirks depend on them.
func addUserAgent(c *livekit.ClientInfo, r *http.Request) {
	ua := r.UserAgent()
	if c.Browser == "" {
		switch {
		case strings.Contains(ua, "Firefox/"):
			c.Browser = "firefox"
		case strings.Contains(ua, "Edg/"):
			c.Browser = "edge"
		case strings.Contains(ua, "Chrome/"):
			c.Browser = "chrome"
		case strings.Contains(ua, "Safari/"):
			c.Browser = "safari"
		}
	}
	if c.Os == "" {
		for _, os := range []string{"Android", "iPhone", "Windows", "Mac OS X", "Linux"} {
			if strings.Contains(ua, os) {
				c.Os = os
				break
			}
		}
	}
}

// parseJoinRequest reads the join_request parameter of /rtc/v1.
func parseJoinRequest(j *room.Join, text string, r *http.Request) error {
	jr, err := decodeJoinRequest(text)
	if err != nil {
		return refuse(http.StatusBadRequest, "%w", err)
	}
	j.Single = true
	cs := jr.GetConnectionSettings()
	j.AutoSubscribe = cs.GetAutoSubscribe()
	j.AutoSubscribeData = cs.GetAutoSubscribe()
	if cs != nil && cs.AutoSubscribeDataTrack != nil {
		j.AutoSubscribeData = cs.GetAutoSubscribeDataTrack()
	}
	j.AdaptiveStream = cs.GetAdaptiveStream()
	j.Metadata, j.Attributes = jr.Metadata, jr.ParticipantAttributes
	j.AddTracks, j.Offer = jr.AddTrackRequests, jr.PublisherOffer
	j.Reconnect, j.ReconnectReason, j.ParticipantSID = jr.Reconnect, jr.ReconnectReason, jr.ParticipantSid
	j.SyncState = jr.SyncState
	j.Client = jr.ClientInfo
	if j.Client == nil {
		j.Client = &livekit.ClientInfo{}
	}
	addUserAgent(j.Client, r)
	return nil
}

// decodeJoinRequest decodes base64url(WrappedJoinRequest).
func decodeJoinRequest(text string) (*livekit.JoinRequest, error) {
	raw, err := base64.URLEncoding.DecodeString(text)
	if err != nil {
		if raw, err = base64.RawURLEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("join_request is not base64url: %w", err)
		}
	}
	wrapped := &livekit.WrappedJoinRequest{}
	if err := proto.Unmarshal(raw, wrapped); err != nil {
		return nil, fmt.Errorf("join_request is not a WrappedJoinRequest: %w", err)
	}
	body := wrapped.JoinRequest
	switch wrapped.Compression {
	case livekit.WrappedJoinRequest_NONE:
	case livekit.WrappedJoinRequest_GZIP:
		if body, err = gunzip(body); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("join_request has the unknown compression %d", wrapped.Compression)
	}
	jr := &livekit.JoinRequest{}
	if err := proto.Unmarshal(body, jr); err != nil {
		return nil, fmt.Errorf("join_request does not hold a JoinRequest: %w", err)
	}
	return jr, nil
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("join_request is not gzip: %w", err)
	}
	defer z.Close() //nolint:errcheck // a reader in memory
	out, err := io.ReadAll(io.LimitReader(z, maxJoinRequest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("join_request cannot be decompressed: %w", err)
	case len(out) > maxJoinRequest:
		return nil, fmt.Errorf("join_request is larger than %d bytes", maxJoinRequest)
	}
	return out, nil
}
