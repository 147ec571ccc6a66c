// Different clients in one room: Chromium, Firefox ESR and rtc-node.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from '../lib/browser.js';
import { figure } from '../lib/figures.js';
import { hears, modes, seesVideo, small } from '../lib/media.js';
import { NodeClient, disposeAll } from '../lib/rtcnode.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { until } from '../lib/wait.js';

let target;
let chromium;
let firefox;

before(async () => {
  target = await startTarget();
  [chromium, firefox] = await Promise.all([launch('chromium'), launch('firefox')]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  await disposeAll();
  await target?.stop();
});

const chat = (page, text) => page.eval((c, t) => c.room.localParticipant.sendText(t, { topic: 'chat' }), text);

for (const { mode, singlePeerConnection } of modes) {
  test(`Chromium and rtc-node, ${mode} connection`, async (t) => {
    const room = freshRoom(`node-${mode}`);
    const alice = await chromium.open('alice');
    const nora = new NodeClient('nora');
    t.after(async () => {
      await nora.disconnect();
      await alice.close();
    });
    await alice.connect(target.url, await token(room, 'alice'), { singlePeerConnection, ...small });
    await alice.publish({ camera: true, microphone: true });
    await nora.connect(target.url, await token(room, 'nora'));
    await nora.publish();
    const [toNora, toAlice] = await Promise.all([nora.sees('alice'), seesVideo(alice, 'nora'), nora.hears('alice'), hears(alice, 'nora')]);
    figure(`frame-rate.${mode}.chromium-to-rtc-node`, toNora, 'frames/s');
    figure(`frame-rate.${mode}.rtc-node-to-chromium`, toAlice, 'frames/s');

    await chat(alice, 'to node');
    await nora.wait({ name: 'chat', participant: 'alice', text: 'to node' });
    await nora.room.localParticipant.sendText('to page', { topic: 'chat' });
    await alice.wait({ name: 'chat', participant: 'nora', text: 'to page' });
    const rpc = (to) => ({ destinationIdentity: to, method: 'echo', payload: 'ping' });
    assert.equal(await nora.room.localParticipant.performRpc(rpc('alice')), 'nora:ping');
    assert.equal(await alice.eval((c, params) => c.room.localParticipant.performRpc(params), rpc('nora')), 'alice:ping');

    await alice.eval((c) => c.room.localParticipant.setMicrophoneEnabled(false));
    await nora.wait({ name: 'trackMuted', participant: 'alice' });
  });

  test(`Chromium and Firefox, ${mode} connection`, async (t) => {
    const room = freshRoom(`firefox-${mode}`);
    const alice = await chromium.open('alice');
    const fiona = await firefox.open('fiona');
    t.after(() => Promise.all([alice.close(), fiona.close()]));
    await alice.connect(target.url, await token(room, 'alice'), { singlePeerConnection, ...small });
    await alice.publish({ camera: true, microphone: true });
    await fiona.connect(target.url, await token(room, 'fiona'), { singlePeerConnection, ...small });
    await fiona.publish({ camera: true, microphone: true });
    const [toFiona, toAlice] = await Promise.all([seesVideo(fiona, 'alice'), seesVideo(alice, 'fiona'), hears(alice, 'fiona')]);
    figure(`frame-rate.${mode}.chromium-to-firefox`, toFiona, 'frames/s');
    figure(`frame-rate.${mode}.firefox-to-chromium`, toAlice, 'frames/s');
    await hears(fiona, 'alice');
    await chat(alice, 'to firefox');
    await fiona.wait({ name: 'chat', participant: 'alice', text: 'to firefox' });
    await chat(fiona, 'to chromium');
    await alice.wait({ name: 'chat', participant: 'fiona', text: 'to chromium' });

    for (const scenario of ['signal-reconnect', 'full-reconnect']) {
      const { start, ms } = await fiona.simulate(scenario);
      figure(`reconnected.${scenario}.${mode}.firefox`, ms, 'ms');
      await Promise.all([seesVideo(fiona, 'alice', { window: 1000 }), seesVideo(alice, 'fiona', { window: 1000 })]);
      figure(`gap.${scenario}.${mode}.firefox.up`, (await alice.frames('fiona', 'camera', start - 100)).gap, 'ms');
    }
  });

  test(`both codecs, each for the viewers that have it, ${mode} connection`, async (t) => {
    const room = freshRoom(`backup-${mode}`);
    const [alice, carol, fiona] = [await chromium.open('alice'), await chromium.open('carol'), await firefox.open('fiona')];
    t.after(() => Promise.all([alice.close(), carol.close(), fiona.close()]));
    for (const viewer of [carol, fiona]) await viewer.connect(target.url, await token(room, viewer.name), { singlePeerConnection });
    await alice.connect(target.url, await token(room, 'alice'), {
      singlePeerConnection,
      ...small,
      dynacast: true,
      publishDefaults: { ...small.publishDefaults, videoCodec: 'av1', backupCodec: { codec: 'vp8' }, backupCodecPolicy: 1 },
    });
    await alice.publish({ camera: true });
    await Promise.all([carol, fiona].map((viewer) => seesVideo(viewer, 'alice', { window: 1000, least: 15, timeout: 30_000 })));
    assert.equal((await fiona.inbound('alice')).codec, 'video/VP8');
    assert.equal((await carol.inbound('alice')).codec, 'video/AV1');
  });
}

test('backup codec instead of the first one for a viewer without it', async (t) => {
  const room = freshRoom('regression');
  const [alice, fiona] = [await chromium.open('alice'), await firefox.open('fiona')];
  t.after(() => Promise.all([alice.close(), fiona.close()]));
  await fiona.connect(target.url, await token(room, 'fiona'));
  await alice.connect(target.url, await token(room, 'alice'), {
    ...small,
    dynacast: true,
    publishDefaults: { ...small.publishDefaults, videoCodec: 'av1', backupCodec: { codec: 'vp8' } },
  });
  await alice.publish({ camera: true });
  await seesVideo(fiona, 'alice', { window: 1000, least: 15, timeout: 30_000 });
  assert.equal((await fiona.inbound('alice')).codec, 'video/VP8');
});

describe('rtc-node and rtc-node', () => {
  const room = freshRoom('nodes');
  const nora = new NodeClient('nora');
  const nils = new NodeClient('nils');

  before(async () => {
    for (const client of [nora, nils]) await client.connect(target.url, await token(room, client.name));
    await until(() => nora.room.remoteParticipants.has('nils'), { what: 'nora knows nils' });
  });
  after(async () => {
    await nora.disconnect();
    await nils.disconnect();
  });

  test('data', async () => {
    await nora.room.localParticipant.publishData(new TextEncoder().encode('one'), { reliable: true, topic: 't' });
    await nils.wait({ name: 'data', participant: 'nora', text: 'one', topic: 't' });
  });

  test('text stream of 300 kB', async () => {
    const text = 'abcdefghij'.repeat(30_000);
    await nora.room.localParticipant.sendText(text, { topic: 'chat' });
    assert.equal((await nils.wait({ name: 'chat', participant: 'nora' })).text, text);
  });

  test('byte stream of 1 MB', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'e2e-'));
    t.after(() => rm(directory, { recursive: true }));
    const bytes = randomBytes(1 << 20);
    const file = join(directory, 'random.bin');
    await writeFile(file, bytes);
    const start = performance.now();
    await nils.room.localParticipant.sendFile(file, { topic: 'file', name: 'random.bin' });
    const got = await nora.wait({ name: 'file', participant: 'nils' }, { timeout: 20_000 });
    figure('byte-stream-1MB', performance.now() - start, 'ms');
    const sha = (data) => createHash('sha256').update(data).digest('hex');
    assert.equal(sha(got.bytes), sha(bytes));
  });

  test('RPC: answer, refusal, nobody there', async () => {
    const call = (destinationIdentity, method, payload = '') =>
      nora.room.localParticipant.performRpc({ destinationIdentity, method, payload, responseTimeout: 5000 });
    assert.equal(await call('nils', 'echo', 'x'), 'nora:x');
    await assert.rejects(call('nils', 'refuse'), (err) => err.code === 1234 && err.message === 'refused on purpose');
    await assert.rejects(call('nils', 'nothing'), (err) => err.code === 1400);
  });

  test('media both ways', async () => {
    await nora.publish();
    await nils.publish();
    const [rate] = await Promise.all([nils.sees('nora'), nora.sees('nils'), nils.hears('nora'), nora.hears('nils')]);
    figure('frame-rate.rtc-node-to-rtc-node', rate, 'frames/s');
  });
});
