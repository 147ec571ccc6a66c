/**
 * A meeting: the livekit-client Room, and what of it is shown. Room events only
 * mark the view stale; refresh rebuilds it whole, so no event can leave it half true.
 */
import {
  ConnectionState,
  Room,
  RoomEvent,
  Track,
  VideoPresets,
  type LocalTrack,
  type Participant,
  type TrackPublication,
} from 'livekit-client';
import { toasts } from '../ui/toasts.svelte';
import { deviceWords, farewell, isCancelled, joinWords, type Farewell } from './words';

/** The topic that LiveKit's own components use, so that their users read along. */
const chatTopic = 'lk.chat';

/** Beyond this many people, coming and going is not announced. */
const announceUpTo = 12;

export type Mic = 'on' | 'muted' | 'none';

/** Person is a participant as it is shown. */
export interface Person {
  identity: string;
  name: string;
  local: boolean;
  speaking: boolean;
  lastSpoke: number;
  quality: string;
  mic: Mic;
  /** The video to show; undefined when off, muted or not subscribed. */
  camera: Track | undefined;
  screen: Track | undefined;
  /** Remote sound to play. */
  sounds: Track[];
  /** The server holds back the video to save bandwidth. */
  paused: boolean;
}

export interface Message {
  id: string;
  from: string;
  name: string;
  local: boolean;
  text: string;
  at: number;
}

export class Meeting {
  readonly room: Room;
  /** Everyone, oneself first, then by arrival. */
  people = $state.raw<Person[]>([]);
  messages = $state.raw<Message[]>([]);
  unread = $state(0);
  chatOpen = $state(false);
  reconnecting = $state(false);
  /** False when the browser wants a click before it plays sound. */
  canHear = $state(true);
  mayPublish = $state(true);
  mayChat = $state(true);
  roomName = $state('');
  /** Set once, when the meeting is over. */
  ended = $state.raw<Farewell | undefined>();

  readonly me = $derived(this.people[0]);
  readonly micOn = $derived(this.me?.mic === 'on');
  readonly cameraOn = $derived(this.me?.camera !== undefined);
  readonly sharing = $derived(this.me?.screen !== undefined);

  #stale = false;
  #muting = false;
  #announced: Map<string, string> | undefined;
  #announcing: ReturnType<typeof setTimeout> | undefined;

  constructor(dual: boolean) {
    this.room = new Room({
      adaptiveStream: true,
      dynacast: true,
      singlePeerConnection: !dual,
      videoCaptureDefaults: { resolution: VideoPresets.h720.resolution },
      // A message of this page is a few kilobytes at most; do not buffer what claims more.
      dataStream: { maxPayloadByteLength: 4 << 20 },
    });
    this.#listen();
  }

  /** join connects and publishes the tracks of the preview. It throws an Error in words. */
  async join(url: string, token: string, tracks: LocalTrack[]): Promise<void> {
    try {
      await this.room.connect(url, token);
    } catch (err) {
      throw new Error(joinWords(err), { cause: err });
    }
    await Promise.all(
      tracks.map((track) =>
        this.room.localParticipant.publishTrack(track).catch((err: unknown) => {
          track.stop();
          toasts.error(err);
        }),
      ),
    );
  }

  async leave(): Promise<void> {
    await this.room.disconnect();
  }

  async toggleMic(): Promise<void> {
    this.#muting = true;
    await this.#device('microphone', () => this.room.localParticipant.setMicrophoneEnabled(!this.micOn));
    this.#muting = false;
  }

  async toggleCamera(): Promise<void> {
    await this.#device('camera', () => this.room.localParticipant.setCameraEnabled(!this.cameraOn));
  }

