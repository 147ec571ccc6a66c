// One participant in a page: a stock livekit-client Room, with a record of what
// it reports and of every video frame that it decodes. Tests drive it through
// window.client; nothing in livekit-client is changed.

import * as lk from '/livekit-client.esm.mjs';

lk.setLogLevel('warn');

/** Wall clock in milliseconds, comparable between the pages of one machine. */
const now = () => performance.timeOrigin + performance.now();

/** Every RTCPeerConnection and WebSocket URL of this page, oldest first. */
const peerConnections = [];
const sockets = [];

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    peerConnections.push(this);
  }
};
window.WebSocket = class extends WebSocket {
  constructor(url, ...args) {
    super(url, ...args);
    sockets.push(new URL(url).pathname);
  }
};

/** Records the frames of one publication: when each came, its size, and a coarse look at its pixels. */
class FrameMeter {
  times = [];
  sizes = [];
  pictures = new Set();
  #canvas = new OffscreenCanvas(32, 18);
  #context = this.#canvas.getContext('2d', { willReadFrequently: true });

  async read(track) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) return;
      this.#see(frame, frame.displayWidth, frame.displayHeight);
      frame.close();
    }
  }

  /** For browsers without MediaStreamTrackProcessor in pages: frames as the element shows them. */
  watch(element) {
    const each = () => {
      this.#see(element, element.videoWidth, element.videoHeight);
      if (element.isConnected) element.requestVideoFrameCallback(each);
    };
    element.requestVideoFrameCallback(each);
  }

  #see(image, width, height) {
    const at = now();
    const last = this.sizes.at(-1);
    if (last?.width !== width || last?.height !== height) this.sizes.push({ at, width, height });
    if (this.times.length % 5 === 0) {
      this.#context.drawImage(image, 0, 0, 32, 18);
      const { data } = this.#context.getImageData(0, 0, 32, 18);
      let hash = 0;
      for (let i = 0; i < data.length; i += 4) hash = (hash * 31 + (data[i] >> 3) + (data[i + 1] >> 3)) | 0;
      this.pictures.add(hash);
    }
    this.times.push(at);
  }
}

class Client {
  lk = lk;
  room = undefined;
  events = [];
  meters = new Map();
  lastConnect = undefined;

  /** Encrypts the rooms joined from here on, end to end. */
  async useKey(passphrase) {
    const keyProvider = new lk.ExternalE2EEKeyProvider();
    await keyProvider.setKey(passphrase);
    const worker = new Worker('/livekit-client.e2ee.worker.mjs', { type: 'module' });
    this.encryption = { keyProvider, worker };
  }

  /** Joins; the answer says how long connect() took. options: RoomOptions, connectOptions: RoomConnectOptions. */
  async connect(url, token, options = {}, connectOptions = {}) {
    const room = this.#newRoom(this.encryption ? { ...options, encryption: this.encryption } : options);
    if (this.encryption) await room.setE2EEEnabled(true);
    const before = { peerConnections: peerConnections.length, sockets: sockets.length };
    this.lastConnect = now();
    await room.connect(url, token, connectOptions);
    return {
      ms: now() - this.lastConnect,
      sid: await room.getSid(),
      paths: sockets.slice(before.sockets),
      peerConnections: peerConnections.length - before.peerConnections,
    };
  }

  /** Publishes synthetic or fake-device media without connecting again. */
  async publish({ camera, microphone, screen } = {}) {
    const { localParticipant } = this.room;
    if (camera) await localParticipant.setCameraEnabled(true, ...[].concat(camera === true ? [] : camera));
    if (microphone) await localParticipant.setMicrophoneEnabled(true);
    if (screen) await localParticipant.setScreenShareEnabled(true);
  }

  /** Puts a steady tone on the microphone track; the fake device only beeps once a second. */
  async speak() {
    this.audio ??= new AudioContext();
    this.tone = this.audio.createOscillator();
    const destination = this.audio.createMediaStreamDestination();
    this.tone.connect(destination);
    this.tone.start();
    await this.audio.resume();
    await this.room.localParticipant.getTrackPublication('microphone').track.replaceTrack(destination.stream.getAudioTracks()[0]);
  }

  /** Ends the tone; what follows is silence. */
  hush() {
    this.tone.stop();
  }

  async disconnect() {
    await this.room.disconnect();
    document.body.replaceChildren();
  }

