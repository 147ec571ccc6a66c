// Two Chromium pages in one room: see, hear, write to and call each other.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { figure, spread } from '../lib/figures.js';
import { assertMode, hears, modes, seesVideo, small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { pause, until } from '../lib/wait.js';

let target;
let browser;

before(async () => {
  target = await startTarget();
  if (target.readyMs) figure('server-ready', target.readyMs, 'ms');
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await target?.stop();
});

for (const { mode, singlePeerConnection } of modes) {
  describe(`pair, ${mode} connection`, () => {
    const room = freshRoom(`pair-${mode}`);
    const options = { singlePeerConnection, ...small };
    let alice;
    let bob;

    before(async () => {
      alice = await browser.open('alice');
      bob = await browser.open('bob');
    });
    after(async () => {
      await alice?.close();
      await bob?.close();
    });

    test('join and publish', async () => {
      assertMode(await alice.connect(target.url, await token(room, 'alice'), options), singlePeerConnection);
      await alice.publish({ camera: true, microphone: true });
      assertMode(await bob.connect(target.url, await token(room, 'bob'), options), singlePeerConnection);
      await bob.publish({ camera: true, microphone: true });
    });

    test('moving video both ways at 20 frames/s or more', async () => {
      const [toBob, toAlice] = await Promise.all([seesVideo(bob, 'alice'), seesVideo(alice, 'bob')]);
      figure(`frame-rate.${mode}.alice-to-bob`, toBob, 'frames/s');
      figure(`frame-rate.${mode}.bob-to-alice`, toAlice, 'frames/s');
    });

    test('audio both ways, hardly concealed', async () => {
      const heard = await Promise.all([hears(bob, 'alice'), hears(alice, 'bob')]);
      figure(`audio-concealed.${mode}`, 100 * Math.max(...heard.map(({ concealed }) => concealed)), '%');
    });

    test('a speaker is announced, and that he stops', async () => {
      await alice.eval((c) => c.speak());
      const speaks = () => bob.eval((c) => c.room.activeSpeakers.map(({ identity }) => identity));
      await until(async () => (await speaks()).includes('alice'), { what: 'bob is told that alice speaks' });
      assert.ok(await bob.eval((c) => c.room.remoteParticipants.get('alice').audioLevel > 0), 'with a level');
      await alice.eval((c) => c.hush());
      await until(async () => !(await speaks()).includes('alice'), { what: 'bob is told that alice is silent' });
      await alice.eval((c) => c.room.localParticipant.getTrackPublication('microphone').track.restartTrack());
    });

    test('media goes encrypted over UDP', async () => {
      const transports = await bob.transports();
      assert.equal(transports.length, singlePeerConnection ? 1 : 2, 'connected transports');
      for (const { srtpCipher, protocol, dtlsState } of transports) {
        assert.equal(protocol, 'udp');
        assert.equal(dtlsState, 'connected');
        figure(`srtp-cipher.${mode}`, srtpCipher);
        if (target.own) assert.match(srtpCipher, /AEAD_AES_128_GCM/, 'the server chooses the cheapest profile offered');
      }
    });

    test('chat both ways', async () => {
      await alice.eval((c) => c.room.localParticipant.sendText('hello bob', { topic: 'chat' }));
      await bob.wait({ name: 'chat', participant: 'alice', text: 'hello bob' });
      const long = 'grüße '.repeat(10_000);
      await bob.eval((c, text) => c.room.localParticipant.sendText(text, { topic: 'chat' }), long);
      await alice.wait({ name: 'chat', participant: 'bob', text: long });
    });

    test('data, reliable and lossy, to all and to one', async () => {
      const send = (from, text, how) =>
        from.eval((c, t, h) => c.room.localParticipant.publishData(new TextEncoder().encode(t), h), text, how);
      await send(alice, 'reliable', { reliable: true, topic: 'r' });
      await bob.wait({ name: 'data', participant: 'alice', text: 'reliable', topic: 'r', reliable: true });
      await send(bob, 'to alice', { reliable: true, destinationIdentities: ['alice'] });
      await alice.wait({ name: 'data', participant: 'bob', text: 'to alice' });
      // A lossy message may be lost; one of several arrives.
      await until(
        async () => {
          await send(bob, 'lossy', { reliable: false });
          return alice.wait({ name: 'data', participant: 'bob', text: 'lossy', reliable: false }, { timeout: 300 }).catch(() => false);
        },
        { what: 'a lossy message arrives' },
      );
      await send(alice, 'for nobody here', { reliable: true, destinationIdentities: ['carol'] });
      await send(alice, 'after it', { reliable: true });
      await bob.wait({ name: 'data', text: 'after it' });
      assert.equal(await bob.eval((c) => c.events.some(({ text }) => text === 'for nobody here')), false, 'a message for another one');
    });

    test('200 reliable messages arrive in order, none lost', async () => {
      await alice.eval(async (c) => {
        for (let i = 0; i < 200; i++) await c.room.localParticipant.publishData(new TextEncoder().encode(String(i)), { reliable: true, topic: 'count' });
      });
      await bob.wait({ name: 'data', topic: 'count', text: '199' });
      const got = await bob.eval((c) => c.events.filter(({ topic }) => topic === 'count').map(({ text }) => Number(text)));
      assert.deepEqual(got, [...Array(200).keys()]);
    });

    test('RPC: answer, refusal, unknown method', async () => {
      const call = (method, payload) =>
        alice.eval(
          async (c, m, p) => {
            try {
              return await c.room.localParticipant.performRpc({ destinationIdentity: 'bob', method: m, payload: p });
            } catch (err) {
              return { code: err.code, message: err.message };
            }
          },
          method,
          payload,
        );
      assert.equal(await call('echo', 'ping'), 'alice:ping');
      assert.deepEqual(await call('refuse', ''), { code: 1234, message: 'refused on purpose' });
      assert.equal((await call('nothing', '')).code, 1400, 'UNSUPPORTED_METHOD');
    });

    test('mute and unmute are seen', async () => {
      for (const source of ['microphone', 'camera']) {
        const toggle = source === 'microphone' ? 'setMicrophoneEnabled' : 'setCameraEnabled';
        let from = await bob.mark();
        await alice.eval((c, method) => c.room.localParticipant[method](false), toggle);
        await bob.wait({ name: 'trackMuted', participant: 'alice', source }, { from });
        from = await bob.mark();
        await alice.eval((c, method) => c.room.localParticipant[method](true), toggle);
        await bob.wait({ name: 'trackUnmuted', participant: 'alice', source }, { from });
      }
      await Promise.all([seesVideo(bob, 'alice', { window: 1000 }), hears(bob, 'alice')]);
    });

    test('camera unpublished and published again', async () => {
      let from = await bob.mark();
      await alice.eval((c) => c.room.localParticipant.unpublishTrack(c.room.localParticipant.getTrackPublication('camera').track));
      await bob.wait({ name: 'trackUnsubscribed', participant: 'alice', source: 'camera' }, { from });
      await bob.wait({ name: 'trackUnpublished', participant: 'alice', source: 'camera' }, { from });
      from = await bob.mark();
      await alice.publish({ camera: true });
      await bob.wait({ name: 'trackSubscribed', participant: 'alice', source: 'camera' }, { from });
      await seesVideo(bob, 'alice', { window: 1000 });
    });

    test('screen share beside the camera', async () => {
      await alice.publish({ screen: true });
      await bob.wait({ name: 'trackSubscribed', participant: 'alice', source: 'screen_share' });
      await until(async () => (await bob.frames('alice', 'screen_share')).count >= 5, { what: 'bob decodes the screen' });
      await seesVideo(bob, 'alice', { window: 1000, least: 10 });
      const from = await bob.mark();
      await alice.eval((c) => c.room.localParticipant.setScreenShareEnabled(false));
      await bob.wait({ name: 'trackUnsubscribed', participant: 'alice', source: 'screen_share' }, { from });
    });

    test('leaving is seen at once', async () => {
      const from = await alice.mark();
      await bob.disconnect();
      await alice.wait({ name: 'participantDisconnected', participant: 'bob' }, { from, timeout: 3000 });
      assert.equal(await bob.eval((c) => c.room.state), 'disconnected');
    });
  });
}

for (const { mode, singlePeerConnection } of modes) {
  test(`join to first frame, ${mode} connection`, async () => {
    const room = freshRoom(`join-${mode}`);
    const options = { singlePeerConnection, ...small };
    const alice = await browser.open('alice');
    const bob = await browser.open('bob');
    await alice.connect(target.url, await token(room, 'alice'), options);
    await alice.publish({ camera: true });
    const frames = [];
    const connects = [];
    for (let i = 0; i < 10; i++) {
      connects.push((await bob.connect(target.url, await token(room, 'bob'), options)).ms);
      await until(async () => (await bob.frames('alice')).count > 0, { what: 'bob decodes a frame' });
      frames.push(await bob.eval((c) => c.frames('alice').first - c.lastConnect));
      await bob.disconnect();
      await until(async () => (await target.rooms.listParticipants(room)).length === 1, { what: 'bob has left' });
      // A server may space key frame requests by a second; each join is measured as a lone one.
      await pause(1200);
    }
    spread(`connect.${mode}`, connects);
    spread(`join-to-first-frame.${mode}`, frames);
    await alice.close();
    await bob.close();
  });
}
