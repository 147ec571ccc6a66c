import { describe, expect, it } from 'vitest';
import { age, bitrate, bytes, codec, count, hue, initials, millis, none, percent, plural } from './format';

describe('bitrate', () => {
  it.each([
    [0, '0 bit/s'],
    [999, '999 bit/s'],
    [1000, '1.0 kbit/s'],
    [1_500_000, '1.5 Mbit/s'],
    [99_940_000, '99.9 Mbit/s'],
    [99_960_000, '100 Mbit/s'],
    [999_960, '1.0 Mbit/s'],
    [2.5e12, '2.5 Tbit/s'],
    [5e15, '5000 Tbit/s'],
    [undefined, none],
    [NaN, none],
    [-1, none],
  ])('%s is %s', (v, want) => expect(bitrate(v)).toBe(want));
});

describe('bytes and count', () => {
  it.each([
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1024 * 1024 - 1, '1.0 MiB'],
    [null, none],
  ])('%s bytes is %s', (v, want) => expect(bytes(v)).toBe(want));
  it.each([
    [12, '12'],
    [1234, '1.2 k'],
    [4_000_000, '4.0 M'],
  ])('%s is %s', (v, want) => expect(count(v)).toBe(want));
});

describe('percent', () => {
  it.each([
    [0, '0 %'],
    [0.0002, '<0.1 %'],
    [0.0123, '1.2 %'],
    [0.0996, '10 %'],
    [1, '100 %'],
    [undefined, none],
  ])('%s is %s', (v, want) => expect(percent(v)).toBe(want));
});

describe('millis', () => {
  it('keeps one digit when small', () => {
    expect(millis(0.84)).toBe('0.8 ms');
    expect(millis(120.4)).toBe('120 ms');
  });
});

describe('age', () => {
  const now = Date.parse('2026-03-01T12:00:00Z');
  it.each([
    ['2026-03-01T11:59:55Z', '5 s'],
    ['2026-03-01T11:57:30Z', '2 min 30 s'],
    ['2026-03-01T09:30:00Z', '2 h 30 min'],
    ['2026-02-27T11:00:00Z', '2 d 1 h'],
    ['2026-03-01T12:00:09Z', '0 s'],
    ['0001-01-01T00:00:00Z', none],
    ['yesterday', none],
    [undefined, none],
  ])('%s is %s', (v, want) => expect(age(v, now)).toBe(want));
});

describe('names', () => {
  it('shortens codecs', () => {
    expect(codec('video/VP8')).toBe('VP8');
    expect(codec('audio/opus')).toBe('Opus');
    expect(codec('')).toBe(none);
  });
  it('counts in words', () => {
    expect(plural(1, 'room')).toBe('1 room');
    expect(plural(0, 'room')).toBe('0 rooms');
  });
  it.each([
    ['Ada Lovelace', 'AL'],
    ['ada', 'A'],
    ['ana-maria.silva', 'AS'],
    ['  ', '?'],
    ['𝒳 yz', '𝒳Y'],
  ])('initials of %s are %s', (v, want) => expect(initials(v)).toBe(want));
  it('gives a steady hue in range', () => {
    expect(hue('ana')).toBe(hue('ana'));
    for (const t of ['', 'a', 'b', 'participant-1234']) {
      expect(hue(t)).toBeGreaterThanOrEqual(0);
      expect(hue(t)).toBeLessThan(360);
    }
  });
});
