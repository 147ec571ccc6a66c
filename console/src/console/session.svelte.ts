/** The signed-in session: credentials in this tab, and the live stream that they open. */
import { ApiError, devKeys, listRooms, type Credentials } from '../api';
import { Live } from './live.svelte';

const slot = 'concertina.credentials';

class Session {
  credentials = $state.raw<Credentials | undefined>();
  live = $state.raw<Live | undefined>();
  /** True until it is known whether the page can sign in by itself. */
  starting = $state(true);

  /** start signs in with what this tab knows, else with the development keys. */
  async start(): Promise<void> {
    const known = recall();
    const valid = known && (await accepted(known)) ? known : await devKeys();
    if (valid) this.#open(valid);
    this.starting = false;
  }

  /** signIn checks the credentials with the server. It throws an ApiError in words. */
  async signIn(credentials: Credentials, keep: boolean): Promise<void> {
    await listRooms(credentials);
    if (keep) remember(credentials);
    this.#open(credentials);
  }

  signOut(): void {
    remember(undefined);
    this.live?.close();
    this.live = undefined;
    this.credentials = undefined;
  }

  #open(credentials: Credentials): void {
    this.live?.close();
    this.credentials = credentials;
    this.live = new Live(credentials);
  }
}

/** accepted is false only when the server refuses: one that cannot be reached may come back. */
async function accepted(c: Credentials): Promise<boolean> {
  try {
    await listRooms(c);
  } catch (err) {
    if (err instanceof ApiError && (err.status === 401 || err.status === 403)) {
      remember(undefined);
      return false;
    }
  }
  return true;
}

/** Kept for this tab only, and gone with it. */
function remember(c: Credentials | undefined): void {
  try {
    if (c) sessionStorage.setItem(slot, JSON.stringify(c));
    else sessionStorage.removeItem(slot);
  } catch {
    // Storage may be denied: then a reload asks again.
  }
}

function recall(): Credentials | undefined {
  try {
    const c = JSON.parse(sessionStorage.getItem(slot) ?? '{}') as Partial<Credentials>;
    return typeof c.key === 'string' && typeof c.secret === 'string' ? { key: c.key, secret: c.secret } : undefined;
  } catch {
    return undefined;
  }
}

export const session = new Session();
