/** Preview: camera and microphone before joining. Its tracks are handed to the meeting. */
import {
  createAudioAnalyser,
  createLocalAudioTrack,
  createLocalVideoTrack,
  Room,
  VideoPresets,
  type LocalAudioTrack,
  type LocalTrack,
  type LocalVideoTrack,
} from 'livekit-client';
import { load, save } from './memory';
import { deviceWords } from './words';

type Kind = 'videoinput' | 'audioinput';

export class Preview {
  camera = $state.raw<LocalVideoTrack | undefined>();
  mic = $state.raw<LocalAudioTrack | undefined>();
  cameraOn = $state(load('camera') !== 'off');
  micOn = $state(load('mic') !== 'off');
  cameraError = $state('');
  micError = $state('');
  cameras = $state.raw<MediaDeviceInfo[]>([]);
  mics = $state.raw<MediaDeviceInfo[]>([]);
  cameraId = $state('');
  micId = $state('');
  /** Loudness of the microphone, 0..1. */
  level = $state(0);
  /** True until the first attempt to open the devices is over. */
  starting = $state(true);

  #closed = false;
  #stopMeter: (() => void) | undefined;

  /** start opens what was on the last time. It never throws: errors are shown in place. */
  async start(): Promise<void> {
    await Promise.all([this.cameraOn ? this.openCamera() : undefined, this.micOn ? this.openMic() : undefined]);
    this.starting = false;
  }

  async toggleCamera(): Promise<void> {
    this.cameraOn = !this.camera;
    save('camera', this.cameraOn ? '' : 'off');
    if (this.cameraOn) await this.openCamera();
    else this.#dropCamera();
  }

  async toggleMic(): Promise<void> {
    this.micOn = !this.mic;
    save('mic', this.micOn ? '' : 'off');
    if (this.micOn) await this.openMic();
    else this.#dropMic();
  }

  async openCamera(deviceId = this.cameraId): Promise<void> {
    this.#dropCamera();
    this.cameraError = '';
    try {
      const resolution = VideoPresets.h720.resolution;
      const track = await createLocalVideoTrack({ resolution, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) });
      if (this.#closed || !this.cameraOn) return track.stop();
      this.camera = track;
      this.cameraId = (await track.getDeviceId(false)) ?? '';
    } catch (err) {
      this.cameraOn = false;
      this.cameraError = insecure() ?? deviceWords(err, 'camera');
    }
    await this.#list('videoinput');
  }

  async openMic(deviceId = this.micId): Promise<void> {
    this.#dropMic();
    this.micError = '';
    try {
      const track = await createLocalAudioTrack(deviceId ? { deviceId: { exact: deviceId } } : {});
      if (this.#closed || !this.micOn) return track.stop();
      this.mic = track;
      this.micId = (await track.getDeviceId(false)) ?? '';
      this.#meter(track);
    } catch (err) {
      this.micOn = false;
      this.micError = insecure() ?? deviceWords(err, 'microphone');
    }
    await this.#list('audioinput');
  }

  /** take hands the tracks over; the preview is then closed. */
  take(): LocalTrack[] {
    this.#closed = true;
    this.#stopMeter?.();
    const tracks = [this.camera, this.mic].filter((t) => t !== undefined);
    this.camera = undefined;
    this.mic = undefined;
    return tracks;
  }

  /** close stops the devices. */
  close(): void {
    for (const track of this.take()) track.stop();
  }

  #dropCamera(): void {
    this.camera?.stop();
    this.camera = undefined;
  }

  #dropMic(): void {
    this.#stopMeter?.();
    this.mic?.stop();
    this.mic = undefined;
  }

  async #list(kind: Kind): Promise<void> {
    const devices = await Room.getLocalDevices(kind, false).catch(() => []);
    // Some browsers name a device by an id that is not in their list: show the first then.
    const known = (id: string) => (devices.some((d) => d.deviceId === id) ? id : (devices[0]?.deviceId ?? ''));
    if (kind === 'videoinput') [this.cameras, this.cameraId] = [devices, known(this.cameraId)];
    else [this.mics, this.micId] = [devices, known(this.micId)];
  }

  #meter(track: LocalAudioTrack): void {
    const { calculateVolume, cleanup } = createAudioAnalyser(track, { cloneTrack: false, smoothingTimeConstant: 0.6 });
    const timer = setInterval(() => (this.level = calculateVolume()), 80);
    this.#stopMeter = () => {
      clearInterval(timer);
      void cleanup();
      this.level = 0;
      this.#stopMeter = undefined;
    };
  }
}

/** Browsers hide devices from pages that came over plain http, except from localhost. */
function insecure(): string | undefined {
  return window.isSecureContext ? undefined : 'Camera and microphone need https or localhost.';
}
