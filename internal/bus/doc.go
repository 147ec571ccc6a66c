// Package bus connects the nodes of a cluster: messages, requests, leases,
// records, events and work queues, over NATS with JetStream.
//
// A master embeds the NATS server (one, three or five of them form the
// cluster) and talks to it inside the process; a media node is a client of the
// masters. The package owns the connection, who may write what, every subject,
// bucket and stream (subjects.go), and what survives an outage. It decides
// nothing and knows none of the messages: their types belong to those who
// send them.
//
// What it promises, and what not: messages and requests are lost in an outage
// and said to be ([ErrOutage]); events wait in memory and are stored once;
// records are on disk on every master; leases end by themselves. Nothing on
// the path of media or of a join may wait for this package.
//
// Start reading at subjects.go for what is where, then [Open]. DESIGN.md has
// the reasons.
package bus
