/** What the address of the page says, and small texts around it. Pure. */

export interface Params {
  room: string;
  name: string;
  token: string;
  /** Server from the address, or "" for the default. */
  url: string;
  dual: boolean;
  autojoin: boolean;
}

/** parse reads /meet/{room}?room=&name=&token=&url=&pc=&autojoin=. */
export function parse(location: { pathname: string; search: string }): Params {
  const query = new URLSearchParams(location.search);
  return {
    room: (query.get('room') ?? roomOf(location.pathname)).trim(),
    name: (query.get('name') ?? '').trim(),
    token: (query.get('token') ?? '').trim(),
    url: (query.get('url') ?? '').trim(),
    dual: query.get('pc') === 'dual',
    autojoin: query.get('autojoin') === '1',
  };
}

function roomOf(pathname: string): string {
  const rest = /^\/meet\/(.+?)\/?$/.exec(pathname)?.[1] ?? '';
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}

/** withoutToken is the address to show: a token must not be copied along with it. */
export function withoutToken(location: { pathname: string; search: string }): string {
  const query = new URLSearchParams(location.search);
  query.delete('token');
  const text = query.toString();
  return location.pathname + (text === '' ? '' : '?' + text);
}

/** inviteLink is the address for others: the room and, when it is not this origin, the server. */
export function inviteLink(origin: string, room: string, url: string): string {
  const server = url === '' || url === serverOf(origin) ? '' : '?' + new URLSearchParams({ url });
  return `${origin}/meet/${encodeURIComponent(room)}${server}`;
}

/** serverOf is the WebSocket address of an origin. */
export function serverOf(origin: string): string {
  return origin.replace(/^http/, 'ws');
}

/** serverAddress completes and checks an address typed or linked: it gives ws:// or wss://, or undefined. */
export function serverAddress(text: string, origin: string): string | undefined {
  if (text === '') return serverOf(origin);
  const full = /^[a-z]+:\/\//i.test(text) ? text : `${origin.startsWith('https') ? 'wss' : 'ws'}://${text}`;
  try {
    const url = new URL(full);
    if (url.protocol === 'http:') url.protocol = 'ws:';
    if (url.protocol === 'https:') url.protocol = 'wss:';
    if (url.protocol !== 'ws:' && url.protocol !== 'wss:') return undefined;
    return url.toString().replace(/\/$/, '');
  } catch {
    return undefined;
  }
}

/** identityOf makes an identity of a name: readable, and its own for each page. */
export function identityOf(name: string, random: string): string {
  const slug = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 40);
  return `${slug || 'guest'}-${random}`;
}

/** Part is a piece of a message: text, or an address to link. */
export interface Part {
  text: string;
  href?: string;
}

/** linkify splits a message at http and https addresses. */
export function linkify(message: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (const match of message.matchAll(/https?:\/\/[^\s<>"]+/gi)) {
    // Closing punctuation belongs to the sentence.
    const href = match[0].replace(/[.,;:!?)\]}'’]+$/u, '');
    if (!URL.canParse(href)) continue;
    if (match.index > from) parts.push({ text: message.slice(from, match.index) });
    parts.push({ text: href, href });
    from = match.index + href.length;
  }
  if (from < message.length) parts.push({ text: message.slice(from) });
  return parts;
}

export type Command = 'mic' | 'camera' | 'screen' | 'chat';

const keys: Record<string, Command> = { m: 'mic', v: 'camera', s: 'screen', c: 'chat' };

/** shortcut is the command of a key press, unless it is typed into a field or held with a modifier. */
export function shortcut(e: {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  repeat: boolean;
  target: unknown;
}): Command | undefined {
  if (e.ctrlKey || e.metaKey || e.altKey || e.repeat) return undefined;
  const target = e.target as { tagName?: string; isContentEditable?: boolean } | null;
  if (target?.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target?.tagName ?? '')) return undefined;
  return keys[e.key.toLowerCase()];
}
