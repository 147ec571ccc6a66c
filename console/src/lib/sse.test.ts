import { describe, expect, it } from 'vitest';
import { EventStreamParser, maxEvent } from './sse';

const sample = ': hello\nid: 7\nevent: snapshot\ndata: {"a":1}\n\ndata: one\r\ndata:two\r\n\r\n\rdata\r\rretry: 10\ndata:  x\n\ndata: unfinished';

const expected = [
  { type: 'snapshot', data: '{"a":1}', id: '7' },
  { type: 'message', data: 'one\ntwo', id: '7' },
  { type: 'message', data: '', id: '7' },
  { type: 'message', data: ' x', id: '7' },
];

describe('EventStreamParser', () => {
  it('reads events, comments, multi-line data and every line end', () => {
    expect(new EventStreamParser().push(sample)).toEqual(expected);
  });

  it('gives the same events for every way to cut the stream in two', () => {
    for (let cut = 0; cut <= sample.length; cut++) {
      const p = new EventStreamParser();
      expect([...p.push(sample.slice(0, cut)), ...p.push(sample.slice(cut))], `cut at ${cut}`).toEqual(expected);
    }
  });

  it('gives the same events one character at a time', () => {
    const p = new EventStreamParser();
    expect([...sample].flatMap((c) => p.push(c))).toEqual(expected);
  });

  it('drops a leading byte order mark only', () => {
    const p = new EventStreamParser();
    expect(p.push('\uFEFFdata: a\n\n\uFEFFdata: b\n\n')).toEqual([{ type: 'message', data: 'a', id: '' }]);
  });

  it('forgets the event name when an event without data ends', () => {
    expect(new EventStreamParser().push('event: x\n\ndata: 1\n\n')).toEqual([{ type: 'message', data: '1', id: '' }]);
  });

  it('ignores an id with a null character', () => {
    expect(new EventStreamParser().push('id: a\0b\ndata: 1\n\n')[0]?.id).toBe('');
  });

  it('refuses an event without end', () => {
    const p = new EventStreamParser();
    const chunk = 'data: ' + 'x'.repeat(maxEvent / 4 - 7) + '\n';
    for (let i = 0; i < 4; i++) p.push(chunk);
    expect(() => p.push('data: 12345')).toThrow(RangeError);
  });

  it('does not count comments and ended events against the limit', () => {
    const p = new EventStreamParser();
    const chunk = 'x'.repeat(maxEvent / 2);
    for (let i = 0; i < 3; i++) {
      p.push(`:${chunk}\n`);
      expect(p.push(`data: ${chunk}\n\n`)).toHaveLength(1);
    }
  });
});
