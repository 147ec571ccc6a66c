/** Words and icons for tracks. Pure. */
import type { Layer, Track } from '../api';
import type { IconName } from '../ui/icons';

/** sourceName is the source in words; the name of the track when it has no source. */
export function sourceName(track: Pick<Track, 'source' | 'name' | 'type'>): string {
  switch (track.source.toLowerCase()) {
    case 'camera':
      return 'Camera';
    case 'microphone':
      return 'Microphone';
    case 'screen_share':
      return 'Screen';
    case 'screen_share_audio':
      return 'Screen sound';
    default:
      return track.name || { audio: 'Audio', video: 'Video', data: 'Data' }[track.type] || track.type;
  }
}

export function sourceIcon(track: Pick<Track, 'source' | 'type' | 'muted'>): IconName {
  if (track.type === 'data') return 'data';
  if (track.source.toLowerCase().startsWith('screen_share')) return track.type === 'audio' ? 'speaker' : 'screen';
  if (track.type === 'audio') return track.muted ? 'mic-off' : 'mic';
  return track.muted ? 'camera-off' : 'camera';
}

/** lossLevel grades a loss: people hear 2 % and see 5 %. */
export function lossLevel(ratio: number | undefined): '' | 'some' | 'bad' {
  if (ratio === undefined || !(ratio >= 0.02)) return '';
  return ratio >= 0.05 ? 'bad' : 'some';
}

/** layerName is how a viewer's layer is called: the rid when the track is known, else the number. */
export function layerName(spatial: number, layers: readonly Layer[] | undefined | null): string {
  if (spatial < 0) return 'none';
  const layer = layers?.find((l) => l.spatial === spatial);
  return layer?.rid || (layers && layers.length <= 1 ? 'only' : String(spatial));
}
