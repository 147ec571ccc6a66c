// The server API with livekit-server-sdk: every method, what clients see of it, and its errors.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DataPacket_Kind, RoomServiceClient } from 'livekit-server-sdk';
import { launch } from '../lib/browser.js';
import { seesVideo, small } from '../lib/media.js';
import { apiKey, apiSecret, freshRoom, startTarget, token } from '../lib/target.js';
import { until } from '../lib/wait.js';

let target;
let browser;
let alice;
let bob;
const room = freshRoom('api');

before(async () => {
  target = await startTarget();
  browser = await launch();
  [alice, bob] = await Promise.all([browser.open('alice'), browser.open('bob')]);
});
after(async () => {
  await browser?.close();
  await target?.stop();
});

/** Checks an error's Twirp code; others names what livekit-server answers where it differs. */
const fails = (code, others = []) => (err) => {
  const allowed = target.own ? [code] : [code, ...others];
  assert.ok(allowed.includes(err.code), `want ${code}: ${err.name} ${err.status} ${err.code}: ${err.message}`);
  return true;
};

test('createRoom', async () => {
  const created = await target.rooms.createRoom({ name: room, emptyTimeout: 60, departureTimeout: 30, maxParticipants: 2, metadata: 'first' });
  assert.equal(created.name, room);
  assert.match(created.sid, /^RM_/);
  assert.equal(created.emptyTimeout, 60);
  assert.equal(created.departureTimeout, 30);
  assert.equal(created.maxParticipants, 2);
  assert.equal(created.metadata, 'first');
  const again = await target.rooms.createRoom({ name: room });
  assert.equal(again.sid, created.sid, 'creating an existing room answers that room');
});

test('listRooms, all and by name', async () => {
  assert.ok((await target.rooms.listRooms()).some(({ name }) => name === room));
  assert.deepEqual((await target.rooms.listRooms([room])).map(({ name }) => name), [room]);
  assert.deepEqual(await target.rooms.listRooms([freshRoom('absent')]), []);
});

test('listParticipants and getParticipant', async () => {
  assert.deepEqual(await target.rooms.listParticipants(room), []);
  await alice.connect(target.url, await token(room, 'alice', {}, { name: 'Alice' }), small);
  await bob.connect(target.url, await token(room, 'bob'), small);
  await alice.publish({ camera: true, microphone: true });
  await seesVideo(bob, 'alice', { window: 1000 });
  const listed = await target.rooms.listParticipants(room);
  assert.deepEqual(listed.map(({ identity }) => identity).sort(), ['alice', 'bob']);
  const info = await target.rooms.getParticipant(room, 'alice');
  assert.equal(info.name, 'Alice');
  assert.match(info.sid, /^PA_/);
  assert.equal(info.state, 2, 'ACTIVE');
  assert.equal(info.isPublisher, true);
  const tracks = Object.fromEntries(info.tracks.map((track) => [track.source, track]));
  assert.deepEqual(Object.keys(tracks).sort(), ['1', '2'], 'camera and microphone');
  assert.match(tracks[1].sid, /^TR_/);
  assert.equal(tracks[1].mimeType.toLowerCase(), 'video/vp8');
  assert.equal(tracks[1].width, 640);
  assert.equal(tracks[1].height, 360);
  assert.ok(tracks[1].layers.length >= 2, 'simulcast layers');
  assert.match(tracks[2].mimeType.toLowerCase(), /^audio\/(opus|red)$/);
  const [counted] = await target.rooms.listRooms([room]);
  await until(async () => (await target.rooms.listRooms([room]))[0].numParticipants === 2, { what: `numParticipants of ${JSON.stringify(counted.name)}` });
});

test('one participant more than maxParticipants is refused', async () => {
  const carol = await browser.open('carol');
  await assert.rejects(carol.connect(target.url, await token(room, 'carol')), /ConnectionError/);
  await carol.close();
  assert.equal((await target.rooms.listParticipants(room)).length, 2);
});

test('updateRoomMetadata', async () => {
  const updated = await target.rooms.updateRoomMetadata(room, 'second');
  assert.equal(updated.metadata, 'second');
  for (const page of [alice, bob]) {
    await page.wait({ name: 'roomMetadataChanged', value: 'second' });
    assert.equal(await page.eval((c) => c.room.metadata), 'second');
  }
});

