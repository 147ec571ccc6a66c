// What a token or another participant allows, and what others are told of a participant.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { hears, seesVideo, small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { until } from '../lib/wait.js';

let target;
let browser;

before(async () => {
  target = await startTarget();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await target?.stop();
});

const pages = new Map();

/** Joins a participant for each name, on a page kept for it; grants, token options and connect options by name. */
async function join(t, room, names, { grants = {}, tokens = {}, connect = {} } = {}) {
  const clients = [];
  for (const name of names) {
    const client = pages.get(name) ?? (await browser.open(name));
    pages.delete(name);
    t.after(async () => {
      await client.disconnect();
      pages.set(name, client);
    });
    await client.connect(target.url, await token(room, name, grants[name], tokens[name]), small, connect[name]);
    clients.push(client);
  }
  return clients;
}

/** Runs an SDK call in the page and answers how it was refused, or undefined when it was not. */
const refusal = (client, fn, ...args) =>
  client.eval(
    async (c, source, list) => {
      try {
        await (0, eval)(`(${source})`)(c, ...list);
        return undefined;
      } catch (err) {
        return { name: err.name, message: err.message };
      }
    },
    fn.toString(),
    args,
  );

test('canPublish false: the SDK knows, and the server holds to it', async (t) => {
  const room = freshRoom('nopublish');
  const [bob, alice] = await join(t, room, ['bob', 'alice'], {
    grants: { alice: { canPublish: false, canPublishData: true } },
  });
  assert.equal(await alice.eval((c) => c.room.localParticipant.permissions.canPublish), false);
  const refused = await refusal(alice, (c) => c.room.localParticipant.setMicrophoneEnabled(true));
  assert.match(refused.message, /insufficient permissions/);
  // A client that does not keep to it.
  await alice.eval((c) => {
    c.room.localParticipant.permissions.canPublish = true;
    c.room.localParticipant.setMicrophoneEnabled(true).catch(() => {});
  });
  await until(() => alice.eval((c) => Object.keys(c.room.engine.pendingTrackResolvers).length > 0), { what: 'the track is asked for' });
  await alice.eval((c) => c.room.localParticipant.publishData(new TextEncoder().encode('asked'), { reliable: true }));
  await bob.wait({ name: 'data', participant: 'alice', text: 'asked' });
  assert.deepEqual((await target.rooms.getParticipant(room, 'alice')).tracks, []);
  assert.deepEqual(await bob.eval((c) => c.events.filter(({ name }) => name === 'trackPublished')), []);
});

test('canPublishSources: one source and no other', async (t) => {
  const [bob, alice] = await join(t, freshRoom('sources'), ['bob', 'alice'], { grants: { alice: { canPublishSources: [2] } } });
  assert.match((await refusal(alice, (c) => c.room.localParticipant.setCameraEnabled(true)))?.message ?? '', /insufficient permissions/);
  await alice.publish({ microphone: true });
  await hears(bob, 'alice');
});

test('canPublishData false: messages go nowhere', async (t) => {
  const room = freshRoom('nodata');
  const [bob, alice] = await join(t, room, ['bob', 'alice'], { grants: { alice: { canPublishData: false } } });
  const send = (text) => refusal(alice, (c, x) => c.room.localParticipant.publishData(new TextEncoder().encode(x), { reliable: true }), text);
  await send('not allowed');
  await target.rooms.updateParticipant(room, 'alice', { permission: { canPublish: true, canSubscribe: true, canPublishData: true } });
  await alice.wait({ name: 'participantPermissionsChanged', participant: 'alice' });
  await until(
    async () => {
      await send('allowed');
      return bob.wait({ name: 'data', text: 'allowed' }, { timeout: 300 }).catch(() => false);
    },
    { what: 'a message arrives once data is allowed' },
  );
  assert.equal(await bob.eval((c) => c.events.some(({ text }) => text === 'not allowed')), false);
});

test('canSubscribe false, then granted by the API', async (t) => {
  const room = freshRoom('nosubscribe');
  const [alice, bob] = await join(t, room, ['alice', 'bob'], { grants: { bob: { canSubscribe: false } } });
  await alice.publish({ camera: true });
  await bob.wait({ name: 'trackPublished', participant: 'alice' });
  await target.rooms.updateParticipant(room, 'bob', { permission: { canPublish: true, canSubscribe: true, canPublishData: true } });
  const granted = await bob.wait({ name: 'participantPermissionsChanged', participant: 'bob' });
  const subscribed = await bob.wait({ name: 'trackSubscribed', participant: 'alice' });
  assert.ok(subscribed.at >= granted.at - 50, 'nothing was subscribed before the grant');
  await seesVideo(bob, 'alice', { window: 1000 });
  // And taken away again.
  const from = await bob.mark();
  await target.rooms.updateParticipant(room, 'bob', { permission: { canPublish: true, canSubscribe: false, canPublishData: true } });
  await bob.wait({ name: 'trackUnsubscribed', participant: 'alice' }, { from });
});

test('canPublish taken away: tracks are unpublished', async (t) => {
  const room = freshRoom('revoke');
  const [alice, bob] = await join(t, room, ['alice', 'bob']);
  await alice.publish({ microphone: true });
  await hears(bob, 'alice');
  await target.rooms.updateParticipant(room, 'alice', { permission: { canPublish: false, canSubscribe: true, canPublishData: true } });
  await bob.wait({ name: 'trackUnpublished', participant: 'alice' });
  await alice.wait({ name: 'localTrackUnpublished', participant: 'alice' });
});

