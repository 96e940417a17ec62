/** What an overlay tells the server of its alerts, in a flood and while the server is away. */
import assert from "node:assert/strict";

import { Acks } from "../../../server/web/overlay/acks.js";
import { pass, timed as test } from "../support/clock.js";

/** @import { Ack } from "../../../server/web/overlay/acks.js" */

/** Acks with what has been sent. */
function watched() {
  const told = { away: false, sent: /** @type {string[]} */ ([]) };
  const acks = new Acks((/** @type {Ack} */ { id, stage }) => {
    if (told.away) return null;
    told.sent.push(`${id} ${stage}`);
    return Promise.reject(new Error("an older server"));
  });
  return { acks, told };
}

test("a flood of them leaves in order, some at a time", async () => {
  const { acks, told } = watched();
  for (let n = 0; n < 20; n++) acks.say({ id: `g${n}`, stage: "received" });
  assert.equal(told.sent.length, 0);
  await pass(250);
  assert.deepEqual([told.sent.length, told.sent[0]], [8, "g0 received"]);
  await pass(500);
  assert.deepEqual([told.sent.length, told.sent.at(-1)], [20, "g19 received"]);
  await pass(1000);
  assert.equal(told.sent.length, 20);
});

test("while the server is away they wait; of too many, what was only received is forgotten first", async () => {
  const { acks, told } = watched();
  told.away = true;
  acks.say({ id: "proof", stage: "finished" });
  for (let n = 0; n < 250; n++) acks.say({ id: `g${n}`, stage: "received" });
  await pass(1000);
  assert.equal(told.sent.length, 0);
  told.away = false;
  acks.flush();
  await pass(10_000, 100);
  assert.deepEqual([told.sent.length, told.sent[0], told.sent[1]], [200, "proof finished", "g51 received"]);
});
