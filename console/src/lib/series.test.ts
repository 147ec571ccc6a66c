import { describe, expect, it } from 'vitest';
import { Series, sparkPath } from './series';

describe('Series', () => {
  it('keeps the newest samples', () => {
    const s = new Series(2, 3, 10);
    for (let t = 1; t <= 5; t++) s.add(t, [t, t * 10]);
    expect(s.data()).toEqual([
      [3, 4, 5],
      [3, 4, 5],
      [30, 40, 50],
    ]);
  });
  it('marks a gap with null and not with zero', () => {
    const s = new Series(1, 10, 3);
    s.add(1, [5]);
    s.add(9, [6]);
    expect(s.data()).toEqual([
      [1, 5, 9],
      [5, null, 6],
    ]);
  });
  it('drops samples out of order and fills missing values with null', () => {
    const s = new Series(2, 10, 3);
    s.add(2, [1]);
    s.add(2, [9, 9]);
    s.add(1, [9, 9]);
    expect(s.data()).toEqual([[2], [1], [null]]);
  });
  it('gives copies', () => {
    const s = new Series(1, 10, 3);
    s.add(1, [1]);
    s.data()[0].push(99);
    expect(s.length).toBe(1);
    expect(s.data()[0]).toEqual([1]);
  });
});

describe('sparkPath', () => {
  it('spans the box and starts at zero', () => {
    expect(sparkPath([0, 5, 10], [0, 50, 100], 100, 20, 10)).toBe('M0.0 10.0L10.0 5.0L20.0 0.0');
  });
  it('breaks at gaps', () => {
    expect(sparkPath([0, 1, 2, 3, 4], [1, 1, null, 1, 1], 1, 4, 1)).toBe('M0.0 0.0L1.0 0.0M3.0 0.0L4.0 0.0');
  });
  it('is empty with fewer than two points and flat on zero', () => {
    expect(sparkPath([], [], 1, 4, 1)).toBe('');
    expect(sparkPath([1], [1], 1, 4, 1)).toBe('');
    expect(sparkPath([0, 1], [0, 0], 0, 4, 2)).toBe('M0.0 2.0L4.0 2.0');
  });
});
