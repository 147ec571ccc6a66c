// A live participant is handed over to another media host of the server while it
// sends and receives: its client resumes, and neither it nor the other one misses
// a frame, a sound or a message.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../lib/browser.js';
import { figure, spread } from '../lib/figures.js';
import { hears, modes, seesVideo, small } from '../lib/media.js';
import { freshRoom, startTarget, token } from '../lib/target.js';
import { pause, until } from '../lib/wait.js';

const moves = Number(process.env.E2E_MOVES ?? 4);
const kinds = ['chromium', 'firefox'];

/** The longest time without a decoded frame, in ms: what a busy machine does by itself, and less than a broken stream. */
const most = 1000;
/** The most packets a move may lose for good. Firefox drops what comes while it changes address. */
const mostLost = { chromium: 0, firefox: 8 };

let target;
const browsers = {};

before(async () => {
  target = await startTarget();
  for (const kind of kinds) browsers[kind] = await launch(kind);
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  await target?.stop();
});

for (const kind of kinds) {
  for (const { mode, singlePeerConnection } of modes) {
    describe(`move, ${kind}, ${mode} connection`, { concurrency: 1 }, () => {
      const room = freshRoom(`move-${kind}-${mode}`);
      let alice;
      let bob;

      before(async () => {
        alice = await browsers.chromium.open('alice');
        bob = await browsers[kind].open('bob');
        for (const page of [alice, bob]) {
          await page.connect(target.url, await token(room, page.name), { singlePeerConnection, ...small });
          await page.publish({ camera: true, microphone: true });
        }
        await Promise.all([seesVideo(bob, 'alice', { window: 1000 }), seesVideo(alice, 'bob', { window: 1000 })]);
        await Promise.all([hears(bob, 'alice'), hears(alice, 'bob')]);
      });
      after(async () => {
        await alice?.close();
        await bob?.close();
      });

      test('nobody notices', async (t) => {
        const sid = await bob.eval((c) => c.room.localParticipant.sid);
        const marks = new Map([[alice, await alice.mark()], [bob, await bob.mark()]]);
        await alice.count('down');
        await bob.count('up');
        const still = [];
        const moved = [];
        for (let i = 0; i < moves; i++) {
          still.push(await observe(alice, bob, () => pause(2500)));
          const before = await movesOfServer();
          moved.push(await observe(alice, bob, async () => {
            const { resumed } = await bob.simulate('migration');
            assert.ok(resumed, 'the peer connections stay');
          }));
          t.diagnostic(`still ${JSON.stringify(still.at(-1))} move ${JSON.stringify(moved.at(-1))}`);
          assert.equal((await movesOfServer()) - before, 1, `the server moved bob\n${target.output()}`);
          assert.equal(await bob.eval((c) => c.room.localParticipant.sid), sid);
        }
        for (const way of ['up', 'down']) {
          for (const what of ['gap', 'concealed', 'lost', 'keyFrames']) {
            spread(`${what}-still.${kind}.${mode}.${way}`, still.map((seen) => seen[way][what]), '');
            spread(`${what}-move.${kind}.${mode}.${way}`, moved.map((seen) => seen[way][what]), '');
          }
          for (const seen of moved) {
            assert.ok(seen[way].gap <= most, `${way}: ${seen[way].gap} ms without a frame`);
            assert.ok(seen[way].lost <= mostLost[kind], `${way}: ${seen[way].lost} packets lost`);
          }
        }
        for (const [from, to, topic] of [[alice, bob, 'down'], [bob, alice, 'up']]) {
          const sent = await from.eval((c) => c.counting());
          await until(async () => (await to.counted(topic)).at(-1) === sent - 1, { what: `${to.name} has the last of ${sent} messages` });
          assert.deepEqual(await to.counted(topic), [...Array(sent).keys()]);
          figure(`messages-over-moves.${kind}.${mode}.${topic}`, sent);
        }
        // bob is told that he reconnected, alice nothing at all.
        const quiet = ['trackSubscribed', 'trackUnsubscribed', 'trackUnpublished', 'participantDisconnected', 'participantConnected', 'disconnected'];
        for (const [page, from] of marks) {
          const names = await page.eval((c, index) => c.events.slice(index).map(({ name }) => name), from);
          assert.deepEqual(names.filter((name) => quiet.includes(name)), [], `${page.name}'s room events`);
        }
      });
    });
  }
}

/** How many participants the server has moved. */
async function movesOfServer() {
  return (await target.metrics('concertina_room_moves_total')).concertina_room_moves_total ?? 0;
}

/** What alice sees of bob (up) and he of her (down) while act runs. */
async function observe(alice, bob, act) {
  const ways = { up: [alice, 'bob'], down: [bob, 'alice'] };
  const look = async ([viewer, identity]) => ({
    at: await viewer.now(),
    audio: await viewer.inbound(identity, 'microphone'),
    video: await viewer.inbound(identity),
  });
  const before = { up: await look(ways.up), down: await look(ways.down) };
  await act();
  const seen = {};
  for (const [way, pair] of Object.entries(ways)) {
    const was = before[way];
    const is = await look(pair);
    const more = (kind, what) => (is[kind][what] ?? 0) - (was[kind][what] ?? 0);
    seen[way] = {
      gap: await longestGap(...pair, was.at, is.at),
      concealed: Math.round((more('audio', 'concealedSamples') / 48000) * 1000),
      lost: more('audio', 'packetsLost') + more('video', 'packetsLost'),
      keyFrames: more('video', 'keyFramesDecoded'),
      nacks: more('video', 'nackCount'),
      plis: more('video', 'pliCount'),
    };
  }
  return seen;
}

/** The longest time in which viewer saw no frame of identity, in ms, the ends of the window included. */
async function longestGap(viewer, identity, from, to) {
  return viewer.eval(
    (c, who, start, end) => {
      const times = [start, ...c.meters.get(`${who}/camera`).times.filter((at) => at > start && at < end), end];
      return Math.round(Math.max(...times.slice(1).map((at, i) => at - times[i])));
    },
    identity, from, to,
  );
}
