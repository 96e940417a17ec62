/** Epochs, resuming and gaps. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Position } from "../../../protocol/web/liveroom/seen.js";

/** @param {Partial<Parameters<Position["enter"]>[0]>} [fields] */
const welcome = (fields) => ({ epoch: "e1", seq: 10, resumed: false, gap: null, ...fields });

test("before the first welcome there is no position, unless one was saved", () => {
  assert.equal(new Position().since, null);
  assert.equal(new Position(null).since, null);
  assert.equal(new Position("e1").since, null);
  assert.equal(new Position("e1:7").since, "e1:7");
  assert.equal(new Position("a:b:7").since, "a:b:7");
});

test("an event counts once: an old one is not new", () => {
  const position = new Position();
  position.enter(welcome());
  assert.deepEqual([11, 11, 10, 13, 12].map((seq) => position.reach(seq)), [true, false, false, true, false]);
  assert.equal(position.since, "e1:13");
});

test("the snapshot already counts everything up to its seq", () => {
  const position = new Position();
  position.enter(welcome());
  assert.deepEqual([9, 10, 11].map((seq) => position.isInSnapshot(seq)), [true, true, false]);
});

test("after a fresh join the position is the snapshot's; lines from before it are still new", () => {
  const position = new Position();
  position.enter(welcome());
  assert.equal(position.since, "e1:10");
  assert.equal(position.reach(8), true);
  assert.equal(position.since, "e1:10");
});

test("during a replay the position is the last replayed event", () => {
  const position = new Position("e1:5");
  position.enter(welcome({ resumed: true }));
  assert.equal(position.since, "e1:5");
  assert.equal(position.reach(5), false);
  assert.equal(position.reach(6), true);
  assert.equal(position.since, "e1:6");
});

test("another epoch counts from the beginning", () => {
  const position = new Position("e1:500");
  position.enter(welcome({ epoch: "e2", seq: 3, gap: { from: 501, to: 3 } }));
  assert.equal(position.since, "e2:3");
  assert.equal(position.reach(1), true);
});

test("until the gifts of a gap have come, the position is the one of before", () => {
  for (const epoch of ["e1", "e2"]) {
    const position = new Position("e1:500");
    const gapped = welcome({ epoch, seq: 3000, gap: { from: 501, to: 3000 }, replays: 2 });
    position.enter(gapped);
    assert.equal(position.since, "e1:500");
    assert.equal(position.reach(700, true), true);
    assert.equal(position.since, "e1:500");
    position.enter(gapped); // the connection was lost half-way
    assert.deepEqual([700, 800].map((seq) => position.reach(seq, true)), [true, true]);
    assert.equal(position.since, `${epoch}:3000`);
    assert.equal(position.isInSnapshot(800), true);
    assert.equal(position.reach(3001), true);
    assert.equal(position.since, `${epoch}:3001`);
    position.enter(gapped);
    assert.equal(position.reach(3002), true); // an event of now: nothing of before comes behind it
    assert.equal(position.since, `${epoch}:3002`);
  }
});

test("after a gap, only what was lost is skipped", () => {
  const position = new Position("e1:5");
  position.enter(welcome({ seq: 2000, gap: { from: 6, to: 1000 } }));
  assert.equal(position.reach(1000), false);
  assert.equal(position.reach(1001), true);
  position.enter(welcome({ seq: 900, gap: { from: 6, to: 1000 } }));
  assert.equal(position.reach(900), false);
  assert.equal(position.reach(901), true);
});
