import type { Room } from 'livekit-client';

declare global {
  interface Window {
    /** For tests and the developer tools: the room being joined or joined. */
    concertina?: { room: Room };
  }
}

export {};
