// What comes from outside and must not be believed. After each, a healthy pair
// in another room still gets its frames, without a gap.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { LeaveRequest_Action, SessionDescription, SignalRequest, SignalResponse } from '@livekit/protocol';
import WebSocket from 'ws';
import { launch } from '../lib/browser.js';
import { figure } from '../lib/figures.js';
import { seesVideo, small } from '../lib/media.js';
import { apiKey, apiSecret, buildCrowd, freshRoom, startTarget, token } from '../lib/target.js';
import { until, within } from '../lib/wait.js';

const healthyRoom = freshRoom('healthy');
let target;
let browser;
let alice;
let bob;
let since;
let stopped;

before(async () => {
  target = await startTarget();
  browser = await launch();
  [alice, bob] = await Promise.all([browser.open('alice'), browser.open('bob')]);
  await alice.connect(target.url, await token(healthyRoom, 'alice'), small);
  await bob.connect(target.url, await token(healthyRoom, 'bob'), small);
  await alice.publish({ camera: true, microphone: true });
  await seesVideo(bob, 'alice');
  stopped = await vanish();
});
after(async () => {
  stopped?.child.kill('SIGKILL');
  await browser?.close();
  await target?.stop();
});
beforeEach(async () => {
  since = Date.now();
});
afterEach(async () => {
  const rate = await seesVideo(bob, 'alice', { window: 500 });
  const { gap, count } = await bob.frames('alice', 'camera', since);
  assert.ok(count > 0 && gap <= 1000, `the healthy pair missed ${gap} ms of frames`);
  assert.equal((await bob.eval((c) => c.events.filter(({ name }) => /econnecting|disconnected/.test(name)))).length, 0);
  healthy.push({ gap, rate });
});
const healthy = [];
after(() => {
  figure('abuse.healthy-gap.max', Math.max(...healthy.map(({ gap }) => gap)), 'ms');
  figure('abuse.healthy-rate.min', Math.min(...healthy.map(({ rate }) => rate)), 'frames/s');
});

/** A participant in a process that is stopped dead: no goodbye, no packet, nothing closed. */
async function vanish() {
  const room = freshRoom('vanish');
  await target.rooms.createRoom({ name: room, departureTimeout: 1, emptyTimeout: 60 });
  const args = { url: target.url, key: apiKey, secret: apiSecret, room, participants: 1, speakers: 1, cameras: 0, within: '1ms' };
  const child = spawn(await buildCrowd(), Object.entries(args).flatMap(([key, value]) => [`-${key}`, String(value)]), {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await within(once(createInterface({ input: child.stdout }), 'line'), 30_000, 'the one who vanishes joins');
  assert.equal((await target.rooms.listParticipants(room)).length, 1);
  child.kill('SIGSTOP');
  return { child, room, at: performance.now() };
}

const query = (access, more = {}) => new URLSearchParams({ access_token: access, protocol: '16', sdk: 'js', version: '2.23.0', auto_subscribe: '1', ...more });

/** Opens /rtc and returns the socket once it is open; a refusal throws an error with status and body. */
async function open(access, path = '/rtc', more = {}) {
  const socket = new WebSocket(`${target.url}${path}?${query(access, more)}`);
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
    socket.once('unexpected-response', async (request, response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      request.destroy();
      reject(Object.assign(new Error(`refused with ${response.statusCode}: ${body}`), { status: response.statusCode, body }));
    });
  });
  socket.on('error', () => {});
  return socket;
}

/** Opens /rtc and waits for the JoinResponse; responses are kept in socket.responses. */
async function joined(access) {
  const socket = new WebSocket(`${target.url}/rtc?${query(access)}`);
  socket.responses = [];
  socket.on('message', (data) => socket.responses.push(SignalResponse.fromBinary(data).message));
  socket.on('error', () => {});
  await until(() => socket.responses.some((message) => message.case === 'join'), { what: 'a JoinResponse' });
  return socket;
}

const send = (socket, message) => socket.send(new SignalRequest({ message }).toBinary());