  /** The first event from index `from` that has all the fields of match; waits for it. */
  async wait(match, { timeout = 10_000, from = 0 } = {}) {
    const deadline = now() + timeout;
    const fits = (event) => Object.entries(match).every(([key, value]) => event[key] === value);
    for (;;) {
      const found = this.events.slice(from).find(fits);
      if (found) return found;
      if (now() > deadline) {
        const seen = this.events.slice(from).map((event) => `${event.name}(${event.participant ?? ''} ${event.source ?? ''} ${event.text ?? ''})`);
        throw new Error(`no event ${JSON.stringify(match)} within ${timeout} ms; seen: ${seen.join(' ')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Runs one of the SDK's simulated failures and waits until the room is connected again; answers how. */
  async simulate(scenario, { timeout = 30_000 } = {}) {
    const from = this.mark();
    const before = peerConnections.length;
    const start = now();
    const reconnected = this.wait({ name: 'reconnected' }, { timeout, from });
    await this.room.simulateScenario(scenario);
    await reconnected;
    return { start, ms: now() - start, resumed: peerConnections.length === before };
  }

  /** Sends numbered reliable messages, one every few milliseconds, until the returned function is called. */
  count(topic, every = 10) {
    let sent = 0;
    let running = true;
    const done = (async () => {
      while (running) {
        await this.room.localParticipant.publishData(new TextEncoder().encode(String(sent)), { reliable: true, topic });
        sent += 1;
        await new Promise((resolve) => setTimeout(resolve, every));
      }
      return sent;
    })();
    this.counting = async () => {
      running = false;
      return done;
    };
  }

  /** The numbers received on a topic, in order of arrival. */
  counted(topic) {
    return this.events.filter((event) => event.name === 'data' && event.topic === topic).map(({ text }) => Number(text));
  }

  /** How many events there are, as `from` of a later wait. */
  mark() {
    return this.events.length;
  }

  /** What was decoded of identity's source since a time of this machine's clock. */
  frames(identity, source = 'camera', since = 0) {
    const meter = this.meters.get(`${identity}/${source}`);
    if (!meter) return { count: 0, gap: Infinity, pictures: 0, sizes: [] };
    const times = meter.times.filter((at) => at >= since);
    let gap = 0;
    for (let i = 1; i < times.length; i++) gap = Math.max(gap, times[i] - times[i - 1]);
    return {
      count: times.length,
      first: times[0],
      last: times.at(-1),
      gap,
      pictures: meter.pictures.size,
      sizes: meter.sizes.filter(({ at }) => at >= since),
      size: meter.sizes.at(-1),
    };
  }

  now() {
    return now();
  }

  publication(identity, source = 'camera') {
    return this.room.remoteParticipants.get(identity)?.getTrackPublication(source);
  }

  /** The inbound-rtp figures of identity's source with the codec's name, or undefined before there are any. */
  async inbound(identity, source = 'camera') {
    const report = await this.publication(identity, source)?.track?.receiver?.getStats();
    if (!report) return undefined;
    const stats = [...report.values()];
    const inbound = stats.find(({ type }) => type === 'inbound-rtp');
    if (!inbound) return undefined;
    const codec = report.get(inbound.codecId)?.mimeType;
    return { ...JSON.parse(JSON.stringify(inbound)), codec };
  }

  /** The outbound-rtp streams of a local source, one a layer and codec. */
  async outbound(source = 'camera') {
    const track = this.room.localParticipant.getTrackPublication(source)?.track;
    const senders = [track.sender, ...[...(track.simulcastCodecs?.values() ?? [])].map(({ sender }) => sender)];
    const streams = [];
    for (const sender of senders.filter(Boolean)) {
      const report = await sender.getStats();
      for (const stat of report.values()) {
        if (stat.type === 'outbound-rtp') streams.push({ ...JSON.parse(JSON.stringify(stat)), codec: report.get(stat.codecId)?.mimeType });
      }
    }
    return streams;
  }

  /** The selected candidate pairs of the live connections: protocol and DTLS facts. */
  async transports() {
    const found = [];
    for (const pc of peerConnections) {
      if (pc.connectionState !== 'connected') continue;
      const report = await pc.getStats();
      for (const stat of report.values()) {
        if (stat.type !== 'transport' || !stat.selectedCandidatePairId) continue;
        const pair = report.get(stat.selectedCandidatePairId);
        const { protocol, tcpType } = report.get(pair.localCandidateId);
        found.push({ protocol, tcpType, srtpCipher: stat.srtpCipher, dtlsState: stat.dtlsState });
      }
    }
    return found;
  }

  #newRoom(options) {
    const room = new lk.Room({ adaptiveStream: false, ...options });
    this.room = room;
    this.events = [];
    this.meters = new Map();
    const { RoomEvent } = lk;
    for (const name of Object.values(RoomEvent)) {
      if (name === RoomEvent.DataReceived) continue;
      room.on(name, (...args) => this.#note(name, args));
    }
    room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => this.#watch(track, participant));
    room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
    room.on(RoomEvent.DataReceived, (payload, participant, kind, topic) => {
      const text = payload.length > 1000 ? undefined : new TextDecoder().decode(payload);
      this.events.push({ at: now(), name: 'data', participant: participant?.identity, reliable: kind === 0, topic, text, length: payload.length });
    });
    room.registerTextStreamHandler('chat', async (reader, { identity }) => {
      this.events.push({ at: now(), name: 'chat', participant: identity, text: await reader.readAll() });
    });
    room.registerByteStreamHandler('file', async (reader, { identity }) => {
      const chunks = await reader.readAll();
      const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
      const sum = bytes.reduce((total, byte, i) => (total * 31 + byte + i) >>> 0, 0);
      this.events.push({ at: now(), name: 'file', participant: identity, file: reader.info.name, length: bytes.length, sum });
    });
    room.registerRpcMethod('echo', async ({ callerIdentity, payload }) => `${callerIdentity}:${payload}`);
    room.registerRpcMethod('refuse', async () => {
      throw new lk.RpcError(1234, 'refused on purpose', 'detail');
    });
    return room;
  }

  #watch(track, participant) {
    const element = track.attach();
    element.muted = track.kind === 'video';
    document.body.append(element);
    if (track.kind !== 'video') return;
    const key = `${participant.identity}/${track.source}`;
    const meter = this.meters.get(key) ?? new FrameMeter();
    this.meters.set(key, meter);
    if (window.MediaStreamTrackProcessor) meter.read(track.mediaStreamTrack);
    else meter.watch(element);
  }

  /** Flattens the arguments of a Room event to what tests ask about. */
  #note(name, args) {
    const event = { at: now(), name };
    for (const arg of args) {
      if (arg instanceof lk.Participant) event.participant = arg.identity;
      else if (arg instanceof lk.TrackPublication) Object.assign(event, { source: arg.source, kind: arg.kind, trackSid: arg.trackSid });
      else if (Array.isArray(arg)) event.list = arg.map((item) => item.identity ?? String(item));
      else if (typeof arg === 'string' || typeof arg === 'number' || typeof arg === 'boolean') event.value ??= arg;
    }
    this.events.push(event);
  }
}

window.client = new Client();