  async toggleScreen(): Promise<void> {
    await this.#device('screen', () =>
      this.room.localParticipant.setScreenShareEnabled(!this.sharing, { audio: true, selfBrowserSurface: 'exclude' }),
    );
  }

  /** switchDevice uses another camera, microphone or loudspeaker. */
  async switchDevice(kind: MediaDeviceKind, deviceId: string): Promise<void> {
    await this.#device(kind === 'videoinput' ? 'camera' : 'microphone', () => this.room.switchActiveDevice(kind, deviceId));
  }

  async send(text: string): Promise<boolean> {
    try {
      const { id } = await this.room.localParticipant.sendText(text, { topic: chatTopic });
      this.#message(id, this.room.localParticipant, '', text, Date.now());
      return true;
    } catch (err) {
      toasts.error(`The message was not sent. ${err instanceof Error ? err.message : ''}`);
      return false;
    }
  }

  openChat(open: boolean): void {
    this.chatOpen = open;
    if (open) this.unread = 0;
  }

  async #device(what: 'camera' | 'microphone' | 'screen', act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (err) {
      if (!isCancelled(err, what)) toasts.error(deviceWords(err, what));
    }
    this.#refreshSoon();
  }

  #listen(): void {
    const { room } = this;
    for (const event of [
      RoomEvent.Connected,
      RoomEvent.Reconnected,
      RoomEvent.ParticipantConnected,
      RoomEvent.ParticipantDisconnected,
      RoomEvent.ParticipantNameChanged,
      RoomEvent.ParticipantPermissionsChanged,
      RoomEvent.TrackPublished,
      RoomEvent.TrackUnpublished,
      RoomEvent.TrackSubscribed,
      RoomEvent.TrackUnsubscribed,
      RoomEvent.TrackMuted,
      RoomEvent.TrackUnmuted,
      RoomEvent.TrackStreamStateChanged,
      RoomEvent.LocalTrackPublished,
      RoomEvent.LocalTrackUnpublished,
      RoomEvent.ActiveSpeakersChanged,
      RoomEvent.ConnectionQualityChanged,
    ] as const) {
      room.on(event, () => this.#refreshSoon());
    }
    room.on(RoomEvent.ConnectionStateChanged, (state) => {
      this.reconnecting = state === ConnectionState.Reconnecting || state === ConnectionState.SignalReconnecting;
      this.#refreshSoon();
    });
    room.on(RoomEvent.TrackMuted, (publication, p) => {
      if (p.isLocal && publication.source === Track.Source.Microphone && !this.#muting) toasts.info('You were muted.');
    });
    room.on(RoomEvent.AudioPlaybackStatusChanged, () => (this.canHear = room.canPlaybackAudio));
    room.on(RoomEvent.TrackSubscriptionFailed, (_sid, p) =>
      toasts.error(`A track of ${p.name || p.identity} cannot be played in this browser.`),
    );
    let joined = false;
    room.on(RoomEvent.Connected, () => (joined = true));
    room.on(RoomEvent.Disconnected, (reason) => {
      clearTimeout(this.#announcing);
      if (joined) this.ended = farewell(reason);
    });
    this.#listenChat();
  }

  #listenChat(): void {
    this.room.registerTextStreamHandler(chatTopic, async (reader, { identity }) => {
      const from = this.room.getParticipantByIdentity(identity);
      try {
        this.#message(reader.info.id, from, identity, await reader.readAll(), reader.info.timestamp);
      } catch {
        toasts.error(`A message of ${from?.name || identity} did not arrive whole.`);
      }
    });
    // Older clients send a message of its own kind.
    this.room.on(RoomEvent.ChatMessage, (m, from) => {
      if (from && !from.isLocal) this.#message(m.id, from, from.identity, m.message, m.timestamp);
    });
  }

  #message(id: string, from: Participant | undefined, identity: string, text: string, at: number): void {
    if (this.messages.some((m) => m.id === id)) return;
    const local = from?.isLocal ?? false;
    const who = from?.identity ?? identity;
    this.messages = [...this.messages, { id, from: who, name: from?.name || who, local, text, at }].slice(-500);
    if (!local && !this.chatOpen) this.unread++;
  }

  /**
   * Says who came and went, once that has held for a moment: a reconnect makes
   * everyone leave and come back in one go, which is no news.
   */
  #announceSoon(): void {
    clearTimeout(this.#announcing);
    this.#announcing = setTimeout(() => {
      if (this.room.state !== ConnectionState.Connected) return;
      const now = new Map(this.people.map((p) => [p.identity, p.name]));
      const before = this.#announced;
      this.#announced = now;
      if (!before || Math.max(now.size, before.size) > announceUpTo) return;
      for (const [identity, name] of now) if (!before.has(identity)) toasts.info(`${name} joined`);
      for (const [identity, name] of before) if (!now.has(identity)) toasts.info(`${name} left`);
    }, 1200);
  }

  #refreshSoon(): void {
    if (this.#stale) return;
    this.#stale = true;
    queueMicrotask(() => {
      this.#stale = false;
      this.#refresh();
    });
  }

  #refresh(): void {
    const { room } = this;
    const others = [...room.remoteParticipants.values()].sort(
      (a, b) => (a.joinedAt?.getTime() ?? 0) - (b.joinedAt?.getTime() ?? 0) || (a.identity < b.identity ? -1 : 1),
    );
    const before = this.people.map((p) => p.identity).join();
    this.people = [room.localParticipant, ...others].map(person);
    if (this.people.map((p) => p.identity).join() !== before) this.#announceSoon();
    this.roomName = room.name;
    this.mayPublish = room.localParticipant.permissions?.canPublish ?? true;
    this.mayChat = room.localParticipant.permissions?.canPublishData ?? true;
    this.canHear = room.canPlaybackAudio;
  }
}

function visible(publication: TrackPublication | undefined): Track | undefined {
  return publication && !publication.isMuted ? publication.track : undefined;
}

function person(p: Participant): Person {
  const camera = p.getTrackPublication(Track.Source.Camera);
  const mic = p.getTrackPublication(Track.Source.Microphone);
  const screenAudio = p.getTrackPublication(Track.Source.ScreenShareAudio);
  return {
    identity: p.identity,
    name: p.name || p.identity,
    local: p.isLocal,
    speaking: p.isSpeaking,
    lastSpoke: p.lastSpokeAt?.getTime() ?? 0,
    quality: p.connectionQuality,
    mic: !mic ? 'none' : mic.isMuted ? 'muted' : 'on',
    camera: visible(camera),
    screen: visible(p.getTrackPublication(Track.Source.ScreenShare)),
    sounds: p.isLocal ? [] : [mic?.track, screenAudio?.track].filter((t) => t !== undefined),
    paused: camera?.track?.streamState === Track.StreamState.Paused,
  };
}
