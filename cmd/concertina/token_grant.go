package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/auth"
)

// applyGrant sets one grant of the command line, "name" or "name=value".
func applyGrant(v *auth.VideoGrant, grant string) error {
	name, value, hasValue := strings.Cut(grant, "=")
	switch name {
	case "room":
		v.Room = value
		return nil
	case "destinationRoom":
		v.DestinationRoom = value
		return nil
	case "canPublishSources":
		return applySources(v, value)
	}
	on := true
	if hasValue {
		var err error
		if on, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("--grant %s: expected true or false, got %q", name, value)
		}
	}
	flags := map[string]*bool{
		"roomCreate": &v.RoomCreate, "roomList": &v.RoomList, "roomRecord": &v.RoomRecord, "roomAdmin": &v.RoomAdmin,
		"roomJoin": &v.RoomJoin, "ingressAdmin": &v.IngressAdmin, "hidden": &v.Hidden, "recorder": &v.Recorder, "agent": &v.Agent,
	}
	permissions := map[string]**bool{
		"canPublish": &v.CanPublish, "canSubscribe": &v.CanSubscribe, "canPublishData": &v.CanPublishData,
		"canUpdateOwnMetadata": &v.CanUpdateOwnMetadata, "canSubscribeMetrics": &v.CanSubscribeMetrics,
	}
	if p, ok := flags[name]; ok {
		*p = on
	} else if p, ok := permissions[name]; ok {
		*p = &on
	} else {
		known := append(slices.Sorted(maps.Keys(flags)), slices.Sorted(maps.Keys(permissions))...)
		known = append(known, "canPublishSources", "destinationRoom", "room")
		return fmt.Errorf("--grant: unknown grant %q; there are %s", name, strings.Join(known, ", "))
	}
	return nil
}

// applySources reads track sources joined by plus signs.
func applySources(v *auth.VideoGrant, value string) error {
	var sources []livekit.TrackSource
	for s := range strings.SplitSeq(value, "+") {
		n, ok := livekit.TrackSource_value[strings.ToUpper(s)]
		if !ok || n == int32(livekit.TrackSource_UNKNOWN) {
			return fmt.Errorf("--grant canPublishSources: unknown source %q; there are camera, microphone, screen_share, screen_share_audio", s)
		}
		sources = append(sources, livekit.TrackSource(n))
	}
	v.SetCanPublishSources(sources)
	return nil
}
