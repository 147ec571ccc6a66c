// A participant on @livekit/rtc-node: synthetic picture and tone out, counted frames in.

import {
  AudioFrame,
  AudioSource,
  AudioStream,
  LocalAudioTrack,
  LocalVideoTrack,
  Room,
  RoomEvent,
  RpcError,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
  VideoBufferType,
  VideoFrame,
  VideoSource,
  VideoStream,
  dispose,
} from '@livekit/rtc-node';
import { VideoEncoding } from '@livekit/rtc-ffi-bindings';
import { until } from './wait.js';

const width = 320;
const height = 180;
const sampleRate = 48_000;

/** Frees the native library; call it once, when all clients have disconnected. */
export const disposeAll = dispose;

export class NodeClient {
  events = [];
  /** Received frames by "identity/kind": how many, when the first and last came, how the picture or sound varied. */
  received = new Map();
  #publishing = [];
  #sources = [];

  constructor(name) {
    this.name = name;
    this.room = new Room();
    const note = (event, fields) => this.events.push({ name: event, ...fields });
    this.room.on(RoomEvent.ParticipantConnected, ({ identity }) => note('participantConnected', { participant: identity }));
    this.room.on(RoomEvent.ParticipantDisconnected, ({ identity }) => note('participantDisconnected', { participant: identity }));
    this.room.on(RoomEvent.TrackMuted, ({ kind }, { identity }) => note('trackMuted', { participant: identity, kind }));
    this.room.on(RoomEvent.TrackUnmuted, ({ kind }, { identity }) => note('trackUnmuted', { participant: identity, kind }));
    this.room.on(RoomEvent.Reconnected, () => note('reconnected'));
    this.room.on(RoomEvent.Disconnected, (reason) => note('disconnected', { reason }));
    this.room.on(RoomEvent.DataReceived, (payload, participant, _kind, topic) =>
      note('data', { participant: participant?.identity, text: new TextDecoder().decode(payload), topic }),
    );
    this.room.on(RoomEvent.TrackSubscribed, (track, publication, { identity }) => {
      note('trackSubscribed', { participant: identity, kind: track.kind });
      this.#receive(track, identity);
    });
    this.room.registerTextStreamHandler('chat', async (reader, { identity }) =>
      note('chat', { participant: identity, text: await reader.readAll() }),
    );
    this.room.registerByteStreamHandler('file', async (reader, { identity }) =>
      note('file', { participant: identity, file: reader.info.name, bytes: Buffer.concat(await reader.readAll()) }),
    );
  }

  async connect(url, token, options = {}) {
    await this.room.connect(url, token, { autoSubscribe: true, dynacast: false, ...options });
    this.room.localParticipant.registerRpcMethod('echo', async ({ callerIdentity, payload }) => `${callerIdentity}:${payload}`);
    this.room.localParticipant.registerRpcMethod('refuse', async () => {
      throw new RpcError(1234, 'refused on purpose', 'detail');
    });
  }

  /** Publishes a moving bar at 25 frames/s and a tone, until disconnect. */
  async publish() {
    const video = new VideoSource(width, height);
    const audio = new AudioSource(sampleRate, 1);
    this.#sources.push(video, audio);
    const { localParticipant } = this.room;
    await localParticipant.publishTrack(
      LocalVideoTrack.createVideoTrack('bar', video),
      new TrackPublishOptions({
        source: TrackSource.SOURCE_CAMERA,
        simulcast: false,
        // Said outright, for the SDK's preset of this size has 15 frames/s.
        videoEncoding: new VideoEncoding({ maxBitrate: 400_000n, maxFramerate: 30 }),
      }),
    );
    await localParticipant.publishTrack(
      LocalAudioTrack.createAudioTrack('tone', audio),
      new TrackPublishOptions({ source: TrackSource.SOURCE_MICROPHONE }),
    );
    let count = 0;
    const timer = setInterval(() => video.captureFrame(picture(count++)), 40);
    this.#publishing.push(() => clearInterval(timer));
    let running = true;
    const sounding = (async () => {
      for (let at = 0; running; at += 480) await audio.captureFrame(tone(at));
    })().catch(() => {});
    this.#publishing.push(async () => {
      running = false;
      await sounding;
    });
  }

  /** Waits for an event that has all the fields of match. */
  wait(match, { timeout = 10_000, from = 0 } = {}) {
    const fits = (event) => Object.entries(match).every(([key, value]) => event[key] === value);
    return until(() => this.events.slice(from).find(fits), { timeout, what: `${this.name} gets ${JSON.stringify(match)}` });
  }

  /** Waits for a second in which it receives at least `least` changing frames from identity. */
  async sees(identity, { least = 20, timeout = 20_000 } = {}) {
    return this.#rate(`${identity}/video`, least, timeout);
  }

  /** Waits for a second in which it receives sound from identity. */
  async hears(identity, { timeout = 20_000 } = {}) {
    return this.#rate(`${identity}/audio`, 80, timeout);
  }

  async disconnect() {
    for (const stop of this.#publishing) await stop();
    await this.room.disconnect();
    for (const source of this.#sources) await source.close();
  }

  async #rate(key, least, timeout) {
    let seen;
    await until(
      async () => {
        const before = { ...this.received.get(key), at: performance.now() };
        if (before.count === undefined) return false;
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const after = this.received.get(key);
        seen = (after.count - before.count) / ((performance.now() - before.at) / 1000);
        return seen >= least && after.changes > before.changes;
      },
      { timeout, what: `${this.name} receives ${least}/s of ${key}` },
    ).catch((err) => {
      throw new Error(`${err.message}, rate ${seen}`, { cause: err });
    });
    return seen;
  }

  async #receive(track, identity) {
    const video = track.kind === TrackKind.KIND_VIDEO;
    const key = `${identity}/${video ? 'video' : 'audio'}`;
    const record = this.received.get(key) ?? { count: 0, changes: 0, last: undefined };
    this.received.set(key, record);
    const stream = video ? new VideoStream(track) : new AudioStream(track, sampleRate, 1);
    for await (const item of stream) {
      const look = video ? mean(item.frame.data, 997) : mean(item.data, 1);
      if (record.last !== undefined && look !== record.last) record.changes += 1;
      record.last = look;
      record.count += 1;
      if (video) Object.assign(record, { width: item.frame.width, height: item.frame.height });
    }
  }
}

/** An I420 frame: grey, with a bright bar that moves. */
function picture(n) {
  const data = new Uint8Array((width * height * 3) / 2).fill(128);
  const left = (n * 8) % (width - 40);
  for (let y = 0; y < height; y++) data.fill(235, y * width + left, y * width + left + 40);
  return new VideoFrame(data, width, height, VideoBufferType.I420);
}

/** 10 ms of 440 Hz, starting at a sample number. */
function tone(at) {
  const samples = new Int16Array(480);
  for (let i = 0; i < samples.length; i++) samples[i] = 8000 * Math.sin((2 * Math.PI * 440 * (at + i)) / sampleRate);
  return new AudioFrame(samples, sampleRate, 1, samples.length);
}

function mean(values, step) {
  let sum = 0;
  for (let i = 0; i < values.length; i += step) sum += Math.abs(values[i]);
  return Math.round((sum * step * 100) / values.length);
}
