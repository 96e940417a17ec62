/** The queue of alerts: order, merging, and what a full queue drops. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { AlertQueue } from "../../../server/web/shared/alertqueue.js";
import { gift, person, shown } from "../support/wire.js";

/** @param {AlertQueue} queue */
const shownInTurn = (queue) => {
  const names = [];
  for (let alert = queue.next(); alert; alert = queue.next()) names.push(alert.gift.id);
  return names;
};

/**
 * Gifts of these tiers, as `<tier>-<n>`.
 * @param {AlertQueue} queue
 * @param {number[]} tiers
 */
const offer = (queue, ...tiers) =>
  tiers.map((tier, n) => queue.offer(gift({ gift: shown(`${tier}-${n}`, tier), from: person(`p${n}`) })));

test("alerts are shown in the order in which they came", () => {
  const queue = new AlertQueue({ longAt: 3 });
  assert.deepEqual(offer(queue, 1, 4, 2), ["queued", "queued", "queued"]);
  assert.deepEqual(shownInTurn(queue), ["1-0", "4-1", "2-2"]);
  assert.equal(queue.current, null);
});

test("when many wait the biggest comes first, among equals the oldest", () => {
  const queue = new AlertQueue({ longAt: 3 });
  offer(queue, 1, 3, 2, 3, 1);
  assert.deepEqual(shownInTurn(queue), ["3-1", "3-3", "1-0", "2-2", "1-4"]);
});

test("a gift is shown once, however often it arrives", () => {
  const queue = new AlertQueue();
  const event = gift({ id: "g" });
  assert.equal(queue.offer(event), "queued");
  assert.equal(queue.offer({ ...event, seq: 99 }), "repeated");
  queue.next();
  assert.equal(queue.offer(event), "repeated");
  assert.equal(queue.next(), null);
});

test("a streak is one alert, with the highest count and the newest message", () => {
  const queue = new AlertQueue();
  /** @param {number} count @param {string|null} message */
  const tap = (count, message = null) => queue.offer(gift({ combo: { id: "tap", count }, message }));
  assert.deepEqual([tap(2, "first"), tap(5), tap(3)], ["queued", "merged", "merged"]);
  assert.deepEqual([queue.waiting.length, queue.waiting[0]?.count, queue.waiting[0]?.message], [1, 5, "first"]);
  const alert = queue.next();
  assert.equal(tap(6, "newer"), "updated");
  assert.deepEqual([alert?.count, alert?.message], [6, "newer"]);
  queue.current = null;
  assert.equal(tap(7), "queued");
});

test("streaks of two people with the same id are two alerts", () => {
  const queue = new AlertQueue();
  const combo = { id: "tap", count: 1 };
  assert.deepEqual([queue.offer(gift({ combo })), queue.offer(gift({ combo, from: person("bob") }))],
    ["queued", "queued"]);
});

test("in a full queue the oldest of the smallest is dropped", () => {
  const queue = new AlertQueue({ limit: 3, longAt: 9 });
  offer(queue, 2, 1, 1);
  assert.equal(queue.offer(gift({ gift: shown("new", 1) })), "queued");
  assert.deepEqual(shownInTurn(queue), ["2-0", "1-2", "new"]);
});

test("in a queue full of bigger gifts a small one is dropped", () => {
  const queue = new AlertQueue({ limit: 2, longAt: 9 });
  offer(queue, 2, 2);
  assert.equal(queue.offer(gift({ gift: shown("small", 1) })), "dropped");
  assert.deepEqual(shownInTurn(queue), ["2-0", "2-1"]);
});

test("a big gift is never dropped: it joins its streak, or waits beyond the limit", () => {
  const queue = new AlertQueue({ limit: 1, longAt: 9 });
  const whale = shown("whale", 3);
  queue.offer(gift({ gift: whale, count: 2 }));
  for (const [user, count] of /** @type {const} */ ([["bob", 3], ["bob", 1], ["alice", 1], ["carol", 1]])) {
    assert.equal(queue.offer(gift({ gift: whale, count, from: person(user) })), "merged");
  }
  assert.deepEqual([queue.waiting[0]?.count, queue.waiting[0]?.others], [8, ["Bob", "Carol"]]);
  queue.offer(gift({ gift: whale, test: true }));
  queue.offer(gift({ gift: shown("castle", 4) }));
  assert.deepEqual(queue.waiting.map(({ gift: { id }, test: isTest }) => [id, isTest]),
    [["whale", false], ["whale", true], ["castle", false]]);
});

