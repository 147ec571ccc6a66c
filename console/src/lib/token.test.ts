import { afterEach, describe, expect, it, vi } from 'vitest';
import { createHmac } from 'node:crypto';
import { mint, read } from './token';

const now = Date.parse('2026-03-01T12:00:00.700Z');

describe('mint', () => {
  it('signs what another implementation verifies', async () => {
    const token = await mint('devkey', 'sécret', { roomAdmin: true, room: 'dëmo' }, now, 30);
    const [header, claims, signature] = token.split('.');
    const want = createHmac('sha256', 'sécret').update(`${header}.${claims}`).digest('base64url');
    expect(signature).toBe(want);
    expect(JSON.parse(Buffer.from(header!, 'base64url').toString())).toEqual({ alg: 'HS256', typ: 'JWT' });
    expect(JSON.parse(Buffer.from(claims!, 'base64url').toString())).toEqual({
      iss: 'devkey',
      sub: 'console',
      nbf: 1772366390,
      exp: 1772366430,
      video: { roomAdmin: true, room: 'dëmo' },
    });
  });

  afterEach(() => vi.unstubAllGlobals());
  it('says why it cannot sign without WebCrypto', async () => {
    vi.stubGlobal('crypto', {});
    await expect(mint('k', 's', {}, now)).rejects.toThrow('https');
  });
});

describe('read', () => {
  const encode = (claims: unknown) => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
  it('reads room, identity, name and end', () => {
    expect(read(` ${encode({ sub: 'ana-1', name: 'Añá', exp: 1772366430, video: { room: 'demo' } })}\n`)).toEqual({
      identity: 'ana-1',
      name: 'Añá',
      room: 'demo',
      expires: 1772366430000,
    });
  });
  it('is lenient about what is missing', () => {
    expect(read(encode({}))).toEqual({ identity: '', name: '', room: '', expires: Infinity });
    expect(read(encode({ video: null, sub: 3 }))?.identity).toBe('');
  });
  it.each(['', 'abc', 'a.b', 'a.%%%.c', `a.${btoa('"text"')}.c`, `a.${btoa('null')}.c`, `a.${btoa('\xff\xfe')}.c`])(
    'refuses %j',
    (token) => expect(read(token)).toBeUndefined(),
  );
  it('reads what mint wrote', async () => {
    const claims = read(await mint('k', 's', { room: 'r' }, now));
    expect(claims).toMatchObject({ identity: 'console', room: 'r' });
  });
});
