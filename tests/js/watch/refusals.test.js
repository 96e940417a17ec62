/** The texts that explain why a command was refused. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock } from "node:test";

import { el } from "../../../server/web/shared/dom.js";
import { outcomeUnknown, showRefusal, words } from "../../../server/web/watch/refusals.js";
import { START_MS, pass } from "../support/clock.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");
// Of commands that the watch page does not send.
const FOR_MACHINES = ["bad_token", "unknown_user", "too_many_members", "wrong_status", "not_eligible", "banned"];

test("every reason of the protocol has its own text", () => {
  const wire = readFileSync(new URL("../../../protocol/web/wire.d.ts", import.meta.url), "utf8");
  const [, union = ""] = /export type Refusal =([^;]*);/.exec(wire) ?? [];
  const reasons = [...union.matchAll(/"(\w+)"/g)].map(([, reason]) => reason ?? "");
  assert.ok(reasons.length > 20);
  for (const reason of [...reasons, "timeout", "connection_lost", "not_connected", "closed"]) {
    if (!FOR_MACHINES.includes(reason)) assert.notEqual(words({ reason, message: "the server's" }),
      "the server's", reason);
  }
});

test("an unknown reason is shown in the server's words", () => {
  assert.equal(words({ reason: "too_windy", message: "It is too windy." }), "It is too windy.");
  assert.equal(words({ reason: "too_windy" }), "That did not work");
});

test("coins and limits are shown as numbers", () => {
  assert.equal(words({ reason: "insufficient_coins", need: 10_000, have: 5 }), "Not enough coins: you need 9,995 more");
  assert.equal(words({ reason: "level_too_low", need: 5, have: 4 }), "This gift needs level 5");
  assert.equal(words({ reason: "message_needs_coins", need: 1_000 }), "A message needs a gift of 1,000 coins here");
  assert.equal(words({ reason: "spend_limit" }), "Your spend limit is reached");
  const resets = { reason: "spend_limit", resets_at_ms: START_MS + 3_600_000 };
  assert.equal(words(resets), "Your spend limit is reached; it resets in 1 h");
});

test("after three of the reasons it is unknown whether the command was carried out", () => {
  const unknown = ["timeout", "connection_lost", "wallet_unavailable"];
  for (const reason of unknown) assert.equal(outcomeUnknown({ reason }), true);
  for (const reason of ["rate_limited", "closed", "conflict"]) assert.equal(outcomeUnknown({ reason }), false);
});

test("the time to wait is counted down, and the text stays for slow readers", async () => {
  const element = el("p");
  let free = 0;
  showRefusal(element, { reason: "slow_mode", retry_after_ms: 2000 }, () => { free++; });
  assert.equal(element.textContent, "Slow mode is on: again in 2 s");
  await pass(1000);
  assert.deepEqual([element.textContent, free], ["Slow mode is on: again in 1 s", 0]);
  await pass(1000);
  assert.deepEqual([element.textContent, free], ["Slow mode is on.", 1]);
  await pass(1990);
  assert.equal(element.textContent, "Slow mode is on.");
  await pass(10);
  assert.deepEqual([element.textContent, free], ["", 1]);
});

test("a clock that is set meanwhile does not change the wait", async () => {
  mock.method(performance, "now", () => 0);
  const element = el("p");
  showRefusal(element, { reason: "slow_mode", retry_after_ms: 2000 });
  mock.timers.setTime(START_MS - 3_600_000);
  await pass(500);
  assert.equal(element.textContent, "Slow mode is on: again in 2 s");
});

test("a long wait ends when it is over", async () => {
  const element = el("p");
  showRefusal(element, { reason: "slow_mode", retry_after_ms: 6000 });
  await pass(5990);
  assert.equal(element.textContent, "Slow mode is on: again in 1 s");
  await pass(10);
  assert.equal(element.textContent, "");
});

test("without a wait one may try again immediately, and the text stays until then", async () => {
  const element = el("p");
  let free = 0;
  const stop = showRefusal(element, { reason: "muted" }, () => { free++; });
  assert.equal(free, 1);
  await pass(60_000, 1000);
  assert.equal(element.textContent, "You are muted in this room.");
  stop();
  assert.equal(element.textContent, "");
});

test("a stopped text does not come back", async () => {
  const element = el("p");
  const stop = showRefusal(element, { reason: "slow_mode", retry_after_ms: 2000 });
  stop();
  await pass(1000);
  assert.equal(element.textContent, "");
});