test("a reloaded page continues with the alert that was shown, and repeats nothing", () => {
  const queue = new AlertQueue();
  const events = ["a", "b", "c"].map((id) => gift({ id, gift: shown(id) }));
  for (const event of events) queue.offer(event);
  queue.next();
  const saved = JSON.parse(JSON.stringify(queue.save()));
  const again = new AlertQueue({ saved });
  assert.equal(again.current, null);
  assert.deepEqual(events.map((event) => again.offer(event)), ["repeated", "repeated", "repeated"]);
  assert.deepEqual(shownInTurn(again), ["a", "b", "c"]);
});

test("alerts that wait longer than the age limit are not shown, but big ones are", () => {
  let now = 0;
  const queue = new AlertQueue({ ageMs: 1000, now: () => now });
  offer(queue, 1, 3);
  now = 600;
  offer(queue, 2);
  now = 1200;
  assert.deepEqual(shownInTurn(queue), ["3-1", "2-0"]);
  offer(queue, 1);
  now = 2200;
  assert.deepEqual(shownInTurn(queue), ["1-0"]);
});

test("an alert's time is the day's, which a reloaded page reads, too", () => {
  const now = mock.method(performance, "now", () => 1e6);
  const queue = new AlertQueue();
  offer(queue, 1);
  assert.equal(queue.waiting[0]?.since, performance.timeOrigin + 1e6);
  now.mock.restore();
});

test("a reloaded page shows no stale alerts, big or small", () => {
  let now = 5000;
  const options = { ageMs: 1000, now: () => now };
  const queue = new AlertQueue(options);
  offer(queue, 1, 4);
  now = 5900;
  offer(queue, 2);
  const saved = JSON.parse(JSON.stringify(queue.save()));
  now = 6100;
  assert.deepEqual(shownInTurn(new AlertQueue({ ...options, saved })), ["2-0"]);
  now = 90_000;
  assert.deepEqual(shownInTurn(new AlertQueue({ ...options, saved })), []);
});

test("saved alerts of an older page, without a time, are stale", () => {
  const saved = /** @type {any} */ ({ waiting: [{ key: "k", tier: 4 }], seen: ["g"] });
  assert.equal(new AlertQueue({ saved }).next(), null);
});

test("what could not be shown is counted, and told once", () => {
  let now = 0;
  const queue = new AlertQueue({ limit: 2, longAt: 9, ageMs: 1000, now: () => now });
  offer(queue, 1, 1, 1, 1);
  assert.equal(queue.takeMissed(), 2);
  assert.equal(queue.takeMissed(), 0);
  queue.offer(gift({ gift: shown("smaller", 0) }));
  assert.equal(queue.takeMissed(), 1);
  now = 2000;
  assert.deepEqual(shownInTurn(queue), []);
  assert.equal(queue.takeMissed(), 2);
});

test("the more wait the shorter each is shown", () => {
  const queue = new AlertQueue({ limit: 100 });
  assert.equal(queue.pace, 1);
  offer(queue, ...Array.from({ length: 10 }, () => 1));
  assert.equal(queue.pace, 1);
  offer(queue, ...Array.from({ length: 50 }, () => 1));
  assert.ok(queue.pace < 0.8 && queue.pace > 0.4);
  offer(queue, ...Array.from({ length: 50 }, () => 1));
  assert.equal(queue.pace, 0.3);
});

test("remembered ids are bounded: five thousand here, five hundred over a reload", () => {
  const queue = new AlertQueue();
  const events = Array.from({ length: 5001 }, (_, n) => gift({ id: `g${n}`, gift: shown("rose") }));
  for (const event of events) queue.offer(event);
  assert.equal(queue.offer(gift({ id: "g1" })), "repeated");
  assert.notEqual(queue.offer(gift({ id: "g0" })), "repeated");
  assert.deepEqual([queue.save().seen.length, queue.save().seen.at(-1)], [500, "g0"]);
});

