/** A parser of text/event-stream (WHATWG HTML, section 9.2.6), fed with decoded text in any chunks. */

export interface StreamEvent {
  /** "message" unless the stream named the event. */
  type: string;
  data: string;
  id: string;
}

/** Longest event kept, in characters: a stream without line ends must not eat the memory. */
export const maxEvent = 32 << 20;

/** EventStreamParser turns chunks of text into events. It keeps what is incomplete. */
export class EventStreamParser {
  /** The pieces of the line so far, joined once it ends, so that long lines stay linear. */
  #line: string[] = [];
  #data: string[] = [];
  #size = 0;
  #type = '';
  #id = '';
  #started = false;
  #afterCR = false;

  /** push returns the events that the chunk completed. It throws RangeError on an endless event. */
  push(chunk: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    if (chunk === '') return events;
    let start = 0;
    if (!this.#started && chunk.startsWith('\uFEFF')) start = 1;
    this.#started = true;
    if (this.#afterCR && chunk[start] === '\n') start++;
    this.#afterCR = false;
    const lineEnd = /\r\n|\n|\r/g;
    lineEnd.lastIndex = start;
    for (let end = lineEnd.exec(chunk); end; end = lineEnd.exec(chunk)) {
      this.#keep(chunk.slice(start, end.index));
      start = lineEnd.lastIndex;
      this.#afterCR = end[0] === '\r' && start === chunk.length;
      const event = this.#endLine(this.#line.join(''));
      this.#line = [];
      if (event) events.push(event);
    }
    this.#keep(chunk.slice(start));
    return events;
  }

  #keep(text: string): void {
    this.#size += text.length;
    if (this.#size > maxEvent) throw new RangeError('event too large');
    if (text !== '') this.#line.push(text);
  }

  #endLine(line: string): StreamEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else this.#size -= line.length;
    if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const data = this.#data;
    const type = this.#type === '' ? 'message' : this.#type;
    this.#data = [];
    this.#size = 0;
    this.#type = '';
    return data.length === 0 ? undefined : { type, data: data.join('\n'), id: this.#id };
  }
}
