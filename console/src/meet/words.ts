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

/** livekit-client's ConnectionErrorReason, by number. */
const Reason = { NotAllowed: 0, ServerUnreachable: 1, Cancelled: 3, LeaveRequest: 4, Timeout: 5, WebSocket: 6, ServiceNotFound: 7 } as const;

/** Servers quote the token that they refuse, which helps nobody and must not be shown. */
const tokens = /(invalid token: )?\beyJ[\w-]*\.[\w-]*\.[\w-]*(, error: )?/g;

/**
 * joinWords explains why joining failed. It goes by `reason` and `status` of livekit-client's
 * ConnectionError: Room.connect wraps the error and leaves `reasonName` on "ServerUnreachable".
 */
export function joinWords(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  const { reason, status } = err as { reason?: unknown; status?: unknown };
  const message = err.message.replace(/^could not establish signal connection: /i, '').replace(tokens, '');
  switch (reason) {
    case Reason.NotAllowed:
      if (status === 404) return 'This room does not exist, and the server does not create rooms on joining.';
      return status === 403
        ? `The server did not let you in: ${message}`
        : `The server refused the token: ${message}. It may have expired or belong to another server.`;
    case Reason.ServerUnreachable:
    case Reason.WebSocket:
      return 'The server cannot be reached. Check its address and your network.';
    case Reason.Cancelled:
      return 'Joining was cancelled.';
    case Reason.LeaveRequest:
      return 'The server ended the connection while you were joining. Try again.';
    case Reason.Timeout:
      return 'The server did not answer in time. A firewall may block the media ports.';
    case Reason.ServiceNotFound:
      return 'There is no meeting server at this address.';
    default:
      return /pc connection|peer connection|negotiation/i.test(message)
        ? 'No media connection could be made. A firewall may block the media ports.'
        : message;
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
