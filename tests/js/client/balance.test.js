/** Which balance is the newest. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Balance } from "../../../protocol/web/liveroom/seen.js";

test("a balance is new unless a newer one is known: entries are compared as two numbers", () => {
  const balance = new Balance();
  const taken = ["1-9", "1-10", "1-9", "1-10", "2-1", "1-11", "2-1", "10-0", "9-99"];
  assert.deepEqual(taken.map((entry) => balance.take(entry, true)),
    [true, true, false, true, true, false, true, true, false]);
});

test("a balance without an entry counts only when none is known", () => {
  const balance = new Balance();
  assert.equal(balance.take(null, true), false);
  assert.equal(balance.take(null, false), true);
  assert.equal(balance.take("1-1", true), true);
});
