import { describe, expect, it } from 'vitest';
import { deviceWords, farewell, isCancelled, joinWords } from './words';

function named(name: string, message = 'raw text'): Error {
  return Object.assign(new Error(message), { name });
}

/** What Room.connect throws: the wrapper keeps the name of another reason. */
function connection(reason: number, status?: number, message = 'raw text'): Error {
  const text = `could not establish signal connection: ${message}`;
  return Object.assign(named('ConnectionError', text), { reason, reasonName: 'ServerUnreachable', status });
}

describe('deviceWords', () => {
  it.each([
    ['NotAllowedError', 'camera', /Allow it in the address bar/],
    ['NotAllowedError', 'screen', /not allowed/],
    ['NotFoundError', 'microphone', /No microphone/],
    ['NotReadableError', 'camera', /in use/],
    ['OverconstrainedError', 'camera', /not there any more/],
    ['NotSupportedError', 'screen', /cannot share/],
  ] as const)('%s of the %s', (name, what, want) => expect(deviceWords(named(name), what)).toMatch(want));
  it('keeps the text of what it does not know', () => {
    expect(deviceWords(named('OddError', 'the cable fell out'), 'camera')).toContain('the cable fell out');
    expect(deviceWords('odd', 'camera')).toContain('odd');
  });
});

describe('isCancelled', () => {
  it('is only the closed screen picker', () => {
    expect(isCancelled(named('NotAllowedError'), 'screen')).toBe(true);
    expect(isCancelled(named('NotAllowedError'), 'camera')).toBe(false);
    expect(isCancelled(named('NotFoundError'), 'screen')).toBe(false);
  });
});

describe('joinWords', () => {
  it.each([
    [connection(0, 401, 'token expired'), /^The server refused the token: token expired\./],
    [connection(0, 401, 'invalid token: eyJh.eyJp-_.AA, error: signature is invalid'), /^The server refused the token: signature is invalid\./],
    [connection(0, 403, 'no join'), /did not let you in: no join/],
    [connection(0, 404), /does not exist/],
    [connection(1), /cannot be reached/],
    [connection(6), /cannot be reached/],
    [connection(5), /in time/],
    [connection(3), /cancelled/],
    [connection(4), /ended the connection/],
    [connection(7), /no meeting server/],
    [connection(2, undefined, 'could not establish pc connection'), /firewall/],
    [named('Error', 'plain words'), /^plain words$/],
    ['text', /^text$/],
  ])('%s', (err, want) => expect(joinWords(err)).toMatch(want));
});

describe('farewell', () => {
  it('has its own words for leaving, removal, the end and a second tab', () => {
    const titles = [1, 2, 3, 4, 5, 7, 14].map((r) => farewell(r).title);
    expect(new Set(titles).size).toBe(titles.length);
    expect(farewell(10)).toEqual(farewell(5));
    expect(farewell(undefined)).toEqual(farewell(0));
  });
});
