package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/room/data"
)

// serverIdentity is who participants see as the caller of a server's RPC; they
// answer to it.
const serverIdentity = "server"

// rpcTimeout bounds an RPC whose caller names no timeout (LiveKit's default).
const rpcTimeout = 15 * time.Second

// rpcDisconnected is the code of SDKs for a participant that left before it
// answered.
const rpcDisconnected = 1503

// RPCError is an error that the called participant raised, or that its SDK would
// have raised.
type RPCError struct {
	Code    uint32
	Message string
	Data    string
}

// Error implements error.
func (e *RPCError) Error() string { return fmt.Sprintf("rpc error %d: %s", e.Code, e.Message) }

// PerformRPC calls a method of a participant and returns its answer. Errors:
// [ErrParticipantNotFound], [ErrRPCTimeout], [ErrLimit] for a payload that does
// not fit into a data packet, [ErrClosed], *[RPCError] as the participant raised
// it or when it leaves.
func (r *Room) PerformRPC(ctx context.Context, req *livekit.PerformRpcRequest) (string, error) {
	timeout := time.Duration(req.ResponseTimeoutMs) * time.Millisecond
	if timeout <= 0 {
		timeout = rpcTimeout
	}
	id := newSID("")
	defer r.rpcs.End(id)
	var answer <-chan data.Result
	err := r.with(ctx, req.DestinationIdentity, func(p *Participant) error {
		raw, err := proto.Marshal(&livekit.DataPacket{
			ParticipantIdentity: serverIdentity, DestinationIdentities: []string{p.identity},
			Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{
				Id: id, Method: req.Method, Payload: req.Payload, ResponseTimeoutMs: uint32(timeout / time.Millisecond), Version: 1,
			}},
		})
		if err != nil {
			return fmt.Errorf("marshal rpc: %w", err)
		}
		answer = r.rpcs.Begin(id, p.sid)
		if err := p.down.Send(peer.Reliable, raw); errors.Is(err, peer.ErrMessageTooLarge) {
			return fmt.Errorf("%w: the payload does not fit into a data packet of %d bytes", ErrLimit, len(raw))
		} else if err != nil {
			return fmt.Errorf("send rpc: %w", err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-answer:
		return a.Payload, a.Err
	case <-timer.C:
		return "", ErrRPCTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// answersServer takes what answers a server's RPC; false when dp is for others.
func (p *Participant) answersServer(dp *livekit.DataPacket) bool {
	if res := dp.GetRpcResponse(); res != nil {
		a := data.Result{Payload: res.GetPayload()}
		if e := res.GetError(); e != nil {
			a = data.Result{Err: &RPCError{Code: e.Code, Message: e.Message, Data: e.Data}}
		}
		if p.room.rpcs.Settle(res.GetRequestId(), p.sid, a) {
			return true
		}
	}
	return slices.Contains(dp.DestinationIdentities, serverIdentity) // an ack, or too late
}