test("gifts of one sender and kind that wait are one alert if they came soon after one another", () => {
  let now = 0;
  const queue = new AlertQueue({ mergeMs: 1000, now: () => now });
  const bob = person("bob");
  const nobody = person("anonymous");
  assert.equal(queue.offer(gift({ id: "a", count: 2 })), "queued");
  now = 999;
  assert.equal(queue.offer(gift({ id: "b", count: 3, message: "hi" })), "merged");
  assert.equal(queue.offer(gift({ from: bob })), "queued");
  assert.equal(queue.offer(gift({ gift: shown("heart") })), "queued");
  assert.equal(queue.offer(gift({ test: true })), "queued");
  assert.equal(queue.offer(gift({ combo: { id: "tap", count: 1 } })), "queued");
  assert.deepEqual([queue.offer(gift({ from: nobody })), queue.offer(gift({ from: nobody }))], ["queued", "queued"]);
  now = 1000;
  assert.equal(queue.offer(gift({ id: "c" })), "queued");
  const [first] = queue.waiting;
  assert.deepEqual([first?.count, first?.ids, first?.message], [5, ["a", "b"], "hi"]);
});

test("an alert knows its first gift and the newest fifty", () => {
  const queue = new AlertQueue();
  for (let n = 0; n < 60; n++) queue.offer(gift({ id: `g${n}`, combo: { id: "tap", count: n + 1 } }));
  const ids = queue.waiting[0]?.ids ?? [];
  assert.deepEqual([ids.length, ids[0], ids[1], ids.at(-1)], [51, "g0", "g10", "g59"]);
});

test("an alert that was not finished is offered again once", () => {
  /** @type {string[]} */
  const dropped = [];
  let queue = new AlertQueue();
  queue.offer(gift({ id: "a" }));
  for (const tries of [1, 2]) {
    assert.equal(queue.next()?.ids[0], "a");
    const saved = JSON.parse(JSON.stringify(queue.save()));
    assert.equal(saved.waiting[0].tries, tries);
    queue = new AlertQueue({ saved, onDropped: ({ ids }) => dropped.push(...ids) });
  }
  assert.deepEqual([queue.next(), dropped], [null, ["a"]]);
});

test("an alert that is put back comes first, once", () => {
  /** @type {string[]} */
  const dropped = [];
  const queue = new AlertQueue({ onDropped: ({ ids }) => dropped.push(...ids) });
  for (const id of ["a", "b"]) queue.offer(gift({ id }));
  queue.next();
  queue.putBack();
  assert.equal(queue.next()?.ids[0], "a");
  queue.putBack();
  assert.deepEqual(dropped, ["a"]);
  assert.equal(queue.next()?.ids[0], "b");
  queue.putBack();
  queue.putBack();
  assert.equal(queue.waiting.length, 1);
});

test("an alert that was played can be shown again: the last one, or that of a gift", () => {
  const queue = new AlertQueue();
  assert.equal(queue.replay(null), false);
  for (const id of ["a", "b"]) {
    queue.offer(gift({ id }));
    const alert = queue.next();
    if (alert) queue.end(alert);
  }
  assert.deepEqual([queue.current, queue.replay(null), queue.next()?.ids[0]], [null, true, "b"]);
  assert.deepEqual([queue.replay("a"), queue.next()?.ids[0]], [true, "a"]);
  assert.equal(queue.replay("c"), false);
});

test("clearing drops what waits, or only what was given before a time", () => {
  /** @type {string[]} */
  const dropped = [];
  const queue = new AlertQueue({ onDropped: ({ ids }) => dropped.push(...ids) });
  for (const at_ms of [1, 2, 3]) queue.offer(gift({ id: `g${at_ms}`, at_ms }));
  queue.clear(2);
  assert.deepEqual(dropped, ["g1", "g2"]);
  queue.clear();
  assert.deepEqual([dropped, queue.waiting, queue.takeMissed()], [["g1", "g2", "g3"], [], 0]);
});

test("in order of time the biggest waits like the others", () => {
  const queue = new AlertQueue({ longAt: 1, bySize: false });
  offer(queue, 1, 4, 2);
  assert.deepEqual(shownInTurn(queue), ["1-0", "4-1", "2-2"]);
});
