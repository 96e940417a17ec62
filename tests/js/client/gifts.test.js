/** Gifts that were already seen. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { SeenGifts } from "../../../protocol/web/liveroom/seen.js";
import { gift, refunded } from "../support/wire.js";

test("a gift counts once by its id, whatever its seq", () => {
  const seen = new SeenGifts();
  assert.equal(seen.take(gift({ id: "a", coins: 5 })), true);
  assert.equal(seen.take(gift({ id: "a", coins: 5, seq: 99 })), false);
  assert.equal(seen.take(gift({ id: "b", coins: 7 })), true);
  assert.deepEqual([seen.gifts, seen.coins], [2, 12]);
});

test("a test alert is shown once and never counts", () => {
  const seen = new SeenGifts();
  assert.equal(seen.take(gift({ id: "t", test: true })), true);
  assert.equal(seen.take(gift({ id: "t", test: true })), false);
  assert.deepEqual([seen.gifts, seen.coins], [0, 0]);
});

test("five thousand ids are remembered, and the oldest is forgotten first", () => {
  const seen = new SeenGifts();
  for (let n = 0; n < 5001; n++) seen.take(gift({ id: `g${n}` }));
  assert.equal(seen.take(gift({ id: "g1" })), false);
  assert.equal(seen.take(gift({ id: "g0" })), true);
});

test("what is taken back of a gift that was seen counts once", () => {
  const seen = new SeenGifts();
  seen.take(gift({ id: "a", coins: 5 }));
  const part = refunded({ id: "r", gift_id: "a", coins: 2 });
  assert.deepEqual([seen.isNews(part), seen.isNews(part), seen.isNews(refunded({ id: "s", gift_id: "b" }))],
    [true, false, true]);
  assert.deepEqual([seen.coins, seen.refunded], [5, 2]);
});
