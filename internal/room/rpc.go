package room

import (
	"context"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"google.golang.org/protobuf/proto"
)

// serverIdentity is who participants see as the caller of a server's RPC; they
// answer to it.
const serverIdentity = "server"

// rpcTimeout bounds an RPC whose caller names no timeout (LiveKit's default).
const rpcTimeout = 15 * time.Second

// PerformRPC calls a method of a participant and returns its answer. Errors:
// [ErrParticipantNotFound], [ErrRPCTimeout], *[RPCError] as the participant
// raised it.
func (r *Room) PerformRPC(ctx context.Context, req *livekit.PerformRpcRequest) (string, error) {
	timeout := time.Duration(req.ResponseTimeoutMs) * time.Millisecond
	if timeout <= 0 {
		timeout = rpcTimeout
	}
	id := newSID("")
	answer := make(chan *livekit.RpcResponse, 1)
	err := r.with(ctx, req.DestinationIdentity, func(p *Participant) error {
		data, err := proto.Marshal(&livekit.DataPacket{
			ParticipantIdentity: serverIdentity, DestinationIdentities: []string{p.identity},
			Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{
				Id: id, Method: req.Method, Payload: req.Payload, ResponseTimeoutMs: uint32(timeout / time.Millisecond), Version: 1,
			}},
		})
		if err != nil {
			return fmt.Errorf("marshal rpc: %w", err)
		}
		r.rpcs[id] = answer
		return p.down.Send(peer.Reliable, data)
	})
	defer r.mail.post(func() { delete(r.rpcs, id) })
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case res, ok := <-answer:
		if !ok {
			return "", ErrClosed
		}
		if e := res.GetError(); e != nil {
			return "", &RPCError{Code: e.Code, Message: e.Message, Data: e.Data}
		}
		return res.GetPayload(), nil
	case <-timer.C:
		return "", ErrRPCTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// RPCError is an error that the called participant raised.
type RPCError struct {
	Code    uint32
	Message string
	Data    string
}

// Error implements error.
func (e *RPCError) Error() string { return fmt.Sprintf("rpc error %d: %s", e.Code, e.Message) }

// answerRPC takes the answer to a server's RPC; false when it is not one. The
// decision must be the actor's, but whom an id belongs to shows its form.
func (r *Room) answerRPC(res *livekit.RpcResponse) bool {
	if len(res.GetRequestId()) != len(newSID("")) {
		return false
	}
	return r.call(context.Background(), func() error {
		c := r.rpcs[res.GetRequestId()]
		if c == nil {
			return ErrParticipantNotFound
		}
		delete(r.rpcs, res.GetRequestId())
		c <- res
		return nil
	}) == nil
}
