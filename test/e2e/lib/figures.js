// Measured figures, one line each, so that a report can be cut from the output:
//   figure: join-to-first-frame.single.p50=184 ms

export function figure(name, value, unit = '') {
  const number = typeof value === 'number' ? Math.round(value * 100) / 100 : value;
  process.stdout.write(`figure: ${name}=${number}${unit && ` ${unit}`}\n`);
}

/** The p-quantile (0..1) of values by the nearest-rank method. */
export function quantile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))];
}

export function spread(name, values, unit = 'ms') {
  figure(`${name}.p50`, quantile(values, 0.5), unit);
  figure(`${name}.p95`, quantile(values, 0.95), unit);
}
