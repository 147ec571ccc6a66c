import { describe, expect, it } from 'vitest';
import { identityOf, inviteLink, linkify, parse, serverAddress, shortcut, withoutToken } from './params';

describe('parse', () => {
  it('reads the query', () => {
    expect(parse({ pathname: '/meet', search: '?room=a%20b&name=Ana&token=t.t.t&url=wss://x&pc=dual&autojoin=1' })).toEqual({
      room: 'a b',
      name: 'Ana',
      token: 't.t.t',
      url: 'wss://x',
      dual: true,
      autojoin: true,
    });
  });
  it('takes the room from the path, and the query wins', () => {
    expect(parse({ pathname: '/meet/stand%2Fup/', search: '' }).room).toBe('stand/up');
    expect(parse({ pathname: '/meet/a', search: '?room=b' }).room).toBe('b');
    expect(parse({ pathname: '/meet/%E0%A4%A', search: '' }).room).toBe('%E0%A4%A');
    expect(parse({ pathname: '/meet/', search: '' }).room).toBe('');
  });
});

describe('addresses', () => {
  it('takes the token out and keeps the rest', () => {
    expect(withoutToken({ pathname: '/meet/a', search: '?token=x&pc=dual' })).toBe('/meet/a?pc=dual');
    expect(withoutToken({ pathname: '/meet', search: '?token=x' })).toBe('/meet');
  });
  it('invites to the room, naming the server only when it is another', () => {
    expect(inviteLink('https://x.org', 'a b', 'wss://x.org')).toBe('https://x.org/meet/a%20b');
    expect(inviteLink('https://x.org', 'a', 'wss://y.org')).toBe('https://x.org/meet/a?url=wss%3A%2F%2Fy.org');
  });
  it.each([
    ['', 'http://h:7880', 'ws://h:7880'],
    ['', 'https://h', 'wss://h'],
    ['media.example.org', 'https://h', 'wss://media.example.org'],
    ['http://m:7880/', 'http://h', 'ws://m:7880'],
    ['https://m/sub', 'http://h', 'wss://m/sub'],
    ['wss://m', 'http://h', 'wss://m'],
    ['ftp://m', 'http://h', undefined],
    ['javascript://alert(1)', 'http://h', undefined],
    ['ws://', 'http://h', undefined],
  ])('%j on %s is %s', (text, origin, want) => expect(serverAddress(text, origin)).toBe(want));
});

describe('identityOf', () => {
  it.each([
    ['Ana María!', 'ana-maria-1x'],
    ['', 'guest-1x'],
    ['***', 'guest-1x'],
    ['李 雷', '李-雷-1x'],
  ])('%j is %s', (name, want) => expect(identityOf(name, '1x')).toBe(want));
});

describe('linkify', () => {
  it('links addresses and leaves the punctuation', () => {
    expect(linkify('see https://a.org/x?y=1, or (http://b.org).')).toEqual([
      { text: 'see ' },
      { text: 'https://a.org/x?y=1', href: 'https://a.org/x?y=1' },
      { text: ', or (' },
      { text: 'http://b.org', href: 'http://b.org' },
      { text: ').' },
    ]);
  });
  it('never links other schemes and loses nothing', () => {
    for (const text of ['javascript:alert(1)', 'plain', '', 'https://', 'data:text/html,x https://…']) {
      expect(linkify(text).map((p) => p.text).join('')).toBe(text);
      expect(linkify(text).every((p) => p.href === undefined || /^https?:/.test(p.href))).toBe(true);
    }
  });
});

describe('shortcut', () => {
  const press = { key: 'm', ctrlKey: false, metaKey: false, altKey: false, repeat: false, target: { tagName: 'BODY' } };
  it('knows its keys', () => {
    expect(['m', 'V', 's', 'c', 'x'].map((key) => shortcut({ ...press, key }))).toEqual(['mic', 'camera', 'screen', 'chat', undefined]);
  });
  it('keeps out of fields, modifiers and repeats', () => {
    expect(shortcut({ ...press, ctrlKey: true })).toBeUndefined();
    expect(shortcut({ ...press, repeat: true })).toBeUndefined();
    expect(shortcut({ ...press, target: { tagName: 'TEXTAREA' } })).toBeUndefined();
    expect(shortcut({ ...press, target: { tagName: 'P', isContentEditable: true } })).toBeUndefined();
  });
});
