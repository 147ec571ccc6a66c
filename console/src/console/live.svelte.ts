/**
 * Live is the stream of snapshots and what is remembered of it: the newest
 * snapshot, the room that is looked at, and a history of bit rates a room.
 */
import { ApiError, getRoom, stream, type Credentials, type Node, type Room, type Snapshot } from '../api';
import { Series } from '../lib/series';

export type Link = 'connecting' | 'live' | 'stalled' | 'offline';

/** Without an event for this long the figures are old news. */
const stallAfter = 5_000;
/** Why a stream was cut: to open another one at once. */
const again = 'again';
/** Five minutes of one sample a second. */
const samples = 300;
const gap = 4;

export class Live {
  link = $state<Link>('connecting');
  node = $state.raw<Node | undefined>();
  rooms = $state.raw<Room[]>([]);
  /** The room that is looked at, with participants; undefined when unknown or gone. */
  room = $state.raw<Room | undefined>();
  /** Clock of this page at the newest snapshot, milliseconds. */
  now = $state(Date.now());
  /** True after the first snapshot. */
  loaded = $state(false);
  /** Why the server refuses, once it does: the credentials are then no use. */
  refused = $state('');

  readonly #credentials: Credentials;
  readonly #history = new Map<string, Series>();
  #watched: string | undefined;
  #abort = new AbortController();
  #closed = false;
  #fetching = false;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
    void this.#run();
  }

  /** watch names the room to get with participants; undefined for none. */
  watch(name: string | undefined): void {
    if (name === this.#watched) return;
    this.#watched = name;
    this.room = undefined;
    // A new connection asks for the new room; #run opens it at once.
    this.#abort.abort(again);
  }

  /** history is in and out bits per second of a room; a new one is empty. */
  history(name: string): Series {
    let series = this.#history.get(name);
    if (!series) this.#history.set(name, (series = new Series(2, samples, gap)));
    return series;
  }

  close(): void {
    this.#closed = true;
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#closed) {
      const abort = (this.#abort = new AbortController());
      let watchdog: ReturnType<typeof setTimeout> | undefined;
      try {
        for await (const snapshot of stream(this.#credentials, this.#watched, abort.signal)) {
          failures = 0;
          clearTimeout(watchdog);
          watchdog = setTimeout(() => {
            this.link = 'stalled';
            abort.abort(again);
          }, stallAfter);
          if (abort === this.#abort && !this.#closed) this.#take(snapshot);
        }
      } catch (err) {
        if (err instanceof ApiError && (err.status === 401 || err.status === 403)) {
          this.refused = err.message;
          return;
        }
      } finally {
        clearTimeout(watchdog);
      }
      if (this.#closed) return;
      // The server ended the stream or cannot be reached: wait a little longer each time.
      if (abort.signal.reason === again) continue;
      this.link = 'offline';
      failures++;
      await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 2 ** (failures - 1), 10_000)));
    }
  }

  #take(snapshot: Snapshot): void {
    this.now = Date.now();
    this.link = 'live';
    this.loaded = true;
    this.node = snapshot.node;
    this.rooms = (snapshot.rooms ?? []).toSorted((a, b) => a.name.localeCompare(b.name));
    const names = new Set<string>();
    for (const room of this.rooms) {
      names.add(room.name);
      this.history(room.name).add(this.now / 1000, [room.bitrate_in, room.bitrate_out]);
    }
    for (const name of this.#history.keys()) if (!names.has(name)) this.#history.delete(name);
    this.#takeRoom();
  }

  #takeRoom(): void {
    const name = this.#watched;
    const room = this.rooms.find((r) => r.name === name);
    if (!room || room.participants || room.num_participants === 0) {
      this.room = room;
    } else if (name !== undefined && !this.#fetching) {
      // A server that does not add participants to the stream is asked for them.
      this.#fetching = true;
      void getRoom(this.#credentials, name, this.#abort.signal)
        .then((full) => {
          if (this.#watched === name) this.room = full;
        })
        .catch(() => undefined)
        .finally(() => (this.#fetching = false));
    }
  }
}
