import { describe, expect, it } from 'vitest';
import { href, parseRoute } from './pages';

describe('routes', () => {
  it.each(['standup', 'a b', 'stand/up', '50%', '…', 'a?b#c'])('keeps the room %j', (name) => {
    const path = new URL(href('rooms', name), 'http://h').pathname;
    expect(parseRoute(path)).toEqual({ page: 'rooms', item: name });
  });
  it.each(['/console', '/console/', '/console/rooms', '/console/rooms/', '/console/nothing/x', '/meet', '/console/rooms/%E0%A4%A'])(
    'shows the list for %s',
    (path) => expect(parseRoute(path)).toEqual({ page: 'rooms', item: undefined }),
  );
});
