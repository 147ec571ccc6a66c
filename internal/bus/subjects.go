package bus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// This file declares every subject, bucket and stream. A subject is a path of
// tokens separated by dots; the id of the node that publishes is part of it
// and enforced by the masters (permissions.go), so a receiver may trust it.
// Names that users choose (rooms, participants) go through [Token].

// Core messages: whoever listens now gets them, nothing is kept.

// NodeLoad is where a node reports its load, once a second.
func NodeLoad(node string) string { return "node." + node + ".load" }

// NodeStatus is where a node says what becomes of it: that it is up, how far
// its drain is, that it leaves.
func NodeStatus(node string) string { return "node." + node + ".status" }

// NodeRooms is where a node publishes the digest of its rooms: names, numbers
// of participants, versions. It repairs what a lost RoomState has broken.
func NodeRooms(node string) string { return "node." + node + ".rooms" }

// Subjects of all nodes at once, to subscribe to.
const (
	AllNodeLoads    = "node.*.load"
	AllNodeStatuses = "node.*.status"
	AllNodeRooms    = "node.*.rooms"
)

// RoomState is where a node publishes the records of its participants in a
// room. A newcomer asks the room's nodes for a snapshot ([NodeRequest]).
func RoomState(room, node string) string { return "room." + Token(room) + "." + node + ".state" }

// RoomLevels is where a node publishes the speaker levels of its participants
// in a room.
func RoomLevels(room, node string) string { return "room." + Token(room) + "." + node + ".levels" }

// RoomData is where a node publishes data messages of its participants for
// participants elsewhere.
func RoomData(room, node string) string { return "room." + Token(room) + "." + node + ".data" }

// AllRoomStates, AllRoomLevels and AllRoomData are one room's messages from
// all of its nodes.
func AllRoomStates(room string) string { return "room." + Token(room) + ".*.state" }

// AllRoomLevels: see [AllRoomStates].
func AllRoomLevels(room string) string { return "room." + Token(room) + ".*.levels" }

// AllRoomData: see [AllRoomStates].
func AllRoomData(room string) string { return "room." + Token(room) + ".*.data" }

// ClusterView is where the leader publishes what it sees: nodes, statuses,
// loads. Only masters write it. Nodes place rooms by it when no master answers.
const ClusterView = "cluster.view"

// ClusterNotice is where masters tell all nodes something at once. Only
// masters write it.
const ClusterNotice = "cluster.notice"

// Requests: one receiver answers.

// NodeRequest asks one node something that any node may ask: a room's
// snapshot, a server API call for a room that it hosts.
func NodeRequest(node, method string) string { return "ask.node." + node + "." + method }

// NodeCommand tells one node what only masters may: drain, leave.
func NodeCommand(node, method string) string { return "tell.node." + node + "." + method }

// MasterRequest asks any master. Masters answer in the queue group [QueueMasters].
func MasterRequest(method string) string { return "ask.master." + method }

// LeaderRequest asks the master that holds the lease [LeaseLeader].
func LeaderRequest(method string) string { return "ask.leader." + method }

// QueueMasters is the queue group in which masters answer [MasterRequest].
const QueueMasters = "masters"

// Leases, in the bucket [BucketLeases].

// LeaseLeader is held by the master that runs the control loop.
const LeaseLeader = "leader"

// LeaseNode is held by a node as long as it lives.
func LeaseNode(node string) string { return "node." + node }

// LeaseJob is held by the node that runs a job.
func LeaseJob(job string) string { return "job." + Token(job) }

// BucketLeases holds leases, in memory on every master. It is empty after all
// masters have stopped at once; nodes register again.
const BucketLeases = "leases"

// Buckets of records: on disk on every master, written by masters only, read
// by all. A key is made of [Token] values.
const (
	// BucketCluster is the leader's: nodes with their launch requests, the
	// plan, what the autoscaler remembers. Written under the fence of
	// [LeaseLeader], so that a former leader cannot.
	BucketCluster = "cluster"
	// BucketRooms has rooms created by API and the nodes that rooms are pinned to.
	BucketRooms = "rooms"
	// BucketJobs has egress, ingress and agent jobs.
	BucketJobs = "jobs"
	// BucketIngress has ingress definitions.
	BucketIngress = "ingress"
	// BucketReservations has capacity booked ahead.
	BucketReservations = "reservations"
)

