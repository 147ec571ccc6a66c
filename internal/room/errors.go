package room

import "errors"

// Errors of this package. The API's edge turns them into status codes.
var (
	ErrRoomNotFound        = errors.New("requested room does not exist")
	ErrParticipantNotFound = errors.New("participant does not exist")
	ErrTrackNotFound       = errors.New("track does not exist")
	ErrRoomFull            = errors.New("room has exceeded its max participants")
	ErrClosed              = errors.New("room is closed")
	ErrLimit               = errors.New("limit exceeded")
	ErrRemoteUnmute        = errors.New("remote unmute is not enabled (room.enable_remote_unmute)")
	ErrRPCTimeout          = errors.New("the participant did not answer the RPC in time")
	ErrQueueFull           = errors.New("signal queue is full: the client does not read")
)
