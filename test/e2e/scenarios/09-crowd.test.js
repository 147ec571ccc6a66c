// A hundred participants on the Go SDK join one room within ten seconds; all
// media flows, and nothing is left of them when they have gone.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { figure } from '../lib/figures.js';
import { apiKey, apiSecret, buildCrowd, freshRoom, startTarget } from '../lib/target.js';
import { until, within } from '../lib/wait.js';

const participants = 100;
const names = ['go_goroutines', 'go_memstats_heap_inuse_bytes', 'process_resident_memory_bytes'];

let target;
let binary;

before(async () => {
  target = await startTarget();
  binary = await buildCrowd();
});
after(() => target?.stop());

/** Runs a crowd of n; gathered is called with its report while all are there. */
async function crowd(n, gathered) {
  const room = freshRoom('crowd');
  await target.rooms.createRoom({ name: room, departureTimeout: 1, emptyTimeout: 30 });
  const args = { url: target.url, key: apiKey, secret: apiSecret, room, participants: n, within: `${80 * n}ms`, deadline: '60s' };
  const child = spawn(binary, Object.entries(args).flatMap(([key, value]) => [`-${key}`, String(value)]), { stdio: ['pipe', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await within(lines.next(), 90_000, 'the crowd reports');
    const report = JSON.parse(value);
    await gathered?.(report, room);
    child.stdin.end('\n');
    const [code] = await within(exit, 30_000, 'the crowd leaves');
    assert.equal(code, 0, 'everybody had all media');
    await until(async () => (await target.rooms.listRooms([room])).length === 0, { timeout: 20_000, what: 'the room is gone' });
  } finally {
    child.kill('SIGKILL');
  }
}

test('100 participants in one room', async () => {
  await crowd(2);
  const before = await target.metrics(...names);
  for (const name of names) assert.ok(before[name] > 0, `/metrics has ${name}`);

  let during;
  await crowd(participants, async (report, room) => {
    during = await target.metrics(...names);
    figure('crowd.joined-in', report.joinedMs, 'ms');
    figure('crowd.join.p50', report.joinP50Ms, 'ms');
    figure('crowd.join.p95', report.joinP95Ms, 'ms');
    figure('crowd.all-media-after', report.allMediaMs, 'ms');
    figure('crowd.packets-received', report.packetRate, '/s');
    figure('crowd.lost', report.lost);
    figure('crowd.strange', report.strange);
    assert.deepEqual(report.errors ?? [], []);
    assert.equal(report.joined, participants);
    assert.equal(report.flowing, report.expected, 'streams that flow');
    assert.equal(report.strange, 0, 'frames that nobody sent');
    assert.ok(report.joinedMs <= 10_000, `joined in ${report.joinedMs} ms`);
    assert.equal((await target.rooms.listParticipants(room)).length, participants);
  });
  figure('crowd.goroutines-per-participant', (during.go_goroutines - before.go_goroutines) / participants);
  figure('crowd.memory-per-participant', (during.process_resident_memory_bytes - before.process_resident_memory_bytes) / participants / 1024, 'kB');

  let left;
  await until(async () => (left = await target.metrics(...names)).go_goroutines <= before.go_goroutines + 10, {
    timeout: 40_000,
    every: 500,
    what: `goroutines go back to ${before.go_goroutines}`,
  }).catch((err) => {
    throw new Error(`${err.message}; now ${left.go_goroutines}`, { cause: err });
  });
  for (const name of names) figure(`crowd.${name}`, `${before[name]} -> ${during[name]} -> ${left[name]}`);
});

test('memory does not grow from crowd to crowd', async () => {
  const heaps = [];
  for (let round = 0; round < 2; round++) {
    await crowd(40, async () => heaps.push((await target.metrics(...names)).go_memstats_heap_inuse_bytes));
  }
  figure('crowd.heap-by-round', heaps.map((bytes) => `${Math.round(bytes / 2 ** 20)}MB`).join(','));
  assert.ok(heaps[1] <= heaps[0] * 1.5 + (16 << 20), `heap in use with 40 there: ${heaps}`);
});
