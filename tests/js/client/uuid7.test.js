/** Ids of gifts. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { uuid7 } from "../../../protocol/web/liveroom/uuid7.js";

test("an id is a UUIDv7 in lower case that contains its time", () => {
  const atMs = 1_760_000_000_123.9;
  const id = uuid7(atMs);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(parseInt(id.replaceAll("-", "").slice(0, 12), 16), Math.floor(atMs));
});

test("no two ids are the same, and later ones sort after earlier ones", () => {
  const ids = Array.from({ length: 1000 }, (_, n) => uuid7(1_760_000_000_000 + n));
  assert.equal(new Set(ids).size, 1000);
  assert.deepEqual([...ids].sort(), ids);
  assert.notEqual(uuid7(1), uuid7(1));
});

test("without a given time it uses the present", () => {
  const before = Date.now();
  const at = parseInt(uuid7().replaceAll("-", "").slice(0, 12), 16);
  assert.ok(before <= at && at <= Date.now());
});

test("all other bits are random", () => {
  const ids = Array.from({ length: 200 }, () => BigInt(`0x${uuid7(0).replaceAll("-", "")}`));
  const [ever, always] = [ids.reduce((a, b) => a | b), ids.reduce((a, b) => a & b)];
  assert.equal(ever.toString(16), "7fffbfffffffffffffff"); // behind 48 bits of time: version 7, variant 10
  assert.equal(always.toString(16), "70008000000000000000");
});
