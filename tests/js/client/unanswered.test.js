/** Commands that wait for their replies. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { Unanswered } from "../../../protocol/web/liveroom/unanswered.js";
import { pass, timed as test } from "../support/clock.js";

/** @param {string} text */
const say = (text) => ({ type: /** @type {const} */ ("chat.send"), text });

test("each command has its own ref, and gets the reply with that ref", async () => {
  const unanswered = new Unanswered();
  const first = unanswered.add(say("one"), { again: false, said: true, timeoutMs: 1000 });
  const second = unanswered.add(say("two"), { again: false, said: true, timeoutMs: 1000 });
  assert.deepEqual([first.command, second.command], [{ ...say("one"), ref: "c1" }, { ...say("two"), ref: "c2" }]);
  unanswered.settle({ type: "ok", ref: "c2" });
  unanswered.settle({ type: "ok", ref: "c1" });
  unanswered.settle({ type: "ok", ref: "c1" });
  unanswered.settle({ type: "ok", ref: null });
  assert.equal((await first.reply).ref, "c1");
  assert.equal((await second.reply).ref, "c2");
});

test("no timer stays behind a reply", async () => {
  const cleared = mock.method(globalThis, "clearTimeout").mock;
  const unanswered = new Unanswered();
  unanswered.add(say("one"), { again: false, said: true, timeoutMs: 1000 });
  unanswered.settle({ type: "ok", ref: "c1" });
  assert.notEqual(cleared.calls[0]?.arguments[0], undefined);
});

test("a refusal rejects the command with all its fields", async () => {
  const unanswered = new Unanswered();
  const asked = unanswered.add(say("one"), { again: false, said: true, timeoutMs: 1000 });
  const refusal = { reason: "insufficient_coins", message: "No.", retry_after_ms: 7, need: 10, have: 3 };
  unanswered.settle({ type: "refused", ref: "c1", ...refusal });
  await assert.rejects(asked.reply, { name: "Refused", ...refusal });
});

test("a command waits until its time limit and no longer", async () => {
  const unanswered = new Unanswered();
  const asked = unanswered.add(say("one"), { again: true, said: true, timeoutMs: 1000 });
  const refused = assert.rejects(asked.reply, { reason: "timeout", message: "timeout", retry_after_ms: null });
  await pass(990);
  assert.equal(unanswered.say().length, 1);
  await pass(10);
  await refused;
  assert.equal(unanswered.say().length, 0);
});

test("with the connection, commands that must not be repeated are lost", async () => {
  const unanswered = new Unanswered();
  const chat = unanswered.add(say("one"), { again: false, said: true, timeoutMs: 1000 });
  const gift = unanswered.add(say("two"), { again: true, said: true, timeoutMs: 1000 });
  const refused = assert.rejects(chat.reply, { reason: "connection_lost" });
  unanswered.lose();
  await refused;
  assert.deepEqual(unanswered.say(), [gift.command]);
  const closed = assert.rejects(gift.reply, { reason: "closed" });
  unanswered.close();
  await closed;
  assert.deepEqual(unanswered.say(), []);
});