// recordBuckets are exported and imported.
func recordBuckets() []string {
	return []string{BucketCluster, BucketRooms, BucketJobs, BucketIngress, BucketReservations}
}

func allBuckets() []string { return append(recordBuckets(), BucketLeases) }

// fencePrefix starts the keys of a bucket that count its leaders.
const fencePrefix = "fence."

// Streams.

// StreamEvents keeps what happened, in order, once each. Its subjects are
// those of [EventSubject]. Masters read it.
const StreamEvents = "EVENTS"

// EventSubject is where a node publishes events of a kind, e.g.
// mediaNodeStatusChanged. A kind is letters, digits, - and _.
func EventSubject(node, kind string) string { return "event." + node + "." + kind }

const allEvents = "event.>"

// StreamWork keeps tasks until a worker has done them. Its subjects are those
// of [WorkSubject]; each queue has one consumer.
const StreamWork = "WORK"

// WorkSubject is where tasks of a queue are put. Masters do.
func WorkSubject(queue string) string { return "work." + queue }

const allWork = "work.>"

// StreamDead keeps tasks that were given up, for an operator.
const StreamDead = "DEAD"

// DeadSubject is where the given-up tasks of a queue are kept.
func DeadSubject(queue string) string { return "dead." + queue }

const allDead = "dead.>"

// NodeOf returns the node that published a message, from its subject: node.*,
// room.* and event.* subjects have it. Empty if the subject has none.
func NodeOf(subject string) string {
	parts := strings.Split(subject, ".")
	switch {
	case len(parts) == 3 && (parts[0] == "node" || parts[0] == "event"):
		return parts[1]
	case len(parts) == 4 && parts[0] == "room":
		return parts[2]
	}
	return ""
}

// Token makes a text one token of a subject or key. Letters, digits, - and _
// stay; other bytes become = and two hexadecimal digits. The empty text is "=".
func Token(s string) string {
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		plain = isPlain(s[i])
	}
	if plain {
		return s
	}
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(s) {
		if isPlain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "=%02X", s[i])
		}
	}
	return b.String()
}

// ParseToken is the inverse of [Token].
func ParseToken(t string) (string, error) {
	if t == "=" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		switch {
		case isPlain(t[i]):
			b.WriteByte(t[i])
		case t[i] == '=' && i+2 < len(t):
			v, err := strconv.ParseUint(t[i+1:i+3], 16, 8)
			if err != nil || isPlain(byte(v)) || strings.ToUpper(t[i+1:i+3]) != t[i+1:i+3] {
				return "", fmt.Errorf("%w: token %q", ErrMalformed, t)
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			return "", fmt.Errorf("%w: token %q", ErrMalformed, t)
		}
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%w: empty token", ErrMalformed)
	}
	return b.String(), nil
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// markerAge is how long the trace of an ended lease stays, so that those who
// wait for it see it.
const markerAge = 10 * time.Second

// buckets returns the configuration of every bucket.
func (c Config) buckets() []jetstream.KeyValueConfig {
	out := []jetstream.KeyValueConfig{{
		Bucket: BucketLeases, Description: "leases", Storage: jetstream.MemoryStorage,
		Replicas: c.Server.Masters, History: 1, LimitMarkerTTL: markerAge, MaxBytes: 64 << 20,
	}}
	for _, name := range recordBuckets() {
		out = append(out, jetstream.KeyValueConfig{
			Bucket: name, Description: "records", Storage: jetstream.FileStorage,
			Replicas: c.Server.Masters, History: 1, LimitMarkerTTL: markerAge, MaxBytes: 256 << 20,
		})
	}
	return out
}

// streams returns the configuration of every stream.
func (c Config) streams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{{
		Name: StreamEvents, Subjects: []string{allEvents}, Storage: jetstream.FileStorage,
		Replicas: c.Server.Masters, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: c.Server.EventAge, MaxBytes: c.Server.EventBytes, Duplicates: eventWindow, AllowDirect: true,
	}, {
		Name: StreamWork, Subjects: []string{allWork}, Storage: jetstream.FileStorage,
		Replicas: c.Server.Masters, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxMsgs: 100_000, MaxBytes: 256 << 20, Duplicates: eventWindow, AllowDirect: true,
	}, {
		Name: StreamDead, Subjects: []string{allDead}, Storage: jetstream.FileStorage,
		Replicas: c.Server.Masters, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxMsgs: 10_000, MaxBytes: 64 << 20, Duplicates: eventWindow, AllowDirect: true,
	}}
}