/** Whether the server still answers pings on a socket, or has closed it: one of both it must. */
async function answersOrCloses(socket, timeout = 10_000) {
  const before = socket.responses.length;
  if (socket.readyState === WebSocket.OPEN) send(socket, { case: 'pingReq', value: { timestamp: 1n, rtt: 0n } });
  return until(
    () => {
      if (socket.readyState === WebSocket.CLOSED) return 'closes';
      const leave = socket.responses.find(({ case: name }) => name === 'leave');
      if (leave) return `leave ${LeaveRequest_Action[leave.value.action]}`;
      return socket.responses.slice(before).some(({ case: name }) => name === 'pongResp') && 'answers';
    },
    { timeout, what: 'an answer to a ping, or the end of the connection' },
  );
}

describe('tokens', () => {
  const long = 'x'.repeat(32);
  const cases = {
    missing: { make: async () => '', status: [401] },
    'no token at all': { make: async () => 'garbage', status: [401] },
    expired: { make: () => token('room', 'alice', {}, { ttl: -60 }), status: [401] },
    'of a foreign key': { make: () => token('room', 'alice', {}, { key: 'foreign', secret: long }), status: [401] },
    'signed with another secret': { make: () => token('room', 'alice', {}, { secret: long }), status: [401] },
    'without roomJoin': { make: () => token('room', 'alice', { roomJoin: false, roomList: true }), status: [401, 403] },
    'without a room': { make: () => token(undefined, 'alice'), status: [400, 401] },
    'cut short': { make: async () => (await token('room', 'alice')).slice(0, -5), status: [401] },
  };
  for (const [name, { make, status }] of Object.entries(cases)) {
    test(name, async () => {
      const access = await make();
      const answer = await fetch(`${target.httpUrl}/rtc/validate?${query(access)}`);
      const text = await answer.text();
      assert.ok(status.includes(answer.status), `${answer.status} ${text}`);
      assert.ok(text.length > 0 && text.length < 1000, 'the answer says why, in short');
      assert.ok(!text.includes(apiSecret === 'secret' ? '\0' : apiSecret), 'the secret is not told');
      await assert.rejects(open(access), (err) => status.includes(err.status));
      figure(`refused.${name.replaceAll(' ', '-')}`, `${answer.status} ${text.replace(/\s+/g, ' ').slice(0, 60)}`);
    });
  }

  test('of another room: a session there cannot be resumed here', async () => {
    const socket = await joined(await token(freshRoom('theirs'), 'mallory'));
    const { sid } = socket.responses.find(({ case: name }) => name === 'join').value.participant;
    const thief = await open(await token(freshRoom('mine'), 'mallory'), '/rtc', { reconnect: '1', sid }).catch((err) => err);
    if (!(thief instanceof Error)) {
      thief.responses = [];
      thief.on('message', (data) => thief.responses.push(SignalResponse.fromBinary(data).message));
      await until(() => thief.readyState === WebSocket.CLOSED || thief.responses.length > 0, { what: 'an answer to the thief' });
      assert.ok(!thief.responses.some(({ case: name }) => name === 'reconnect'), 'no resume');
      thief.terminate();
    }
    assert.equal(await answersOrCloses(socket), 'answers', 'the owner keeps the session');
    socket.terminate();
  });

  test('a good one is validated', async () => {
    const answer = await fetch(`${target.httpUrl}/rtc/validate?${query(await token(freshRoom('good'), 'alice'))}`);
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), 'success');
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  });
});

