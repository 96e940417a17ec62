/** Which gifts are shown as one. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { countOf, streakOf } from "../../../server/web/shared/streak.js";
import { gift, person, shown } from "../support/wire.js";

test("gifts are one streak when sender, gift and combo are the same", () => {
  const combo = { id: "tap", count: 3 };
  const one = streakOf(gift({ combo }));
  assert.equal(streakOf(gift({ combo: { id: "tap", count: 4 } })), one);
  for (const other of [{ from: person("bob") }, { gift: shown("heart") }, { combo: { id: "another", count: 3 } }]) {
    assert.notEqual(streakOf(gift({ combo, ...other })), one);
  }
});

test("a gift without a streak has its own id as its key", () => {
  assert.equal(streakOf(gift({ id: "g" })), "g");
  assert.deepEqual([countOf(gift({ count: 5 })), countOf(gift({ count: 5, combo: { id: "tap", count: 15 } }))],
    [5, 15]);
});
