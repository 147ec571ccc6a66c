/** Toasts: short messages that go away by themselves. One queue a page. */

export interface Toast {
  id: number;
  kind: 'info' | 'error';
  text: string;
}

const most = 4;

class Toasts {
  list = $state<Toast[]>([]);
  #next = 1;

  info(text: string): void {
    this.#show('info', text, 4000);
  }

  /** error shows any thrown value; ms is long enough to read it. */
  error(cause: unknown): void {
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#show('error', text, 9000);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((t) => t.id !== id);
  }

  #show(kind: Toast['kind'], text: string, ms: number): void {
    // The same words again only start over.
    this.list = this.list.filter((t) => t.text !== text).slice(1 - most);
    const id = this.#next++;
    this.list.push({ id, kind, text });
    setTimeout(() => this.dismiss(id), ms);
  }
}

export const toasts = new Toasts();
