// Webhooks: signed, in order, repeated until they are taken.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { once } from 'node:events';
import { launch } from '../lib/browser.js';
import { small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { receiveWebhooks } from '../lib/webhooks.js';

const external = process.env.CONCERTINA_URL && !process.env.CONCERTINA_WEBHOOK_LISTEN;
const options = { skip: external ? 'CONCERTINA_WEBHOOK_LISTEN is not set' : false };

let target;
let browser;
let hooks;

before(async () => {
  if (external) return;
  hooks = await receiveWebhooks(process.env.CONCERTINA_WEBHOOK_LISTEN);
  target = await startTarget({ env: { CONCERTINA_WEBHOOK_URLS: hooks.url, CONCERTINA_WEBHOOK_API_KEY: 'devkey' } });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await target?.stop();
  hooks?.close();
});

/** What an event is about, in one word or two. */
const brief = ({ event, participant, track }) => [event, participant?.identity, track && { 1: 'camera', 2: 'microphone' }[track.source]].filter(Boolean).join(' ');

test('a room from its start to its end', options, async () => {
  const room = freshRoom('hooks');
  const [alice, bob] = await Promise.all([browser.open('alice'), browser.open('bob')]);
  await target.rooms.createRoom({ name: room, departureTimeout: 1, metadata: 'hooked' });
  await alice.connect(target.url, await token(room, 'alice', {}, { name: 'Alice' }), small);
  await alice.publish({ camera: true });
  await hooks.wait(room, 'track_published', 'alice');
  await bob.connect(target.url, await token(room, 'bob'), small);
  await hooks.wait(room, 'participant_joined', 'bob');
  await alice.publish({ microphone: true });
  await alice.eval((c) => c.room.localParticipant.unpublishTrack(c.room.localParticipant.getTrackPublication('camera').track));
  await hooks.wait(room, 'track_unpublished', 'alice');
  await bob.disconnect();
  await hooks.wait(room, 'participant_left', 'bob');
  await alice.disconnect();
  await hooks.wait(room, 'room_finished', undefined, 20_000);
  await Promise.all([alice.close(), bob.close()]);

  assert.deepEqual(hooks.bad, [], 'every delivery is signed');
  const got = hooks.of(room);
  assert.deepEqual(got.map(brief), [
    'room_started',
    'participant_joined alice',
    'track_published alice camera',
    'participant_joined bob',
    'track_published alice microphone',
    'track_unpublished alice camera',
    'participant_left bob',
    // Leaving unpublishes what is left; before or after is not promised.
    ...got.map(brief).slice(7, 9),
    'room_finished',
  ]);
  assert.deepEqual(got.map(brief).slice(7, 9).sort(), ['participant_left alice', 'track_unpublished alice microphone']);
  assert.equal(new Set(got.map(({ id }) => id)).size, got.length, 'every event has an id of its own');
  assert.equal(new Set(got.map(({ room: { sid } }) => sid)).size, 1, 'all of one room session');
  const joined = got[1];
  assert.equal(joined.participant.name, 'Alice');
  assert.match(joined.participant.sid, /^PA_/);
  assert.equal(joined.room.metadata, 'hooked');
  assert.ok(Math.abs(Number(joined.createdAt) - Date.now() / 1000) < 60, 'createdAt is in seconds');
  for (const { type } of hooks.all) assert.match(type, /^application\/webhook\+json/);
});

test('a delivery that fails is repeated, and the order holds', options, async () => {
  const room = freshRoom('retry');
  let refusals = 2;
  hooks.refuse = (event) => event.room?.name === room && event.event === 'participant_joined' && refusals-- > 0;
  const alice = await browser.open('alice');
  await alice.connect(target.url, await token(room, 'alice'), small);
  await alice.publish({ microphone: true });
  await hooks.wait(room, 'track_published', 'alice', 30_000);
  await alice.close();
  hooks.refuse = undefined;
  assert.deepEqual(hooks.of(room).slice(0, 3).map(brief), ['room_started', 'participant_joined alice', 'track_published alice microphone']);
  const repeated = hooks.all.filter(({ event }) => event.room?.name === room && event.event === 'participant_joined');
  assert.equal(repeated.length, 3);
  assert.equal(new Set(repeated.map(({ event }) => event.id)).size, 1, 'a repeated delivery keeps its id');
});

test('a participant that never gets media: participant_connection_aborted', options, async () => {
  const room = freshRoom('aborted');
  const socket = new WebSocket(`${target.url}/rtc?access_token=${await token(room, 'alice')}&protocol=16&sdk=js&version=2.23.0&auto_subscribe=1`);
  await once(socket, 'message');
  socket.close();
  await hooks.wait(room, 'participant_connection_aborted', 'alice', 30_000);
  assert.ok(!hooks.of(room).some(({ event }) => event === 'participant_joined'));
});
