/** Numbers and times as people read them. Pure; unknown is never shown as zero. */

/** none stands for a value that is not known. */
export const none = '–';

function scaled(value: number, base: number, units: readonly string[]): string {
  let i = 0;
  while (value >= base && i < units.length - 1) {
    value /= base;
    i++;
  }
  // 999.96 must not read "1000.0": take the next unit when rounding crosses the base.
  const digits = i === 0 || value >= 99.95 ? 0 : 1;
  if (Number(value.toFixed(digits)) >= base && i < units.length - 1) return `1.0 ${units[i + 1]}`;
  return `${value.toFixed(digits)} ${units[i]}`;
}

function known(value: number | undefined | null): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** bitrate formats bits per second. */
export function bitrate(bps: number | undefined | null): string {
  return known(bps) ? scaled(bps, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']) : none;
}

/** bytes formats a size in binary units. */
export function bytes(n: number | undefined | null): string {
  return known(n) ? scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']) : none;
}

/** count formats a number of things or of things per second. */
export function count(n: number | undefined | null): string {
  return known(n) ? scaled(n, 1000, ['', 'k', 'M', 'G']).trimEnd() : none;
}

/** percent formats a ratio; a small loss must not read as none. */
export function percent(ratio: number | undefined | null): string {
  if (!known(ratio)) return none;
  const p = ratio * 100;
  if (p === 0) return '0 %';
  if (p < 0.1) return '<0.1 %';
  return `${p < 9.95 ? p.toFixed(1) : p.toFixed(0)} %`;
}

/** millis formats a time in milliseconds. */
export function millis(ms: number | undefined | null): string {
  if (!known(ms)) return none;
  return `${ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** age is the time from an RFC 3339 instant to now (milliseconds since the epoch). */
export function age(since: string | undefined, now: number): string {
  const start = Date.parse(since ?? '');
  // Go's zero time is year 1: it means "not set".
  if (Number.isNaN(start) || start <= 0) return none;
  const s = Math.max(0, Math.floor((now - start) / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${s % 60} s`;
  const h = Math.floor(m / 60);
  if (h < 24) return `${h} h ${m % 60} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** clock is hours and minutes in the reader's locale. */
export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** codec is the short name of a mime type: "video/VP8" is "VP8". */
export function codec(mime: string): string {
  const name = mime.slice(mime.indexOf('/') + 1);
  return name === '' ? none : name.toUpperCase() === 'OPUS' ? 'Opus' : name.toUpperCase();
}

/** plural counts things: plural(1, 'room') is "1 room". */
export function plural(n: number, one: string, many = one + 's'): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** initials are one or two letters for an avatar. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const first = [...(words[0] ?? '?')][0] ?? '?';
  const last = words.length > 1 ? ([...(words[words.length - 1] ?? '')][0] ?? '') : '';
  return (first + last).toLocaleUpperCase();
}

/** hue is a steady colour angle (0..359) for a text. */
export function hue(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return (h >>> 0) % 360;
}
