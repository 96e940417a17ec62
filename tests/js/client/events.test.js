/** What the client does with frames: each event once, the room folded, and a gap where something is lost. */
import assert from "node:assert/strict";

import { pass, timed as test, withRandom } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { heardErrors } from "../support/page.js";
import { FakeSocket } from "../support/socket.js";
import { chat, deleted, gift, likes, person, snapshot, welcome } from "../support/wire.js";

/** @param {{told: {events: any[]}}} joined_ */
const seqs = ({ told }) => told.events.map(({ seq }) => seq);

/** Loses the connection and reconnects. */
async function reconnected() {
  withRandom(0);
  FakeSocket.last.end(1006);
  await pass(10);
}

test("each event comes once, and the room is reported once per frame", async () => {
  const here = await joined({}, { seq: 10, room: snapshot({ likes: 3, coins: 5 }) });
  FakeSocket.last.tell(chat({ seq: 11 }), gift({ seq: 12, coins: 2 }), chat({ seq: 11 }));
  FakeSocket.last.tell({ type: "heartbeat" });
  FakeSocket.last.tell(likes({ seq: 13, total: 8 }));
  assert.deepEqual([seqs(here), here.told.rooms], [[11, 12, 13], 3]);
  const { room, seen, since } = here.client;
  assert.deepEqual([room?.coins, room?.likes, room?.chat.length, seen, since],
    [7, 8, 1, { gifts: 1, coins: 2, refunded: 0 }, "e1:13"]);
});

test("a test gift comes without a seq, and changes no total", async () => {
  const here = await joined({}, { seq: 10, room: snapshot({ coins: 5 }) });
  const { seq: _, ...unplaced } = gift({ id: "t", coins: 2, test: true });
  FakeSocket.last.tell(unplaced);
  assert.deepEqual(here.told.events.map((event) => [event.id, event.test]), [["t", true]]);
  assert.deepEqual([here.client.room?.coins, here.client.since], [5, "e1:10"]);
});

test("messages before the welcome, or of an unknown type, change nothing", async () => {
  const { client, told } = await connecting();
  FakeSocket.last.tell(chat({ seq: 1 }), { type: "notice", kind: "hidden", count: 1 });
  FakeSocket.last.tell(welcome());
  FakeSocket.last.tell({ type: "poll.told" }, { type: "polls.opened", id: "p", seq: 1, at_ms: 1 });
  assert.deepEqual(told.events.map(({ type }) => type), ["polls.opened"]);
  assert.deepEqual(client.room?.chat, []);
});

test("when a listener fails, the others still get the rest of the frame", async () => {
  const errors = heardErrors();
  const here = await connecting({ onEvent: () => { throw new Error("mine"); } });
  FakeSocket.last.tell(welcome(), chat({ seq: 1 }), chat({ seq: 2 }));
  assert.deepEqual([here.client.room?.chat.length, here.told.rooms, errors.callCount()], [2, 1, 2]);
});

test("replayed events are shown and not counted again", async () => {
  const here = await joined({}, { seq: 5, room: snapshot({ coins: 5 }) });
  await reconnected();
  FakeSocket.last.tell(welcome({ seq: 7, resumed: true, room: snapshot({ coins: 8 }) }),
    gift({ seq: 6, coins: 3, replayed: true }), chat({ seq: 7, replayed: true }), gift({ seq: 8, coins: 1 }));
  assert.deepEqual([seqs(here), here.client.room?.coins, here.client.seen.coins], [[6, 7, 8], 9, 4]);
  assert.equal(here.client.room?.chat.length, 1);
});

test("gifts of a new epoch come again below its snapshot: shown once, and not counted in the room again", async () => {
  const here = await joined({}, { seq: 5, room: snapshot({ coins: 5 }) });
  FakeSocket.last.tell(gift({ seq: 6, id: "a", coins: 2 }));
  await reconnected();
  FakeSocket.last.tell(welcome({ epoch: "e2", seq: 30, gap: { from: 1, to: 30 }, room: snapshot({ coins: 10 }) }),
    gift({ seq: 6, id: "a", coins: 2, replayed: true }), gift({ seq: 7, id: "b", coins: 3, replayed: true }),
    gift({ seq: 31, id: "c", coins: 1 }));
  assert.deepEqual([seqs(here), here.client.room?.coins, here.client.seen.coins], [[6, 7, 31], 11, 6]);
  assert.equal(here.client.since, "e2:31");
});

test("lost events are reported, and marked between the remaining lines", async () => {
  const here = await joined();
  FakeSocket.last.tell(chat({ seq: 1, text: "before" }));
  await reconnected();
  FakeSocket.last.tell(welcome({ seq: 2000, gap: { from: 2, to: 2000 }, room: snapshot({ coins: 99 }) }),
    chat({ seq: 2001, text: "after" }));
  assert.deepEqual(here.told.gaps, [{ from: 2, to: 2000 }]);
  assert.deepEqual(here.client.room?.chat.map((line) => Reflect.get(line, "text") ?? line.type),
    ["before", "gap", "after"]);
  assert.equal(here.client.room?.coins, 99);
});

