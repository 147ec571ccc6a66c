// Runs the scenarios under node's test runner: all of them, or those named.
//
//   node run.js [name ...] [-- option of node --test ...]
//
// A name is a scenario file's, with or without its number: pair, 02-reconnect.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildCrowd, buildServer } from './lib/target.js';

const directory = join(dirname(fileURLToPath(import.meta.url)), 'scenarios');
const files = readdirSync(directory).filter((file) => file.endsWith('.test.js')).sort();
const args = process.argv.slice(2);
const split = args.indexOf('--') < 0 ? args.length : args.indexOf('--');

const chosen = args.slice(0, split).map((name) => {
  const file = files.find((each) => each === `${name}.test.js` || each.replace(/^\d+-/, '') === `${name}.test.js`);
  if (file) return file;
  const known = files.map((each) => each.replace(/^\d+-|\.test\.js$/g, '')).join(' ');
  process.stderr.write(`no scenario ${name}; there are: ${known}\n`);
  process.exit(2);
});

// One build for all, so that every scenario tests the same server. NODE_ENV quietens rtc-node's debug log.
const env = { NODE_ENV: 'production', ...process.env };
try {
  if (!env.CONCERTINA_URL) env.E2E_SERVER = await buildServer();
  env.E2E_CROWD = await buildCrowd();
} catch (err) {
  process.stderr.write(`${err.message}\n`);
  process.exit(1);
}

const child = spawn(
  process.execPath,
  [
    '--test',
    '--test-concurrency=1',
    '--test-reporter=spec',
    ...args.slice(split + 1),
    ...(chosen.length > 0 ? chosen : files).map((file) => join(directory, file)),
  ],
  { stdio: 'inherit', env },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
