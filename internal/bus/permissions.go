package bus

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// inboxPrefix is where answers to a node's requests go. Nobody else may listen.
func inboxPrefix(node string) string { return "_INBOX_" + node }

// nodePermissions is all that a media node may do. Everything else is refused
// by the masters, and reported to the node as [ErrDenied] or in its log.
func nodePermissions(node string) *server.Permissions {
	publish := []string{
		// What it knows, under its own name.
		"node." + node + ".>", "room.*." + node + ".>", "event." + node + ".*",
		// Requests.
		"ask.>",
		// Its own lease, and those of jobs that it runs.
		"$KV." + BucketLeases + "." + LeaseNode(node), "$KV." + BucketLeases + ".job.*",
		// Doing work.
		"$JS.API.STREAM.INFO." + StreamWork, "$JS.API.CONSUMER.INFO." + StreamWork + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + StreamWork + ".*", "$JS.ACK." + StreamWork + ".>", "dead.*",
		"$JS.API.INFO", "$JS.FC.>",
	}
	for _, bucket := range allBuckets() {
		stream := "KV_" + bucket
		publish = append(publish,
			"$JS.API.STREAM.INFO."+stream, "$JS.API.DIRECT.GET."+stream, "$JS.API.DIRECT.GET."+stream+".>",
			"$JS.API.STREAM.MSG.GET."+stream,
			"$JS.API.CONSUMER.CREATE."+stream+".>", "$JS.API.CONSUMER.DELETE."+stream+".>", "$JS.API.CONSUMER.MSG.NEXT."+stream+".>",
		)
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: []string{
			inboxPrefix(node) + ".>",
			"ask.node." + node + ".*", "tell.node." + node + ".*",
			"node.>", "room.>", "cluster.>",
		}},
		Response: &server.ResponsePermission{MaxMsgs: 1, Expires: 2 * time.Minute},
	}
}

// masterPermissions keep a master from nothing.
func masterPermissions() *server.Permissions {
	all := &server.SubjectPermission{Allow: []string{">"}}
	return &server.Permissions{Publish: all, Subscribe: all}
}
