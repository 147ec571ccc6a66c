/** The console's actions: RoomService over Twirp JSON, each with a token minted for just that call. */
import { ApiError, errorText, type Credentials } from '../api';
import { mint, type Grant } from './token';

async function call(method: string, c: Credentials, grant: Grant, body: Record<string, unknown>): Promise<void> {
  const token = await mint(c.key, c.secret, grant, Date.now());
  const res = await fetch(`/twirp/livekit.RoomService/${method}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
    credentials: 'omit',
    body: JSON.stringify(body),
  }).catch(() => {
    throw new ApiError(0, 'The server cannot be reached.');
  });
  if (!res.ok) throw new ApiError(res.status, errorText(res.status, await res.text()));
}

/** removeParticipant disconnects a participant; with a valid token it may join again. */
export function removeParticipant(c: Credentials, room: string, identity: string): Promise<void> {
  return call('RemoveParticipant', c, { room, roomAdmin: true }, { room, identity });
}

/** muteTrack mutes a published track; only its publisher can unmute it. */
export function muteTrack(c: Credentials, room: string, identity: string, trackSid: string): Promise<void> {
  return call('MutePublishedTrack', c, { room, roomAdmin: true }, { room, identity, track_sid: trackSid, muted: true });
}

/** deleteRoom ends a room and disconnects everyone in it. */
export function deleteRoom(c: Credentials, room: string): Promise<void> {
  return call('DeleteRoom', c, { roomCreate: true }, { room });
}
