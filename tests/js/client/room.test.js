/** How events change a room. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { addLine } from "../../../protocol/web/liveroom/folds/chat.js";
import { fold } from "../../../protocol/web/liveroom/room.js";
import {
  board, chat, comboEnded, gift, likes, person, refunded, settings,
  shown, snapshot, updated, viewers,
} from "../support/wire.js";

/** @import { Room } from "../../../protocol/web/liveroom.js" */
/** @import { RoomEvent, Snapshot } from "../../../protocol/web/wire.js" */

/**
 * A room after these events.
 * @param {Partial<Snapshot>} fields
 * @param {RoomEvent[]} events
 * @returns {Room}
 */
function after(fields, ...events) {
  const room = { ...snapshot(fields), chat: [] };
  for (const event of events) fold(room, event, false);
  return room;
}

test("counts, board and likes are the newest ones", () => {
  const top = [{ rank: 1, user: { user_id: "bob", name: "Bob" }, coins: 25 }];
  const room = after({ likes: 5 }, likes({ total: 19 }), viewers({ now: 4, peak: 6, unique: 9 }), board({ top }));
  assert.deepEqual([room.likes, room.viewers, room.top], [19, { now: 4, peak: 6, unique: 9 }, top]);
});

test("what is taken back of gifts leaves the total, and never more than there is", () => {
  assert.equal(after({ coins: 10 }, gift({ coins: 5 }), refunded({ coins: 7 })).coins, 8);
  assert.equal(after({ coins: 10 }, refunded({ coins: 11 })).coins, 0);
});

test("gifts add up, and test alerts never count", () => {
  const combo = { id: "t", count: 9 };
  const room = after({ coins: 10 }, gift({ coins: 5 }), gift({ coins: 7 }), gift({ coins: 100, test: true, combo }));
  assert.equal(room.coins, 22);
  assert.deepEqual(room.open_combos, []);
});

test("a streak is open from its first gift to its end, with its cost so far", () => {
  const tap = (/** @type {number} */ count, coins = 1) => gift({ coins, combo: { id: "tap", count } });
  const room = after({}, tap(2, 2), tap(5, 3));
  const [from, to] = [person("alice"), person("creator", { role: "host" })];
  assert.deepEqual(room.open_combos, [{ id: "tap", count: 5, from, to, gift: { id: "rose" }, coins: 5 }]);
  fold(room, tap(1), false);
  assert.equal(room.open_combos[0]?.count, 5);
  fold(room, comboEnded({ combo: { id: "tap", count: 5 } }), false);
  assert.deepEqual(room.open_combos, []);
});

test("streaks of two people, or of two gifts, may have the same id", () => {
  const combo = { id: "tap", count: 1 };
  const room = after({}, gift({ combo }), gift({ combo, from: person("bob") }), gift({ combo, gift: shown("heart") }));
  assert.equal(room.open_combos.length, 3);
  fold(room, comboEnded({ combo, from: person("bob") }), false);
  assert.deepEqual(room.open_combos.map(({ from, gift: { id } }) => [from.user_id, id]),
    [["alice", "rose"], ["alice", "heart"]]);
});

test("what the snapshot has counted is not counted again, but its lines are shown", () => {
  const room = after({ coins: 10, likes: 5 });
  const events = [gift({ coins: 5 }), likes({ total: 1 }), updated({ title: "Old" }), chat({ text: "seen" })];
  for (const event of events) fold(room, event, true);
  assert.deepEqual([room.coins, room.likes, room.title], [10, 5, "Welcome"]);
  assert.deepEqual(room.chat.map((line) => line.type), ["chat.sent"]);
});

test("room updates change only the fields that they contain", () => {
  const changed = settings({ gifts: false, slow_mode_s: 5 });
  const room = after({}, updated({ title: "New", settings: changed }));
  assert.deepEqual([room.title, room.host.name, room.settings], ["New", "Creator", changed]);
  assert.equal("seq" in room, false);
  const changes = { paused: "paused", resumed: "live", suspended: "suspended", ended: "ended" };
  for (const [verb, status] of Object.entries(changes)) {
    const type = /** @type {"room.paused"} */ (`room.${verb}`);
    fold(room, { type, id: "x", seq: 1, at_ms: 1, status }, false);
    assert.equal(room.status, status);
  }
});

/** @param {string} id @param {number} current @returns {any} */
const goal = (id, current, reached = false) => ({ id, kind: "coins", title: id, target: 9, current, reached });

test("goals change, progress and are reached", () => {
  const goals = [goal("a", 0), goal("b", 0)];
  const room = after({ goals: [] }, { type: "goals.changed", id: "x", seq: 1, at_ms: 1, goals });
  const others = [goal("a", 2)];
  fold(room, { type: "goals.progressed", id: "y", seq: 2, at_ms: 1, goal: goal("b", 3), others }, false);
  assert.deepEqual(room.goals, [goal("a", 2), goal("b", 3)]);
  fold(room, { type: "goals.progressed", id: "z", seq: 3, at_ms: 1, goal: goal("a", 9, true) }, false);
  fold(room, { type: "goals.reached", id: "b", seq: 4, at_ms: 1, contributors: [] }, false);
  assert.deepEqual(room.goals, [goal("a", 9, true), goal("b", 3, true)]);
});

test("a new broadcast starts at zero, with the people who are here", () => {
  const combo = { id: "tap", count: 1 };
  const top = [{ rank: 1, user: { user_id: "bob", name: "Bob" }, coins: 25 }];
  const pins = [{ id: "p", event: chat(), by: null, until_ms: null }];
  const before = { coins: 50, likes: 7, top, goals: [goal("a", 5)], pins, viewers: { now: 3, peak: 8, unique: 20 } };
  const same = after(before, gift({ combo, coins: 1 }), updated({ broadcast_id: "first", status: "live" }));
  assert.deepEqual([same.coins, same.likes, same.open_combos.length], [51, 7, 1]);
  const begun = updated({ broadcast_id: "second", status: "live", started_at_ms: 9 });
  const next = after(before, gift({ combo }), chat(), begun);
  assert.deepEqual([next.coins, next.likes, next.top, next.pins, next.open_combos], [0, 0, [], [], []]);
  assert.deepEqual(next.goals, [goal("a", 5)], "goals go on");
  assert.deepEqual(next.viewers, { now: 3, peak: 3, unique: 3 });
  assert.deepEqual([next.broadcast_id, next.started_at_ms, next.chat.length], ["second", 9, 1]);
  const room = { ...snapshot({ broadcast_id: "second", coins: 5 }), chat: [] };
  fold(room, updated({ broadcast_id: "first", status: "live" }), true);
  assert.deepEqual([room.broadcast_id, room.coins], ["second", 5]); // replayed: the snapshot has counted the beginning
  const offline = after({ broadcast_id: null, likes: 4 }, updated({ title: "Soon" }));
  assert.equal(offline.likes, 4);
});

test("an event of a newer server changes nothing", () => {
  const room = after({});
  const before = structuredClone(room);
  fold(room, /** @type {any} */ ({ type: "polls.opened", id: "p", seq: 1, at_ms: 1 }), false);
  assert.deepEqual(room, before);
});

test("the newest two hundred lines are kept", () => {
  const room = after({});
  for (let n = 0; n < 250; n++) addLine(room, chat({ text: `line ${n}` }));
  assert.equal(room.chat.length, 200);
  assert.equal(Reflect.get(room.chat[0] ?? {}, "text"), "line 50");
});