test('hidden: sees and is not seen', async (t) => {
  const [alice, ghost, bob] = await join(t, freshRoom('hidden'), ['alice', 'ghost', 'bob'], { grants: { ghost: { hidden: true } } });
  await alice.publish({ camera: true });
  await seesVideo(ghost, 'alice', { window: 1000 });
  await alice.wait({ name: 'participantConnected', participant: 'bob' });
  for (const client of [alice, bob]) {
    assert.equal(await client.eval((c) => c.room.remoteParticipants.has('ghost')), false);
    assert.equal(await client.eval((c) => c.events.some(({ participant }) => participant === 'ghost')), false);
  }
});

test('autoSubscribe false: subscribed, unsubscribed and subscribed by hand', async (t) => {
  const [alice, bob] = await join(t, freshRoom('manual'), ['alice', 'bob'], { connect: { bob: { autoSubscribe: false } } });
  await alice.publish({ camera: true, microphone: true });
  await bob.wait({ name: 'trackPublished', participant: 'alice', source: 'camera' });
  await bob.wait({ name: 'trackPublished', participant: 'alice', source: 'microphone' });
  const set = (source, on) => bob.eval((c, s, o) => c.publication('alice', s).setSubscribed(o), source, on);
  for (let round = 0; round < 2; round++) {
    let from = await bob.mark();
    await set('camera', true);
    await bob.wait({ name: 'trackSubscribed', participant: 'alice', source: 'camera' }, { from });
    await seesVideo(bob, 'alice', { window: 1000 });
    from = await bob.mark();
    await set('camera', false);
    await bob.wait({ name: 'trackUnsubscribed', participant: 'alice', source: 'camera' }, { from });
  }
  assert.equal(await bob.eval((c) => c.events.some(({ name, source }) => name === 'trackSubscribed' && source === 'microphone')), false);
});

test('track permissions: only those whom the publisher allows', async (t) => {
  const [alice, bob, carol] = await join(t, freshRoom('trackpermissions'), ['alice', 'bob', 'carol']);
  await alice.publish({ camera: true });
  await Promise.all([bob, carol].map((client) => seesVideo(client, 'alice', { window: 1000 })));
  let from = await carol.mark();
  await alice.eval((c) => c.room.localParticipant.setTrackSubscriptionPermissions(false, [{ participantIdentity: 'bob', allowAll: true }]));
  await carol.wait({ name: 'trackSubscriptionPermissionChanged', participant: 'alice' }, { from });
  await carol.wait({ name: 'trackUnsubscribed', participant: 'alice' }, { from });
  await seesVideo(bob, 'alice', { window: 1000 });
  from = await carol.mark();
  await alice.eval((c) => c.room.localParticipant.setTrackSubscriptionPermissions(true));
  await carol.wait({ name: 'trackSubscribed', participant: 'alice' }, { from });
  await seesVideo(carol, 'alice', { window: 1000 });
});

test('name, metadata and attributes, with and without the grant', async (t) => {
  const [bob, alice, mallory] = await join(t, freshRoom('attributes'), ['bob', 'alice', 'mallory'], {
    grants: { alice: { canUpdateOwnMetadata: true } },
  });
  await bob.wait({ name: 'participantConnected', participant: 'mallory' });
  await alice.eval(async (c) => {
    const { localParticipant } = c.room;
    await localParticipant.setName('Alice A.');
    await localParticipant.setMetadata('{"seat":1}');
    await localParticipant.setAttributes({ hand: 'up', mood: 'fine' });
    await localParticipant.setAttributes({ hand: '' });
  });
  await bob.wait({ name: 'participantNameChanged', participant: 'alice' });
  await bob.wait({ name: 'participantMetadataChanged', participant: 'alice' });
  await bob.wait({ name: 'participantAttributesChanged', participant: 'alice' });
  const seen = () =>
    bob.eval((c) => {
      const { name, metadata, attributes } = c.room.remoteParticipants.get('alice');
      return { name, metadata, attributes };
    });
  await until(async () => !('hand' in (await seen()).attributes), { what: 'an empty attribute is removed' });
  assert.deepEqual(await seen(), { name: 'Alice A.', metadata: '{"seat":1}', attributes: { mood: 'fine' } });
  assert.ok(await refusal(mallory, (c) => c.room.localParticipant.setMetadata('no')), 'refused without the grant');
  assert.equal(await bob.eval((c) => c.room.remoteParticipants.get('mallory').metadata ?? ''), '');
});

test('token: name, metadata and attributes are there from the start', async (t) => {
  const room = freshRoom('tokenfields');
  const [bob] = await join(t, room, ['bob', 'alice'], { tokens: { alice: { name: 'Alice', metadata: 'm', attributes: { role: 'host' } } } });
  await bob.wait({ name: 'participantConnected', participant: 'alice' });
  assert.deepEqual(
    await bob.eval((c) => {
      const { name, metadata, attributes } = c.room.remoteParticipants.get('alice');
      return { name, metadata, attributes };
    }),
    { name: 'Alice', metadata: 'm', attributes: { role: 'host' } },
  );
});

test('a second join with an identity ends the first', async (t) => {
  const room = freshRoom('duplicate');
  const [bob, first] = await join(t, room, ['bob', 'alice']);
  await first.publish({ camera: true });
  await seesVideo(bob, 'alice', { window: 1000 });
  const from = await bob.mark();
  const [second] = await join(t, room, ['alice']);
  const { value } = await first.wait({ name: 'disconnected' });
  assert.equal(value, 2, 'DUPLICATE_IDENTITY');
  await bob.wait({ name: 'trackUnsubscribed', participant: 'alice' }, { from });
  await second.publish({ camera: true });
  await seesVideo(bob, 'alice', { window: 1000 });
  assert.equal(await bob.eval((c) => c.room.remoteParticipants.size), 1);
});
