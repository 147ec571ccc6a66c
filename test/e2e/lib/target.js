// The server under test: the one named in the environment, or our own, built
// and started on free ports and stopped again with SIGINT.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AccessToken, RoomServiceClient } from 'livekit-server-sdk';
import { until, within } from './wait.js';

const suite = dirname(dirname(fileURLToPath(import.meta.url)));
const repository = join(suite, '..', '..');
const run = promisify(execFile);

export const apiKey = process.env.CONCERTINA_KEY ?? 'devkey';
export const apiSecret = process.env.CONCERTINA_SECRET ?? 'secret';

/** Starts (or finds) the server under test. env adds to the environment of one that is started. */
export async function startTarget({ env = {} } = {}) {
  if (process.env.CONCERTINA_URL) {
    return new Target({
      url: process.env.CONCERTINA_URL.replace(/\/$/, ''),
      udpPort: Number(process.env.CONCERTINA_UDP_PORT ?? 7882),
      tcpPort: Number(process.env.CONCERTINA_TCP_PORT ?? 7881),
      metricsUrl: process.env.CONCERTINA_METRICS_URL,
    });
  }
  const binary = await buildServer();
  const [port, tcpPort, udpPort] = [await freeTCPPort(), await freeTCPPort(), await freeUDPPort()];
  const args = ['dev', '--bind', '127.0.0.1', '--port', port, '--rtc-tcp-port', tcpPort, '--rtc-udp-port', udpPort];
  const child = spawn(binary, args.map(String), {
    // The suite's own CONCERTINA_ variables are no settings of the server, which is strict about them.
    env: { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CONCERTINA_'))), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const target = new Target({ url: `ws://127.0.0.1:${port}`, udpPort, tcpPort, child });
  child.stdout.on('data', (chunk) => target.note(chunk));
  child.stderr.on('data', (chunk) => target.note(chunk));
  const started = performance.now();
  await until(
    async () => {
      if (child.exitCode !== null) return 'exited';
      return (await fetch(`${target.httpUrl}/readyz`)).ok && 'ready';
    },
    { timeout: 15_000, what: 'the server answers /readyz' },
  ).catch((err) => {
    child.kill('SIGKILL');
    throw new Error(`${err.message}\n${target.output()}`);
  });
  assert.equal(child.exitCode, null, `the server ended while starting:\n${target.output()}`);
  target.readyMs = performance.now() - started;
  return target;
}

/** The path of our server: E2E_SERVER, or built here. */
export const buildServer = async () => process.env.E2E_SERVER ?? build('concertina', repository, './cmd/concertina');

/** The path of the crowd of Go SDK participants: E2E_CROWD, or built here. */
export const buildCrowd = async () => process.env.E2E_CROWD ?? build('crowd', join(repository, 'test', 'interop'), './cmd/crowd');

async function build(name, directory, pkg) {
  const out = join(suite, 'out');
  mkdirSync(out, { recursive: true });
  const binary = join(out, name);
  await run('go', ['build', '-o', binary, pkg], { cwd: directory, maxBuffer: 1 << 24 });
  return binary;
}

class Target {
  #lines = [];

  constructor({ url, udpPort, tcpPort, metricsUrl, child }) {
    this.url = url;
    this.httpUrl = url.replace(/^ws/, 'http');
    this.udpPort = udpPort;
    this.tcpPort = tcpPort;
    this.metricsUrl = metricsUrl ?? `${this.httpUrl}/metrics`;
    this.child = child;
    this.rooms = new RoomServiceClient(this.httpUrl, apiKey, apiSecret);
  }

  /** True when this suite started the server, so that it may be configured. */
  get own() {
    return this.child !== undefined;
  }

  note(chunk) {
    this.#lines.push(chunk.toString());
    if (this.#lines.length > 2000) this.#lines.splice(0, 1000);
  }

  /** The last lines the server wrote. */
  output() {
    return this.#lines.join('').split('\n').slice(-60).join('\n');
  }

  /** The named samples of /metrics, summed over their labels. */
  async metrics(...names) {
    const text = await (await fetch(this.metricsUrl)).text();
    const found = {};
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)/.exec(line);
      if (match && names.includes(match[1])) {
        found[match[1]] = (found[match[1]] ?? 0) + Number(match[2]);
      }
    }
    return found;
  }

  /** Ends a started server as Ctrl-C does, and holds it to exit code 0. */
  async stop() {
    if (!this.child) return;
    const { child } = this;
    assert.equal(child.exitCode, null, `the server ended by itself:\n${this.output()}`);
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    try {
      const [code, signal] = await within(ended, 10_000, 'the server ends after SIGINT');
      assert.deepEqual({ code, signal }, { code: 0, signal: null }, this.output());
    } finally {
      child.kill('SIGKILL');
    }
  }
}

/** A token for identity in room; grant and options override the defaults. */
export async function token(room, identity, grant = {}, options = {}) {
  const { secret = apiSecret, key = apiKey, ...rest } = options;
  const access = new AccessToken(key, secret, { identity, ttl: '10m', ...rest });
  access.addGrant({ roomJoin: true, room, ...grant });
  return access.toJwt();
}

let rooms = 0;

/** A room name that no other test uses. */
export function freshRoom(name) {
  rooms += 1;
  return `${name}-${process.pid}-${rooms}`;
}

export async function freeTCPPort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function freeUDPPort() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}
