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
