/** Where the tiles go: pure arithmetic on sizes in CSS pixels. */

export interface Grid {
  columns: number;
  rows: number;
  /** Size of one tile. */
  width: number;
  height: number;
}

export interface GridOptions {
  gap: number;
  /** Least and greatest width divided by height of a tile. */
  minAspect: number;
  maxAspect: number;
}

/** optionsFor lets tiles stand upright in an upright box (a phone) and lie in a wide one. */
export function optionsFor(width: number, height: number): GridOptions {
  return { gap: 8, minAspect: height > width ? 2 / 3 : 4 / 3, maxAspect: 16 / 9 };
}

/** pack is the grid of n equal tiles in a box that gives each the largest area. */
export function pack(n: number, width: number, height: number, options: GridOptions = optionsFor(width, height)): Grid {
  let best: Grid = { columns: 1, rows: Math.max(1, n), width: 0, height: 0 };
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    // One more column without one row less only makes the tiles narrower.
    if (columns > 1 && Math.ceil(n / (columns - 1)) === rows) continue;
    const tile = fit((width - options.gap * (columns - 1)) / columns, (height - options.gap * (rows - 1)) / rows, options);
    if (tile.width * tile.height > best.width * best.height) best = { columns, rows, ...tile };
  }
  return best;
}

function fit(width: number, height: number, { minAspect, maxAspect }: GridOptions): { width: number; height: number } {
  if (width <= 0 || height <= 0) return { width: 0, height: 0 };
  const aspect = width / height;
  if (aspect > maxAspect) width = height * maxAspect;
  else if (aspect < minAspect) height = width / minAspect;
  return { width: Math.floor(width), height: Math.floor(height) };
}

/** capacity is how many tiles fit while each stays at least minWidth wide; never less than 1 nor more than most. */
export function capacity(width: number, height: number, minWidth: number, most: number, options: GridOptions = optionsFor(width, height)): number {
  let n = 1;
  while (n < most && pack(n + 1, width, height, options).width >= minWidth) n++;
  return n;
}

/**
 * order keeps tiles where they were and brings speakers onto the first page: a speaker
 * beyond it changes places with the first-page tile that has been silent longest. Keys in
 * `fixed` (oneself, pinned) never move.
 *
 * @param previous the order last time
 * @param present who is there now, in order of arrival
 * @param spokeAt when each last spoke; missing means never
 */
export function order(
  previous: readonly string[],
  present: readonly string[],
  spokeAt: ReadonlyMap<string, number>,
  page: number,
  fixed: ReadonlySet<string>,
  speaking: ReadonlySet<string>,
): string[] {
  const here = new Set(present);
  const kept = previous.filter((key) => here.has(key));
  const known = new Set(kept);
  const result = [...kept, ...present.filter((key) => !known.has(key))];
  for (let i = page; i < result.length; i++) {
    const key = result[i]!;
    if (!speaking.has(key)) continue;
    let quietest = -1;
    for (let j = 0; j < Math.min(page, result.length); j++) {
      const other = result[j]!;
      if (fixed.has(other) || speaking.has(other)) continue;
      if (quietest < 0 || (spokeAt.get(other) ?? 0) < (spokeAt.get(result[quietest]!) ?? 0)) quietest = j;
    }
    if (quietest < 0) break;
    [result[quietest], result[i]] = [key, result[quietest]!];
  }
  return result;
}