test("the newest chats come behind the mark of a gap, each once and in order", async () => {
  const here = await joined({ chats: 50 });
  FakeSocket.last.tell(chat({ seq: 1, id: "a", text: "seen" }));
  for (const epoch of ["e1", "e2"]) {
    await reconnected();
    FakeSocket.last.tell(welcome({ epoch, seq: 2000, gap: { from: 2, to: 2000 }, replays: 3 }),
      chat({ seq: 1, id: "a", text: "seen", replayed: true }), gift({ seq: 1900, id: "g", replayed: true }),
      chat({ seq: 2000, id: "b", text: "newest", replayed: true }));
    assert.equal(here.client.since, `${epoch}:2000`);
  }
  assert.deepEqual(here.told.events.map(({ id }) => id), ["a", "g", "b"]);
  assert.deepEqual(here.client.room?.chat.map((line) => Reflect.get(line, "text") ?? line.type),
    ["seen", "gap", "newest", "gap"]);
});

test("deleted chats leave the room, and stay away if a replay brings them later", async () => {
  const here = await joined({ chats: 50 });
  const [bob, eve] = [{ user: person("bob"), at_ms: 100 }, { user: person("eve"), at_ms: 100 }];
  FakeSocket.last.tell(chat({ seq: 1, id: "a", ...bob }), chat({ seq: 2, id: "b", ...bob }),
    chat({ seq: 3, id: "c", ...eve }), { type: "notice", kind: "hidden", count: 1 });
  FakeSocket.last.tell(deleted({ seq: 5, id: "d", ids: ["a", "later"], user_ids: ["eve"], at_ms: 101 }));
  assert.deepEqual(here.client.room?.chat.map((line) => Reflect.get(line, "id") ?? line.type), ["b", "notice"]);
  FakeSocket.last.tell(chat({ seq: 6, id: "later" }));
  await reconnected();
  const again = { replayed: true };
  FakeSocket.last.tell(welcome({ epoch: "e2", seq: 9, gap: { from: 1, to: 9 }, replays: 5 }),
    chat({ seq: 1, id: "a", ...bob, ...again }), chat({ seq: 3, id: "c", ...eve, ...again }),
    chat({ seq: 4, id: "e", ...eve, at_ms: 101, ...again }), chat({ seq: 7, id: "f", ...eve, at_ms: 102, ...again }),
    chat({ seq: 8, id: "g", ...bob, ...again }), chat({ seq: 10, id: "h", ...eve }));
  assert.deepEqual(here.told.events.map(({ id }) => id), ["a", "b", "c", "d", "f", "g", "h"]);
});

test("the ids of a thousand chats are remembered", async () => {
  const here = await joined();
  FakeSocket.last.tell(...Array.from({ length: 1001 }, (_, n) => chat({ seq: n + 1, id: `c${n}` })));
  here.told.events.length = 0;
  await reconnected();
  FakeSocket.last.tell(welcome({ epoch: "e2", seq: 9, gap: { from: 1, to: 9 }, replays: 2 }),
    chat({ seq: 1, id: "c0", replayed: true }), chat({ seq: 2, id: "c2", replayed: true }));
  assert.deepEqual(here.told.events.map(({ id }) => id), ["c0"]);
});

test("in another epoch small numbers are new", async () => {
  const here = await joined({}, { seq: 500 });
  FakeSocket.last.tell(chat({ seq: 501 }));
  await reconnected();
  FakeSocket.last.tell(welcome({ epoch: "e2", seq: 3, gap: { from: 502, to: 3 } }), chat({ seq: 4 }));
  assert.deepEqual([seqs(here), here.client.since], [[501, 4], "e2:4"]);
});

test("a gift that is sent again under another number is shown once", async () => {
  const here = await joined();
  FakeSocket.last.tell(gift({ id: "g", seq: 1, coins: 5 }));
  await reconnected();
  FakeSocket.last.tell(welcome({ epoch: "e2", seq: 0 }), gift({ id: "g", seq: 1, coins: 5 }));
  assert.equal(here.told.events.length, 1);
  assert.deepEqual(here.client.seen, { gifts: 1, coins: 5, refunded: 0 });
});

test("hidden lines are marked and reported", async () => {
  const { client, told } = await joined();
  FakeSocket.last.tell({ type: "notice", kind: "hidden", count: 12 });
  assert.deepEqual([told.notices[0].count, client.room?.chat[0]?.type], [12, "notice"]);
});