describe('signalling', () => {
  const fresh = async () => joined(await token(freshRoom('signal'), 'mallory'));

  test('a join_request that is none', async () => {
    for (const join_request of ['', '!!!', randomBytes(400).toString('base64url'), 'A'.repeat(100_000)]) {
      const answer = await open(await token(freshRoom('v1'), 'mallory'), '/rtc/v1', { join_request }).catch((err) => err);
      assert.ok(answer instanceof Error, 'refused');
      assert.ok(answer.status >= 400 && answer.status < 500, answer.message);
    }
  });

  for (const [name, frames] of Object.entries({
    'a frame that is no protobuf': [randomBytes(200)],
    'a text frame that is no JSON': ['{"nope'],
    'an empty frame': [Buffer.alloc(0)],
    'an unknown message': [Buffer.from([0xc2, 0x3e, 3, 1, 2, 3])],
    'a thousand frames of noise': Array.from({ length: 1000 }, () => randomBytes(50)),
  })) {
    test(name, async () => {
      const socket = await fresh();
      for (const frame of frames) socket.send(frame);
      figure(`signal.${name.replaceAll(' ', '-')}`, await answersOrCloses(socket));
      socket.terminate();
    });
  }

  test('an unknown message alone does no harm', async () => {
    const socket = await fresh();
    socket.send(Buffer.from([0xc2, 0x3e, 3, 1, 2, 3]));
    assert.equal(await answersOrCloses(socket), 'answers');
    socket.terminate();
  });

  test('an oversized frame', async () => {
    const socket = await fresh();
    socket.send(Buffer.alloc(32 << 20));
    const outcome = await answersOrCloses(socket, 20_000);
    figure('signal.oversized-frame', outcome);
    if (target.own) assert.notEqual(outcome, 'answers', 'is not read');
    socket.terminate();
  });

  const lies = {
    'no SDP': 'hello',
    empty: '',
    'without fingerprint': 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\na=sctp-port:5000\r\n',
    '3000 sections': `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n${'m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n'.repeat(3000)}`,
    'numbers out of range': 'v=0\r\no=- 99999999999999999999 -1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 99999999 UDP/TLS/RTP/SAVPF 300 -1\r\na=rtpmap:300 VP8/4294967296\r\na=ssrc:99999999999 cname:x\r\na=extmap:999 urn:x\r\na=mid:\r\n',
    'a line of 100 kB': `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=${'x'.repeat(100_000)}\r\nt=0 0\r\n`,
  };
  for (const [name, sdp] of Object.entries(lies)) {
    test(`SDP that lies: ${name}`, async () => {
      const socket = await fresh();
      send(socket, { case: 'offer', value: new SessionDescription({ type: 'offer', sdp }) });
      send(socket, { case: 'answer', value: new SessionDescription({ type: 'answer', sdp }) });
      send(socket, { case: 'trickle', value: { candidateInit: '{"candidate":"candidate:x y z"', target: 0 } });
      figure(`sdp.${name.replaceAll(' ', '-')}`, await answersOrCloses(socket));
      socket.terminate();
    });
  }

  test('requests about what is not there', async () => {
    const socket = await fresh();
    send(socket, { case: 'mute', value: { sid: 'TR_absent', muted: true } });
    send(socket, { case: 'subscription', value: { trackSids: ['TR_absent', ''], subscribe: true, participantTracks: [{ participantSid: 'PA_absent', trackSids: ['TR_x'] }] } });
    send(socket, { case: 'trackSetting', value: { trackSids: ['TR_absent'], width: 4294967295, fps: 4294967295 } });
    send(socket, { case: 'updateLayers', value: { trackSid: 'TR_absent' } });
    send(socket, { case: 'addTrack', value: { cid: '', name: 'x'.repeat(70_000), type: 7, layers: Array.from({ length: 500 }, () => ({ width: 1 })) } });
    send(socket, { case: 'syncState', value: { publishTracks: [{ cid: 'x' }] } });
    figure('signal.absent-things', await answersOrCloses(socket));
    socket.terminate();
  });

  test('300 joins at once from one address', async () => {
    const room = freshRoom('flood');
    const accesses = await Promise.all(Array.from({ length: 300 }, (_, i) => token(room, `flood-${i}`)));
    const start = performance.now();
    const outcomes = await Promise.all(accesses.map((access) => within(open(access), 30_000, 'an answer to a join').catch((err) => err)));
    const took = performance.now() - start;
    const sockets = outcomes.filter((outcome) => !(outcome instanceof Error));
    const refused = outcomes.filter((outcome) => outcome instanceof Error);
    figure('flood.accepted', sockets.length);
    figure('flood.refused', `${refused.length} ${[...new Set(refused.map(({ status, message }) => status ?? message))]}`);
    figure('flood.took', took, 'ms');
    for (const { status, message } of refused) assert.ok([429, 503].includes(status), message);
    for (const socket of sockets) socket.terminate();
    await until(async () => (await target.rooms.listParticipants(room).catch(() => [])).length === 0, { timeout: 60_000, every: 500, what: 'the flood has gone' });
  });

  test('a client that never reads', async () => {
    const room = freshRoom('deaf');
    const deaf = await joined(await token(room, 'deaf'));
    deaf.pause();
    const witness = await joined(await token(room, 'witness'));
    const start = performance.now();
    const metadata = (i) => `${i} ${'m'.repeat(50_000)}`;
    for (let i = 0; i < 300; i++) await target.rooms.updateRoomMetadata(room, metadata(i));
    await until(() => witness.responses.some((message) => message.case === 'roomUpdate' && message.value.room.metadata === metadata(299)), {
      timeout: 15_000,
      what: 'the witness has the last of 300 updates',
    });
    figure('deaf.300-updates', performance.now() - start, 'ms');
    deaf.terminate();
    witness.terminate();
  });
});

