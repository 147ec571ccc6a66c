import { describe, expect, it } from 'vitest';
import { deviceWords, farewell, isCancelled, joinWords } from './words';

function named(name: string, message = 'raw text'): Error {
  return Object.assign(new Error(message), { name });
}

function connection(reasonName: string, status?: number, message = 'raw text'): Error {
  return Object.assign(named('ConnectionError', message), { reasonName, status });
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
    [connection('NotAllowed', 401, 'token expired'), /refused the token.*token expired/],
    [connection('NotAllowed', 403), /does not allow/],
    [connection('NotAllowed', 404), /does not exist/],
    [connection('ServerUnreachable'), /cannot be reached/],
    [connection('WebSocket'), /cannot be reached/],
    [connection('Timeout'), /in time/],
    [connection('ServiceNotFound'), /no meeting server/],
    [connection('InternalError', undefined, 'could not establish pc connection'), /firewall/],
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
