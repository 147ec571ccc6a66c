// What "the media flows" means, in one place.

import assert from 'node:assert/strict';
import { pause, until } from './wait.js';

/** Room options where the picture's size is not the subject: cheap to encode, and 30 frames/s (the SDK's preset for this size has 20). */
export const small = {
  videoCaptureDefaults: { resolution: { width: 640, height: 360, frameRate: 30 } },
  publishDefaults: { videoEncoding: { maxBitrate: 500_000, maxFramerate: 30 } },
};

/** Decoded frames per second of identity's source over a window of ms. */
export async function frameRate(viewer, identity, { source = 'camera', window = 3000 } = {}) {
  const before = await viewer.inbound(identity, source);
  const start = performance.now();
  await pause(window);
  const after = await viewer.inbound(identity, source);
  return ((after?.framesDecoded ?? 0) - (before?.framesDecoded ?? 0)) / ((performance.now() - start) / 1000);
}

/** Waits for a window in which viewer decodes at least `least` frames a second of identity's moving picture. */
export async function seesVideo(viewer, identity, { source = 'camera', least = 20, window = 3000, timeout = 20_000 } = {}) {
  await until(async () => (await viewer.inbound(identity, source))?.framesDecoded > 0, {
    timeout,
    what: `${viewer.name} decodes a first frame of ${identity}'s ${source}`,
  });
  const before = await viewer.frames(identity, source);
  let rate;
  await until(async () => (rate = await frameRate(viewer, identity, { source, window })) >= least, {
    timeout,
    what: `${viewer.name} decodes ${least} frames/s of ${identity}'s ${source}, last window ${rate}`,
  });
  const after = await viewer.frames(identity, source);
  assert.ok(after.pictures > before.pictures, `${identity}'s picture, as ${viewer.name} sees it, changes`);
  return rate;
}

/** Waits for a window in which viewer hears identity: energy rises and little of it is concealed. */
export async function hears(viewer, identity, { source = 'microphone', window = 1500, timeout = 20_000, concealed = 0.05 } = {}) {
  let seen;
  await until(
    async () => {
      const before = await viewer.inbound(identity, source);
      if (!before) return false;
      await pause(window);
      const after = await viewer.inbound(identity, source);
      const samples = after.totalSamplesReceived - before.totalSamplesReceived;
      seen = {
        energy: after.totalAudioEnergy - before.totalAudioEnergy,
        packets: after.packetsReceived - before.packetsReceived,
        samples,
        concealed: samples > 0 ? (after.concealedSamples - before.concealedSamples) / samples : 1,
      };
      return seen.energy > 0 && samples > 0 && seen.packets > 0 && seen.concealed <= concealed;
    },
    { timeout, what: `${viewer.name} hears ${identity}` },
  ).catch((err) => {
    throw new Error(`${err.message} ${JSON.stringify(seen)}`, { cause: err });
  });
  return seen;
}

/** Checks that connect() used the connection mode it was asked for. */
export function assertMode(joined, singlePeerConnection) {
  assert.equal(joined.peerConnections, singlePeerConnection ? 1 : 2, 'peer connections opened');
  assert.deepEqual(joined.paths, [singlePeerConnection ? '/rtc/v1' : '/rtc'], 'WebSocket paths opened');
}

export const modes = [
  { mode: 'single', singlePeerConnection: true },
  { mode: 'dual', singlePeerConnection: false },
];