describe('media ports', () => {
  /** Datagrams by what they pretend to be. */
  const shapes = {
    noise: () => randomBytes(1 + Math.floor(Math.random() * 1400)),
    RTP: () => Buffer.concat([Buffer.from([0x80 | (Math.random() * 32), 96]), randomBytes(10 + Math.floor(Math.random() * 1200))]),
    RTCP: () => Buffer.concat([Buffer.from([0x81, 200 + Math.floor(Math.random() * 8), 0xff, 0xff]), randomBytes(Math.floor(Math.random() * 200))]),
    DTLS: () => Buffer.concat([Buffer.from([20 + Math.floor(Math.random() * 4), 0xfe, 0xfd]), randomBytes(20 + Math.floor(Math.random() * 300))]),
    STUN: () => {
      const body = randomBytes(4 * Math.floor(Math.random() * 40));
      const head = Buffer.alloc(20);
      head.writeUInt16BE(1, 0);
      head.writeUInt16BE(Math.random() < 0.5 ? body.length : 65_532, 2);
      head.writeUInt32BE(0x2112a442, 4);
      randomBytes(12).copy(head, 8);
      return Buffer.concat([head, body]);
    },
    empty: () => Buffer.alloc(0),
  };

  test('20,000 datagrams of garbage from 20 sockets', async () => {
    const sockets = Array.from({ length: 20 }, () => createSocket('udp4'));
    const makers = Object.values(shapes);
    const start = performance.now();
    let sent = 0;
    for (let round = 0; round < 200; round++) {
      await Promise.all(
        sockets.flatMap((socket, i) =>
          Array.from({ length: 5 }, (_, n) => new Promise((resolve) => socket.send(makers[(round + i + n) % makers.length](), target.udpPort, '127.0.0.1', resolve))),
        ),
      );
      sent += 100;
    }
    figure('garbage.rate', sent / ((performance.now() - start) / 1000), 'datagrams/s');
    for (const socket of sockets) socket.close();
  });

  test('garbage and silence on the ICE/TCP port', async () => {
    const quiet = Array.from({ length: 50 }, () => connect(target.tcpPort, '127.0.0.1').on('error', () => {}));
    for (const data of [randomBytes(5000), Buffer.from([0xff, 0xff]), Buffer.concat([Buffer.from([0, 20]), randomBytes(20)]), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const socket = connect(target.tcpPort, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      socket.write(data);
      socket.end();
    }
    const late = connect(target.tcpPort, '127.0.0.1');
    await within(once(late, 'connect'), 5000, 'one more connection');
    for (const socket of [...quiet, late]) socket.destroy();
  });

  test('HTTP: long paths, long headers, methods and bodies that do not fit', async () => {
    for (const [path, options] of [
      [`/${'x'.repeat(60_000)}`, {}],
      ['/rtc', { headers: { authorization: `Bearer ${'y'.repeat(60_000)}` } }],
      ['/rtc', { method: 'POST', body: randomBytes(100_000) }],
      ['/twirp/livekit.RoomService/ListRooms', { method: 'POST', body: randomBytes(5_000_000), headers: { 'content-type': 'application/protobuf' } }],
      ['/../../etc/passwd', {}],
    ]) {
      const status = await fetch(`${target.httpUrl}${path}`, options).then((answer) => answer.status, () => 'cut off');
      assert.ok(status === 'cut off' || (status >= 400 && status < 500), `${path.slice(0, 40)}: ${status}`);
    }
  });
});

test('a client that vanished without a word is noticed', async () => {
  await until(async () => (await target.rooms.listParticipants(stopped.room).catch(() => [])).length === 0, {
    timeout: 90_000,
    every: 500,
    what: 'the vanished participant is gone from the list',
  });
  figure('vanished.noticed-within', (performance.now() - stopped.at) / 1000, 's');
});