test('updateParticipant: name, metadata, attributes, permission', async () => {
  const info = await target.rooms.updateParticipant(room, 'alice', { name: 'Alicia', metadata: 'meta', attributes: { seat: '4' } });
  assert.equal(info.name, 'Alicia');
  assert.equal(info.metadata, 'meta');
  assert.deepEqual({ ...info.attributes }, { seat: '4' });
  await bob.wait({ name: 'participantMetadataChanged', participant: 'alice' });
  await bob.wait({ name: 'participantAttributesChanged', participant: 'alice' });
  await bob.wait({ name: 'participantNameChanged', participant: 'alice' });
  const from = await bob.mark();
  await target.rooms.updateParticipant(room, 'bob', { permission: { canSubscribe: true, canPublish: false, canPublishData: true } });
  await bob.wait({ name: 'participantPermissionsChanged', participant: 'bob' }, { from });
  assert.equal(await bob.eval((c) => c.room.localParticipant.permissions.canPublish), false);
});

test('mutePublishedTrack', async () => {
  const { tracks } = await target.rooms.getParticipant(room, 'alice');
  const microphone = tracks.find(({ source }) => source === 2);
  const from = await alice.mark();
  const muted = await target.rooms.mutePublishedTrack(room, 'alice', microphone.sid, true);
  assert.equal(muted.sid, microphone.sid);
  await alice.wait({ name: 'trackMuted', participant: 'alice', source: 'microphone' }, { from });
  await bob.wait({ name: 'trackMuted', participant: 'alice', source: 'microphone' });
  // Not unless the configuration allows remote unmuting: refused, or ignored.
  await target.rooms.mutePublishedTrack(room, 'alice', microphone.sid, false).catch(fails('failed_precondition', ['permission_denied']));
  await target.rooms.updateRoomMetadata(room, 'after unmuting');
  await alice.wait({ name: 'roomMetadataChanged', value: 'after unmuting' });
  assert.equal(await alice.eval((c) => c.room.localParticipant.isMicrophoneEnabled), false);
  // livekit-server answers this with an empty track.
  if (target.own) await assert.rejects(target.rooms.mutePublishedTrack(room, 'alice', 'TR_absent', true), fails('not_found'));
});

test('updateSubscriptions', async () => {
  const { tracks } = await target.rooms.getParticipant(room, 'alice');
  const camera = tracks.find(({ source }) => source === 1).sid;
  let from = await bob.mark();
  await target.rooms.updateSubscriptions(room, 'bob', [camera], false);
  await bob.wait({ name: 'trackUnsubscribed', participant: 'alice', source: 'camera' }, { from });
  from = await bob.mark();
  await target.rooms.updateSubscriptions(room, 'bob', [camera], true);
  await bob.wait({ name: 'trackSubscribed', participant: 'alice', source: 'camera' }, { from });
  await seesVideo(bob, 'alice', { window: 1000 });
});

test('sendData, to all and to one', async () => {
  const bytes = (text) => new TextEncoder().encode(text);
  await target.rooms.sendData(room, bytes('to bob'), DataPacket_Kind.RELIABLE, { destinationIdentities: ['bob'], topic: 'api' });
  await target.rooms.sendData(room, bytes('to all'), DataPacket_Kind.RELIABLE, { topic: 'api' });
  await bob.wait({ name: 'data', text: 'to bob', topic: 'api' });
  for (const page of [alice, bob]) await page.wait({ name: 'data', text: 'to all', topic: 'api' });
  assert.equal(await alice.eval((c) => c.events.some(({ text }) => text === 'to bob')), false);
});

test('removeParticipant', async () => {
  const from = await alice.mark();
  await target.rooms.removeParticipant(room, 'bob');
  assert.equal((await bob.wait({ name: 'disconnected' })).value, 4, 'PARTICIPANT_REMOVED');
  await alice.wait({ name: 'participantDisconnected', participant: 'bob' }, { from });
  assert.deepEqual((await target.rooms.listParticipants(room)).map(({ identity }) => identity), ['alice']);
});

