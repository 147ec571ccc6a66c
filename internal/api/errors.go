package api

import (
	"context"
	"errors"
	"strconv"

	"github.com/twitchtv/twirp"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room"
)

// inRoom is toTwirp for what was asked of a room: one that is closed is not there
// any more. Elsewhere it is the server that is closed.
func inRoom(err error) error {
	if errors.Is(err, room.ErrClosed) {
		err = room.ErrRoomNotFound
	}
	return toTwirp(err)
}

// toTwirp gives an error the code that LiveKit's SDKs expect.
func toTwirp(err error) error {
	var rpc *room.RPCError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrPermission), errors.Is(err, auth.ErrNoIdentity), errors.Is(err, auth.ErrNoRoom):
		return twirp.PermissionDenied.Error(err.Error())
	case errors.Is(err, room.ErrRoomNotFound), errors.Is(err, room.ErrParticipantNotFound), errors.Is(err, room.ErrTrackNotFound):
		return twirp.NotFoundError(err.Error())
	case errors.Is(err, room.ErrLimit):
		return twirp.InvalidArgument.Error(err.Error())
	case errors.Is(err, room.ErrRemoteUnmute):
		return twirp.FailedPrecondition.Error(err.Error())
	case errors.Is(err, room.ErrRoomFull):
		return twirp.ResourceExhausted.Error(err.Error())
	case errors.Is(err, room.ErrRPCTimeout), errors.Is(err, context.DeadlineExceeded):
		return twirp.DeadlineExceeded.Error(err.Error())
	case errors.Is(err, context.Canceled):
		return twirp.Canceled.Error(err.Error())
	case errors.Is(err, room.ErrClosed):
		return twirp.Unavailable.Error(err.Error())
	case errors.As(err, &rpc):
		return twirp.Aborted.Error(rpc.Message).WithMeta("rpc_code", strconv.FormatUint(uint64(rpc.Code), 10)).WithMeta("rpc_data", rpc.Data)
	}
	return twirp.InternalErrorWith(err)
}
