// End-to-end encryption with livekit-client's worker: frames pass, and only with the key.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { hears, modes, seesVideo, small } from '../lib/media.js';
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

for (const { mode, singlePeerConnection } of modes) {
  const codec = singlePeerConnection ? 'vp8' : 'h264';
  test(`${codec}, ${mode} connection`, async (t) => {
    const room = freshRoom(`e2ee-${mode}`);
    const pages = [];
    for (const [name, key] of [['alice', 'the key'], ['bob', 'the key'], ['eve', 'another key']]) {
      const page = await browser.open(name);
      t.after(() => page.close());
      await page.eval((c, passphrase) => c.useKey(passphrase), key);
      await page.connect(target.url, await token(room, name), {
        singlePeerConnection,
        ...small,
        publishDefaults: { ...small.publishDefaults, videoCodec: codec },
      });
      pages.push(page);
    }
    const [alice, bob, eve] = pages;
    for (const page of [alice, bob]) await page.publish({ camera: true, microphone: true });
    await Promise.all([seesVideo(bob, 'alice'), seesVideo(alice, 'bob'), hears(bob, 'alice')]);
    assert.equal(await bob.eval((c) => c.publication('alice').trackInfo.encryption), 1, 'announced as GCM');
    assert.equal(await bob.eval((c) => c.room.remoteParticipants.get('alice').isEncrypted), true);
    await until(async () => (await eve.inbound('alice'))?.packetsReceived > 100, { what: 'eve receives packets' });
    assert.equal((await eve.inbound('alice')).framesDecoded ?? 0, 0, 'and decodes none');
    await alice.eval((c) => c.room.localParticipant.sendText('sealed', { topic: 'chat' }));
    await bob.wait({ name: 'chat', participant: 'alice', text: 'sealed' });
  });
}
