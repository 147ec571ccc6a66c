// Forced resumes and forced full reconnects of one of two participants, with
// the SDK's own simulations: media and messages go on after each.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { figure } from '../lib/figures.js';
import { hears, modes, seesVideo, small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { until } from '../lib/wait.js';

/**
 * The SDK's simulations. kind says what must become of bob's connection:
 * resumed keeps his peer connections, rejoined makes new ones; where a resume is
 * broken off, the SDK may end in either. most bounds the gap in decoded frames, in ms.
 */
const cases = [
  { scenario: 'signal-reconnect', kind: 'resumed', most: 1000 },
  { scenario: 'disconnect-signal-on-resume', most: 10_000 },
  { scenario: 'disconnect-signal-on-resume-no-messages', most: 10_000 },
  { scenario: 'resume-reconnect', kind: 'rejoined', most: 10_000 },
  { scenario: 'full-reconnect', kind: 'rejoined', most: 10_000 },
  { scenario: 'node-failure', kind: 'rejoined', most: 10_000 },
  { scenario: 'migration', kind: 'resumed', most: 1000 },
  { scenario: 'force-tcp', kind: 'rejoined', most: 10_000, protocol: 'tcp' },
];

let target;
let browser;

before(async () => {
  target = await startTarget();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await target?.stop();
});

// Both modes at once: most of the time goes by waiting.
describe('modes', { concurrency: true }, () => {
  for (const { mode, singlePeerConnection } of modes) {
    describe(`reconnect, ${mode} connection`, { concurrency: 1 }, () => {
      const room = freshRoom(`reconnect-${mode}`);
      let alice;
      let bob;

      before(async () => {
        alice = await browser.open('alice');
        bob = await browser.open('bob');
        for (const page of [alice, bob]) {
          await page.connect(target.url, await token(room, page.name), { singlePeerConnection, ...small });
          await page.publish({ camera: true, microphone: true });
        }
        await Promise.all([seesVideo(bob, 'alice', { window: 1000 }), seesVideo(alice, 'bob', { window: 1000 })]);
      });
      after(async () => {
        await alice?.close();
        await bob?.close();
      });

      for (const { scenario, kind, most, protocol } of cases) {
        test(scenario, async () => {
          const { start, ms, resumed } = await bob.simulate(scenario);
          const became = resumed ? 'resumed' : 'rejoined';
          assert.equal(became, kind ?? became);
          await Promise.all([
            seesVideo(bob, 'alice', { window: 1000 }),
            seesVideo(alice, 'bob', { window: 1000 }),
            hears(bob, 'alice', { window: 1000 }),
            hears(alice, 'bob', { window: 1000 }),
          ]);
          const name = `${scenario}.${mode}`;
          const down = await bob.frames('alice', 'camera', start - 100);
          const up = await alice.frames('bob', 'camera', start - 100);
          figure(`reconnected.${name}`, ms, 'ms');
          figure(`gap.${name}.down`, down.gap, 'ms');
          figure(`gap.${name}.up`, up.gap, 'ms');
          assert.ok(down.gap <= most, `bob missed ${down.gap} ms of alice's frames, at most ${most} allowed`);
          assert.ok(up.gap <= most, `alice missed ${up.gap} ms of bob's frames, at most ${most} allowed`);
          if (protocol) {
            for (const transport of await bob.transports()) assert.equal(transport.protocol, protocol);
          }
          for (const [from, to] of [[alice, bob], [bob, alice]]) {
            figure(`messages-until-heard.${name}.${from.name}`, await messagesUntilHeard(from, to, `after ${scenario}`));
          }
        });
      }

      test('no reliable message is lost or doubled over a resume', async () => {
        await alice.count('down');
        await bob.count('up');
        await bob.simulate('signal-reconnect');
        await bob.simulate('signal-reconnect');
        for (const [from, to, topic] of [[alice, bob, 'down'], [bob, alice, 'up']]) {
          const sent = await from.eval((c) => c.counting());
          await until(async () => (await to.counted(topic)).at(-1) === sent - 1, { what: `${to.name} has the last of ${sent} messages` });
          assert.deepEqual(await to.counted(topic), [...Array(sent).keys()]);
          figure(`messages-over-resume.${mode}.${topic}`, sent);
        }
      });

      test('server-leave', async () => {
        const from = await alice.mark();
        await bob.eval((c) => c.room.simulateScenario('server-leave'));
        await bob.wait({ name: 'disconnected' });
        await alice.wait({ name: 'participantDisconnected', participant: 'bob' }, { from });
      });
    });
  }
});

/**
 * How many messages from sends until one reaches to. A new peer connection may
 * lose the first ones: the SDK counts them as sent before the server can read.
 */
async function messagesUntilHeard(from, to, text) {
  for (let sent = 1; sent <= 50; sent++) {
    await from.eval((c, t) => c.room.localParticipant.sendText(t, { topic: 'chat' }), text);
    if (await to.wait({ name: 'chat', participant: from.name, text }, { timeout: 200 }).catch(() => false)) return sent;
  }
  throw new Error(`${to.name} hears nothing from ${from.name} ${text}`);
}
