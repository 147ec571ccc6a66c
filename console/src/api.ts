/**
 * The console's view of the server: the JSON of /api/v1 as types, and the calls.
 * API.md holds the same contract as Go structs. Bit rates are bits per second,
 * times RFC 3339, ratios 0..1.
 */
import { EventStreamParser } from './lib/sse';

/** Node is the server process that answers. */
export interface Node {
  id: string;
  version: string;
  started_at: string;
  rooms: number;
  participants: number;
  tracks_in: number;
  tracks_out: number;
  /** Bytes, not bits, as counted on the media sockets. */
  bytes_in_per_s: number;
  bytes_out_per_s: number;
  packets_in_per_s: number;
  packets_out_per_s: number;
  /** Share of all the node's CPUs, 0..1. */
  cpu: number;
  memory_bytes: number;
  goroutines: number;
}

/** Snapshot is one frame of the stream. */
export interface Snapshot {
  node: Node;
  rooms: Room[];
}

export interface Room {
  name: string;
  sid: string;
  created_at: string;
  metadata: string;
  num_participants: number;
  num_publishers: number;
  bitrate_in: number;
  bitrate_out: number;
  /** Only for a room that was asked for by name. */
  participants?: Participant[];
}

export type Quality = 'excellent' | 'good' | 'poor' | 'lost';

export interface Participant {
  identity: string;
  sid: string;
  name: string;
  /** joining, joined, active or disconnected. */
  state: string;
  /** standard, ingress, egress, sip, agent, connector or bridge. */
  kind: string;
  joined_at: string;
  client: Client;
  connection: Connection;
  quality: Quality;
  /** From the participant to the server. */
  bitrate_in: number;
  /** From the server to the participant. */
  bitrate_out: number;
  tracks: Track[];
  subscriptions: Subscription[];
}

export interface Client {
  sdk: string;
  version: string;
  os: string;
  browser: string;
}

export interface Connection {
  mode: 'single' | 'dual';
  transport: 'udp' | 'tcp' | 'turn';
  rtt_ms: number;
  address: string;
}

export interface Track {
  sid: string;
  name: string;
  type: 'audio' | 'video' | 'data';
  /** camera, microphone, screen_share, screen_share_audio or unknown. */
  source: string;
  mime: string;
  muted: boolean;
  width: number;
  height: number;
  simulcast: boolean;
  /** none, gcm or custom. */
  encryption: string;
  layers: Layer[];
  bitrate: number;
  loss_ratio: number;
  subscribers: number;
}

export interface Layer {
  rid: string;
  spatial: number;
  bitrate: number;
  fps: number;
  packets: number;
  lost: number;
  loss_ratio: number;
  jitter_ms: number;
}

export interface Subscription {
  track_sid: string;
  publisher_identity: string;
  state: 'active' | 'paused' | 'muted' | 'pending';
  /** Spatial layer now forwarded; -1 when none. */
  current_layer: number;
  target_layer: number;
  bitrate: number;
  packets: number;
  lost: number;
  loss_ratio: number;
  nacks: number;
  plis: number;
}

/** Credentials are an API key and its secret. They stay in this page. */
export interface Credentials {
  key: string;
  secret: string;
}

/** ApiError is an answer that is not a success. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }
}

/** basicAuth is the Authorization value, safe for any UTF-8 secret. */
export function basicAuth(c: Credentials): string {
  const bytes = new TextEncoder().encode(`${c.key}:${c.secret}`);
  return 'Basic ' + btoa(String.fromCharCode(...bytes));
}

/** errorText is the message of an error body: {"error"} here, {"msg"} in Twirp, else the status. */
export function errorText(status: number, body: string): string {
  try {
    const parsed = JSON.parse(body) as { error?: unknown; msg?: unknown };
    const text = parsed.error ?? parsed.msg;
    if (typeof text === 'string' && text !== '') return text;
  } catch {
    // Not JSON: say what the status says.
  }
  switch (status) {
    case 401:
      return 'The server does not know this API key and secret.';
    case 403:
      return 'This API key may not do that.';
    case 404:
      return 'The server does not know this.';
    default:
      return `The server answered ${status}.`;
  }
}

async function call(path: string, c: Credentials, signal?: AbortSignal): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(path, {
      headers: { Authorization: basicAuth(c) },
      // With credentials omitted the browser never opens its own password dialog on a 401.
      credentials: 'omit',
      cache: 'no-store',
      signal: signal ?? null,
    });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new ApiError(0, 'The server cannot be reached.');
  }
  if (!res.ok) throw new ApiError(res.status, errorText(res.status, await res.text()));
  return res;
}

/** listRooms is one snapshot without participants. */
export async function listRooms(c: Credentials, signal?: AbortSignal): Promise<Snapshot> {
  return (await call('/api/v1/rooms', c, signal)).json() as Promise<Snapshot>;
}

/** getRoom is one room with its participants. */
export async function getRoom(c: Credentials, name: string, signal?: AbortSignal): Promise<Room> {
  return (await call(`/api/v1/rooms/${encodeURIComponent(name)}`, c, signal)).json() as Promise<Room>;
}

/**
 * stream yields a snapshot a second until the server ends it or signal aborts.
 * With a room name, that room comes with its participants.
 */
export async function* stream(c: Credentials, room: string | undefined, signal: AbortSignal): AsyncGenerator<Snapshot> {
  const path = room === undefined ? '/api/v1/stream' : `/api/v1/stream?room=${encodeURIComponent(room)}`;
  const res = await call(path, c, signal);
  if (!res.body) throw new ApiError(0, 'The stream has no body.');
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventStreamParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const event of parser.push(value)) {
        if (event.type === 'message' || event.type === 'snapshot') yield JSON.parse(event.data) as Snapshot;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** devKeys are the development credentials, or undefined outside `concertina dev`. */
export async function devKeys(): Promise<Credentials | undefined> {
  const res = await fetch('/api/dev/keys', { credentials: 'omit', cache: 'no-store' }).catch(() => undefined);
  if (!res?.ok || !(res.headers.get('content-type') ?? '').includes('json')) return undefined;
  const body = (await res.json()) as Partial<Credentials>;
  return body.key && body.secret ? { key: body.key, secret: body.secret } : undefined;
}

/** Admission is what a client needs to join. */
export interface Admission {
  token: string;
  url?: string;
}

/** devToken asks the development server for a token; undefined outside `concertina dev`. */
export async function devToken(room: string, identity: string, name: string): Promise<Admission | undefined> {
  const query = new URLSearchParams({ room, identity, name });
  const res = await fetch(`/api/dev/token?${query}`, { credentials: 'omit', cache: 'no-store' }).catch(() => {
    throw new ApiError(0, 'The server cannot be reached.');
  });
  if (res.status === 404) return undefined;
  if (!res.ok) throw new ApiError(res.status, errorText(res.status, await res.text()));
  return (await res.json()) as Admission;
}
