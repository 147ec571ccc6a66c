/** Series is a bounded history of samples over time, for charts. A gap is null, never zero. */
export class Series {
  readonly #max: number;
  readonly #gap: number;
  #times: number[] = [];
  #rows: (number | null)[][];

  /** A series of `lines` values a sample, at most max samples, broken when samples are more than gap seconds apart. */
  constructor(lines: number, max: number, gap: number) {
    this.#max = max;
    this.#gap = gap;
    this.#rows = Array.from({ length: lines }, () => []);
  }

  /** add appends a sample at t (seconds). A sample that is not newer than the last is dropped. */
  add(t: number, values: readonly number[]): void {
    const last = this.#times[this.#times.length - 1];
    if (last !== undefined) {
      if (t <= last) return;
      if (t - last > this.#gap) this.#push((last + t) / 2, () => null);
    }
    this.#push(t, (i) => values[i] ?? null);
    const extra = this.#times.length - this.#max;
    if (extra > 0) {
      this.#times.splice(0, extra);
      for (const row of this.#rows) row.splice(0, extra);
    }
  }

  #push(t: number, value: (line: number) => number | null): void {
    this.#times.push(t);
    this.#rows.forEach((row, i) => row.push(value(i)));
  }

  get length(): number {
    return this.#times.length;
  }

  /** data is a copy in uPlot's form: times, then one array a line. */
  data(): [number[], ...(number | null)[][]] {
    return [this.#times.slice(), ...this.#rows.map((row) => row.slice())];
  }
}

/** sparkPath is an SVG path of one line in a box; gaps break it. The box starts at zero. */
export function sparkPath(times: readonly number[], values: readonly (number | null)[], max: number, width: number, height: number): string {
  const first = times[0];
  const last = times[times.length - 1];
  if (first === undefined || last === undefined || last === first) return '';
  const top = max > 0 ? max : 1;
  let path = '';
  let pen = false;
  times.forEach((t, i) => {
    const v = values[i] ?? null;
    if (v === null) {
      pen = false;
      return;
    }
    const x = (((t - first) / (last - first)) * width).toFixed(1);
    const y = (height - (Math.min(v, top) / top) * height).toFixed(1);
    path += `${pen ? 'L' : 'M'}${x} ${y}`;
    pen = true;
  });
  return path;
}
