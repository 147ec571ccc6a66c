/** What an operator can do to a room. What disconnects people is asked about first. */
import type { Credentials } from '../api';
import * as twirp from '../lib/twirp';
import { toasts } from '../ui/toasts.svelte';
import { href } from './pages';
import { router } from './router.svelte';

/** Question is a dialog that waits for a yes. */
export interface Question {
  title: string;
  detail: string;
  verb: string;
  act: () => Promise<void>;
}

export class Actions {
  question = $state.raw<Question | undefined>();
  readonly #credentials: Credentials;
  readonly #room: string;

  constructor(credentials: Credentials, room: string) {
    this.#credentials = credentials;
    this.#room = room;
  }

  removeParticipant(identity: string): void {
    this.question = {
      title: `Remove ${identity}?`,
      detail: 'The participant is disconnected. With a token that is still valid it can join again.',
      verb: 'Remove',
      act: async () => {
        await this.#try(`${identity} was removed.`, () => twirp.removeParticipant(this.#credentials, this.#room, identity));
      },
    };
  }

  deleteRoom(people: number): void {
    this.question = {
      title: `Delete ${this.#room}?`,
      detail: people === 0 ? 'The room is closed.' : `Everyone in it is disconnected: ${people} now.`,
      verb: 'Delete room',
      act: async () => {
        const done = await this.#try(`${this.#room} was deleted.`, () => twirp.deleteRoom(this.#credentials, this.#room));
        if (done) router.go(href('rooms'));
      },
    };
  }

  /** mute needs no question: the publisher can unmute. */
  async mute(identity: string, trackSid: string): Promise<void> {
    await this.#try('Muted.', () => twirp.muteTrack(this.#credentials, this.#room, identity, trackSid));
  }

  async #try(done: string, act: () => Promise<void>): Promise<boolean> {
    try {
      await act();
      toasts.info(done);
      return true;
    } catch (err) {
      toasts.error(err);
      return false;
    }
  }
}