test('moveParticipant and forwardParticipant work, or say that they do not', async () => {
  for (const method of ['moveParticipant', 'forwardParticipant']) {
    await target.rooms[method](room, 'alice', freshRoom('elsewhere')).catch(fails('unimplemented', ['unknown']));
  }
});

test('deleteRoom', async () => {
  await target.rooms.deleteRoom(room);
  assert.equal((await alice.wait({ name: 'disconnected' })).value, 5, 'ROOM_DELETED');
  await until(async () => (await target.rooms.listRooms([room])).length === 0, { what: 'the room is gone' });
});

describe('errors', () => {
  const absent = freshRoom('absent');

  for (const [method, ...args] of [
    ['getParticipant', absent, 'nobody'],
    ['removeParticipant', absent, 'nobody'],
    ['updateParticipant', absent, 'nobody', { metadata: 'x' }],
    ['mutePublishedTrack', absent, 'nobody', 'TR_x', true],
    ['updateSubscriptions', absent, 'nobody', ['TR_x'], true],
    ['updateRoomMetadata', absent, 'x'],
    ['deleteRoom', absent],
    ['sendData', absent, new Uint8Array(1), DataPacket_Kind.RELIABLE, {}],
  ]) {
    test(`${method} on a room that is not there: not_found`, async () => {
      await assert.rejects(target.rooms[method](...args), fails('not_found', ['unavailable']));
    });
  }

  test('getParticipant of nobody in a room: not_found', async () => {
    const there = freshRoom('there');
    await target.rooms.createRoom({ name: there });
    await assert.rejects(target.rooms.getParticipant(there, 'nobody'), fails('not_found'));
    await target.rooms.deleteRoom(there);
  });

  test('another secret, another key: unauthenticated', async () => {
    for (const [key, secret] of [[apiKey, 'not-the-secret-not-the-secret-not'], ['nokey', apiSecret]]) {
      await assert.rejects(new RoomServiceClient(target.httpUrl, key, secret).listRooms(), (err) => {
        assert.equal(err.status, 401);
        assert.ok(!err.message.includes(secret), 'the secret is not told');
        return true;
      });
    }
  });

  /** A raw call with a token of its own grants. */
  const call = async (method, authorization, body = {}, headers = {}) => {
    const response = await fetch(`${target.httpUrl}/twirp/livekit.RoomService/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(authorization && { authorization }), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    return { status: response.status, body: json ? JSON.parse(text) : text };
  };

  test('no token, or one that is none: unauthenticated', async () => {
    for (const authorization of [undefined, 'Bearer not.a.token', 'Bearer ']) {
      const { status, body } = await call('ListRooms', authorization);
      assert.equal(status, 401);
      assert.ok(typeof body === 'string' || body.code === 'unauthenticated', JSON.stringify(body));
    }
  });

  test('a token without the grant is refused', async () => {
    const joiner = `Bearer ${await token('some-room', 'alice')}`;
    for (const [method, body] of [
      ['ListRooms', {}],
      ['CreateRoom', { name: absent }],
      ['DeleteRoom', { room: absent }],
      ['ListParticipants', { room: absent }],
    ]) {
      const { status, body: answer } = await call(method, joiner, body);
      assert.ok([401, 403].includes(status), `${method}: ${status}`);
      assert.match(answer.code, /^(unauthenticated|permission_denied)$/);
    }
  });

  test("another room's admin is refused", async () => {
    const admin = `Bearer ${await token('mine', 'alice', { roomAdmin: true })}`;
    const { status } = await call('ListParticipants', admin, { room: 'yours' });
    assert.ok([401, 403].includes(status), String(status));
    assert.equal((await call('ListParticipants', admin, { room: 'mine' })).status, 200);
  });

  test('a body that is no JSON: malformed; an unknown method: bad_route', async () => {
    const admin = `Bearer ${await token('mine', 'alice', { roomList: true })}`;
    const malformed = await call('ListRooms', admin, '{"names": ');
    assert.equal(malformed.status, 400);
    assert.equal(malformed.body.code, 'malformed');
    const unknown = await call('Nothing', admin);
    assert.equal(unknown.status, 404);
    assert.equal(unknown.body.code, 'bad_route');
  });
});
