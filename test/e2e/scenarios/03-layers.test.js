// Simulcast and SVC layers chosen by the viewer, and every video codec.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { figure } from '../lib/figures.js';
import { modes, seesVideo, small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { until } from '../lib/wait.js';

/** Room options for a picture of 960x540, of which the SDK makes layers of 960, 640 and 320. */
const layered = {
  videoCaptureDefaults: { resolution: { width: 960, height: 540, frameRate: 30 } },
  publishDefaults: { simulcast: true, videoEncoding: { maxBitrate: 1_200_000, maxFramerate: 30 } },
};
const low = 0;
const medium = 1;
const high = 2;

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

/** Asks for a quality, waits for its width, and answers how long that took and the longest gap meanwhile. */
async function switchTo(viewer, identity, quality, width, timeout = 10_000) {
  const start = await viewer.eval(
    (c, who, q) => {
      c.publication(who).setVideoQuality(q);
      return c.now();
    },
    identity,
    quality,
  );
  let seen;
  await until(async () => (seen = (await viewer.frames(identity)).size)?.width === width, {
    timeout,
    what: `${viewer.name} sees a width of ${width}`,
  }).catch((err) => {
    throw new Error(`${err.message} ${JSON.stringify(seen)}`, { cause: err });
  });
  // The frames around the switch and half a second after it.
  const frames = await until(
    async () => {
      const since = await viewer.frames(identity, 'camera', start - 500);
      return since.last > since.size.at + 500 && since;
    },
    { what: 'frames after the switch' },
  );
  return { ms: frames.size.at - start, gap: frames.gap };
}

for (const { mode, singlePeerConnection } of modes) {
  describe(`simulcast, ${mode} connection`, () => {
    const room = freshRoom(`layers-${mode}`);
    let alice;
    let bob;

    before(async () => {
      alice = await browser.open('alice');
      bob = await browser.open('bob');
      await alice.connect(target.url, await token(room, 'alice'), { singlePeerConnection, ...layered });
      await bob.connect(target.url, await token(room, 'bob'), { singlePeerConnection });
      await alice.publish({ camera: true });
      await seesVideo(bob, 'alice', { window: 1000 });
      await until(async () => (await alice.outbound()).filter(({ framesEncoded }) => framesEncoded > 0).length === 3, {
        timeout: 20_000,
        what: 'three layers are encoded',
      });
      await until(async () => (await bob.frames('alice')).size.width === 960, { timeout: 20_000, what: 'bob starts at the highest layer' });
    });
    after(async () => {
      await alice?.close();
      await bob?.close();
    });

    for (const [name, quality, width] of [
      ['low', low, 320],
      ['high', high, 960],
      ['medium', medium, 640],
      ['low again', low, 320],
      ['high again', high, 960],
    ]) {
      test(`quality ${name} without a freeze`, async () => {
        const { ms, gap } = await switchTo(bob, 'alice', quality, width);
        figure(`layer-switch.${mode}.${name.replace(' ', '-')}`, ms, 'ms');
        figure(`layer-switch-gap.${mode}.${name.replace(' ', '-')}`, gap, 'ms');
        assert.ok(gap <= 1000, `frozen for ${gap} ms`);
      });
    }

    test('disabled by the viewer, and enabled again', async () => {
      await bob.eval((c) => c.publication('alice').setEnabled(false));
      await until(
        async () => {
          const { last } = await bob.frames('alice');
          return (await bob.now()) - last > 1000;
        },
        { what: 'frames stop' },
      );
      const start = await bob.eval((c) => {
        c.publication('alice').setEnabled(true);
        return c.now();
      });
      await until(async () => (await bob.frames('alice', 'camera', start)).count > 0, { what: 'frames come back' });
      figure(`enabled-to-first-frame.${mode}`, (await bob.frames('alice', 'camera', start)).first - start, 'ms');
      await seesVideo(bob, 'alice', { window: 1000 });
    });
  });
}

describe('codecs', () => {
  for (const { mode, singlePeerConnection } of modes) {
    for (const codec of singlePeerConnection ? ['vp8', 'h264', 'vp9', 'av1'] : ['h264', 'vp9']) {
      test(`${codec}, ${mode} connection`, async (t) => {
        const room = freshRoom(codec);
        const alice = await browser.open('alice');
        const bob = await browser.open('bob');
        t.after(() => Promise.all([alice.close(), bob.close()]));
        const encodes = await alice.eval(
          (c, mime) => RTCRtpSender.getCapabilities('video').codecs.some(({ mimeType }) => mimeType.toLowerCase() === mime),
          `video/${codec}`,
        );
        if (!encodes) {
          t.skip(`this browser does not encode ${codec}`);
          return;
        }
        await bob.connect(target.url, await token(room, 'bob'), { singlePeerConnection });
        await alice.connect(target.url, await token(room, 'alice'), {
          singlePeerConnection,
          ...small,
          publishDefaults: { ...small.publishDefaults, videoCodec: codec, backupCodec: false },
        });
        await alice.publish({ camera: true });
        const rate = await seesVideo(bob, 'alice', { window: 1500, timeout: 30_000 });
        figure(`frame-rate.${mode}.${codec}`, rate, 'frames/s');
        assert.equal((await bob.inbound('alice')).codec.toLowerCase(), `video/${codec}`);
        assert.equal((await bob.inbound('alice')).frameWidth, 640);
        // A stream for each layer in VP8 and H.264, one stream with spatial layers in VP9 and AV1.
        const { ms, gap } = await switchTo(bob, 'alice', low, 320);
        figure(`layer-switch.${mode}.${codec}`, ms, 'ms');
        assert.ok(gap <= 1000, `frozen for ${gap} ms`);
      });
    }
  }
});
