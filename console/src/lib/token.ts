/** Access tokens: minting with WebCrypto (HS256, RFC 7515 and 7519) and reading without verifying. */

/** Grant is LiveKit's `video` claim, as far as the console uses it. */
export interface Grant {
  room?: string;
  roomAdmin?: boolean;
  roomCreate?: boolean;
  roomList?: boolean;
  roomJoin?: boolean;
}

const encoder = new TextEncoder();

function base64url(data: Uint8Array): string {
  let text = '';
  for (const b of data) text += String.fromCharCode(b);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/**
 * mint signs a token that lives ttl seconds from now (milliseconds since the epoch).
 * It throws where the browser hides WebCrypto: on plain http outside localhost.
 */
export async function mint(key: string, secret: string, video: Grant, now: number, ttl = 60): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new Error('Actions need https or localhost: this page cannot sign tokens here.');
  const seconds = Math.floor(now / 1000);
  const header = base64url(encoder.encode(JSON.stringify({ alg: 'HS256', typ: 'JWT' })));
  // nbf lies a little in the past: the clocks of the page and the server need not agree to the second.
  const claims = { iss: key, sub: 'console', nbf: seconds - 10, exp: seconds + ttl, video };
  const signed = `${header}.${base64url(encoder.encode(JSON.stringify(claims)))}`;
  const hmac = await subtle.importKey('raw', encoder.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const signature = await subtle.sign('HMAC', hmac, encoder.encode(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** Claims is what a token says; nothing of it is verified here. */
export interface Claims {
  identity: string;
  name: string;
  room: string;
  /** Milliseconds since the epoch; Infinity when the token has no end. */
  expires: number;
}

/** read takes a token apart, or returns undefined when it is not one. */
export function read(token: string): Claims | undefined {
  const parts = token.trim().split('.');
  if (parts.length !== 3) return undefined;
  try {
    const binary = atob((parts[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'));
    const json = new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
    const claims: unknown = JSON.parse(json);
    if (typeof claims !== 'object' || claims === null) return undefined;
    const { sub, name, exp, video } = claims as Record<string, unknown>;
    const room = typeof video === 'object' && video !== null ? (video as Record<string, unknown>).room : undefined;
    const text = (v: unknown) => (typeof v === 'string' ? v : '');
    return { identity: text(sub), name: text(name), room: text(room), expires: typeof exp === 'number' ? exp * 1000 : Infinity };
  } catch {
    return undefined;
  }
}
