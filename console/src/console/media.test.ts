import { describe, expect, it } from 'vitest';
import type { Layer } from '../api';
import { layerName, lossLevel, sourceIcon, sourceName } from './media';

const layer = (rid: string, spatial: number): Layer => ({ rid, spatial, bitrate: 0, fps: 0, packets: 0, lost: 0, loss_ratio: 0, jitter_ms: 0 });

describe('sources', () => {
  it('have words', () => {
    expect(sourceName({ source: 'CAMERA', name: 'x', type: 'video' })).toBe('Camera');
    expect(sourceName({ source: 'unknown', name: 'lidar', type: 'video' })).toBe('lidar');
    expect(sourceName({ source: '', name: '', type: 'audio' })).toBe('Audio');
  });
  it('have icons that show muting', () => {
    expect(sourceIcon({ source: 'microphone', type: 'audio', muted: true })).toBe('mic-off');
    expect(sourceIcon({ source: 'camera', type: 'video', muted: false })).toBe('camera');
    expect(sourceIcon({ source: 'screen_share', type: 'video', muted: false })).toBe('screen');
    expect(sourceIcon({ source: 'screen_share_audio', type: 'audio', muted: false })).toBe('speaker');
    expect(sourceIcon({ source: '', type: 'data', muted: false })).toBe('data');
  });
});

describe('loss', () => {
  it.each([
    [undefined, ''],
    [NaN, ''],
    [0.0199, ''],
    [0.02, 'some'],
    [0.05, 'bad'],
  ] as const)('%s is graded %j', (v, want) => expect(lossLevel(v)).toBe(want));
});

describe('layerName', () => {
  it('prefers the rid', () => {
    const layers = [layer('q', 0), layer('f', 2)];
    expect(layerName(2, layers)).toBe('f');
    expect(layerName(1, layers)).toBe('1');
    expect(layerName(-1, layers)).toBe('none');
    expect(layerName(0, [layer('', 0)])).toBe('only');
    expect(layerName(1, undefined)).toBe('1');
  });
});
