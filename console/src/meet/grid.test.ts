import { describe, expect, it } from 'vitest';
import { capacity, optionsFor, order, pack } from './grid';

describe('pack', () => {
  it.each([
    [1, 1280, 720, 1, 1],
    [2, 1280, 720, 2, 1],
    [3, 1280, 720, 2, 2],
    [4, 1280, 720, 2, 2],
    [9, 1280, 720, 3, 3],
    [2, 390, 700, 1, 2],
    [3, 390, 700, 1, 3],
    [4, 390, 700, 2, 2],
    [3, 2000, 300, 3, 1],
  ])('%i tiles in %i x %i make %i x %i', (n, w, h, columns, rows) => {
    expect(pack(n, w, h)).toMatchObject({ columns, rows });
  });

  it('always fits, keeps the aspect and never wastes a whole row or column', () => {
    for (let n = 1; n <= 60; n++) {
      for (const [w, h] of [[1280, 720], [390, 700], [844, 300], [700, 700], [2560, 600]] as const) {
        const g = pack(n, w, h);
        const { gap, minAspect, maxAspect } = optionsFor(w, h);
        const at = `${n} in ${w}x${h}: ${JSON.stringify(g)}`;
        expect(g.columns * g.rows, at).toBeGreaterThanOrEqual(n);
        expect((g.rows - 1) * g.columns, at).toBeLessThan(n);
        expect(g.columns * g.width + (g.columns - 1) * gap, at).toBeLessThanOrEqual(w);
        expect(g.rows * g.height + (g.rows - 1) * gap, at).toBeLessThanOrEqual(h);
        // One pixel of rounding either way.
        expect((g.width + 1) / (g.height - 1), at).toBeGreaterThanOrEqual(minAspect);
        expect((g.width - 1) / (g.height + 1), at).toBeLessThanOrEqual(maxAspect);
      }
    }
  });

  it('is as good as trying every number of columns', () => {
    for (let n = 1; n <= 40; n++) {
      for (const [w, h] of [[1280, 720], [390, 700], [1000, 200]] as const) {
        const { gap, minAspect, maxAspect } = optionsFor(w, h);
        let best = 0;
        for (let c = 1; c <= n; c++) {
          const r = Math.ceil(n / c);
          let tw = (w - gap * (c - 1)) / c;
          let th = (h - gap * (r - 1)) / r;
          if (tw <= 0 || th <= 0) continue;
          tw = Math.min(tw, th * maxAspect);
          th = Math.min(th, tw / minAspect);
          best = Math.max(best, Math.floor(tw) * Math.floor(th));
        }
        const g = pack(n, w, h);
        expect(g.width * g.height, `${n} in ${w}x${h}`).toBe(best);
      }
    }
  });

  it('survives a box without room', () => {
    expect(pack(4, 0, 0)).toMatchObject({ width: 0, height: 0 });
    expect(pack(0, 100, 100)).toMatchObject({ columns: 1, rows: 1 });
  });
});

describe('capacity', () => {
  it('is bounded by the least width and by the most', () => {
    const n = capacity(390, 700, 150, 100);
    expect(pack(n, 390, 700).width).toBeGreaterThanOrEqual(150);
    expect(pack(n + 1, 390, 700).width).toBeLessThan(150);
    expect(capacity(4000, 3000, 100, 25)).toBe(25);
    expect(capacity(50, 50, 150, 25)).toBe(1);
  });
});

describe('order', () => {
  const none = new Set<string>();
  it('keeps places, drops who left and appends who came', () => {
    expect(order(['a', 'b', 'c'], ['c', 'd', 'a'], new Map(), 9, none, none)).toEqual(['a', 'c', 'd']);
  });
  it('brings a speaker forward in place of the one silent longest', () => {
    const spoke = new Map([['b', 10], ['c', 5], ['e', 20]]);
    expect(order(['a', 'b', 'c', 'd', 'e'], ['a', 'b', 'c', 'd', 'e'], spoke, 3, new Set(['a']), new Set(['e']))).toEqual(['a', 'b', 'e', 'd', 'c']);
  });
  it('never moves fixed tiles nor other speakers', () => {
    expect(order(['a', 'b', 'c'], ['a', 'b', 'c'], new Map(), 2, new Set(['a']), new Set(['b', 'c']))).toEqual(['a', 'b', 'c']);
  });
  it('does nothing when everyone is on the first page', () => {
    expect(order(['a', 'b'], ['a', 'b'], new Map(), 4, none, new Set(['b']))).toEqual(['a', 'b']);
  });
});
