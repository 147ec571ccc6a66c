/** Errors in words that say what to do. Pure: it looks at names and codes, not at classes. */

/** deviceWords explains why a camera, microphone or screen could not be used. */
export function deviceWords(err: unknown, what: 'camera' | 'microphone' | 'screen'): string {
  const name = err instanceof Error || err instanceof DOMException ? err.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
      return what === 'screen'
        ? 'Screen sharing was not allowed.'
        : `The browser may not use the ${what}. Allow it in the address bar, then try again.`;
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return `No ${what} was found.`;
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return `The ${what} is in use by another program or cannot be read.`;
    case 'OverconstrainedError':
      return `The chosen ${what} is not there any more.`;
    case 'DeviceUnsupportedError':
    case 'NotSupportedError':
      return `This browser cannot share the ${what}.`;
    default:
      return `The ${what} could not be started: ${err instanceof Error ? err.message : String(err)}`;
  }
}

/** isCancelled tells a choice of the person (closing the picker) from an error. */
export function isCancelled(err: unknown, what: 'camera' | 'microphone' | 'screen'): boolean {
  return what === 'screen' && err instanceof Error && err.name === 'NotAllowedError';
}

/** joinWords explains why joining failed. reasonName and status are those of livekit-client's ConnectionError. */
export function joinWords(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  const { reasonName, status } = err as { reasonName?: unknown; status?: unknown };
  switch (reasonName) {
    case 'NotAllowed':
      if (status === 404) return 'This room does not exist, and the server does not create rooms on joining.';
      return status === 403
        ? 'This token does not allow joining this room.'
        : `The server refused the token. It may have expired or belong to another server. (${err.message})`;
    case 'ServerUnreachable':
    case 'WebSocket':
      return 'The server cannot be reached. Check its address and your network.';
    case 'Timeout':
      return 'The server did not answer in time. A firewall may block the media ports.';
    case 'ServiceNotFound':
      return 'There is no meeting server at this address.';
    case 'Cancelled':
      return 'Joining was cancelled.';
    default:
      return err.name === 'ConnectionError' && /pc connection|peer connection|negotiation/i.test(err.message)
        ? 'No media connection could be made. A firewall may block the media ports.'
        : err.message;
  }
}

/** Farewell is what a person reads when the meeting is over. */
export interface Farewell {
  title: string;
  detail: string;
}

/** farewell explains livekit.DisconnectReason, by number. */
export function farewell(reason: number | undefined): Farewell {
  switch (reason) {
    case 1: // CLIENT_INITIATED
      return { title: 'You left the meeting', detail: '' };
    case 2: // DUPLICATE_IDENTITY
      return { title: 'You joined from somewhere else', detail: 'This page was disconnected because the same identity joined again.' };
    case 3: // SERVER_SHUTDOWN
      return { title: 'The server is going down', detail: 'Try again in a moment.' };
    case 4: // PARTICIPANT_REMOVED
      return { title: 'You were removed', detail: 'Someone with admin rights ended your part in this meeting.' };
    case 5: // ROOM_DELETED
    case 10: // ROOM_CLOSED
      return { title: 'The meeting has ended', detail: 'The room was closed for everyone.' };
    case 7: // JOIN_FAILURE
    case 15: // MEDIA_FAILURE
      return { title: 'The media connection failed', detail: 'A firewall may block the media ports.' };
    default:
      return { title: 'The connection was lost', detail: 'The page tried to reconnect but could not reach the meeting again.' };
  }
}
