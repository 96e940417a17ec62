/** What staff decides about the person of this client, and what this socket alone gets. */
import assert from "node:assert/strict";

import { timed as test } from "../support/clock.js";
import { joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat } from "../support/wire.js";

/**
 * @param {string} type
 * @param {object} fields
 */
const about = (type, fields) =>
  ({ type, id: "x", at_ms: 1, user_id: "alice", by: { user_id: "h", name: "H" }, ...fields });

test("a mute and a promotion change who you are, one of somebody else changes nothing", async () => {
  const here = await joined();
  const told = here.told.coins.length;
  FakeSocket.last.tell(about("members.muted", { seq: 1, until_ms: 9, reason: "" }));
  assert.deepEqual([here.client.you?.muted, here.client.you?.muted_until_ms], [true, 9]);
  FakeSocket.last.tell(about("members.unmuted", { seq: 2 }), about("members.promoted", { seq: 3 }));
  assert.deepEqual([here.client.you?.muted, here.client.you?.muted_until_ms, here.client.you?.role],
    [false, null, "moderator"]);
  FakeSocket.last.tell(about("members.demoted", { seq: 4 }), about("members.muted", { seq: 5, user_id: "bob" }),
    about("members.kicked", { seq: 6 }));
  assert.deepEqual([here.client.you?.role, here.client.you?.muted], ["viewer", false]);
  assert.equal(here.told.coins.length - told, 4);
});

test("a host is neither promoted nor demoted", async () => {
  const here = await joined({}, { you: { user_id: "alice", name: "A", role: "host", coins: 1, muted_until_ms: null,
    member_id: "m", muted: false } });
  FakeSocket.last.tell(about("members.promoted", { seq: 1 }), about("members.demoted", { seq: 2 }));
  assert.equal(here.client.you?.role, "host");
});

test("a replayed mute that the welcome has counted changes nothing", async () => {
  const here = await joined({}, { seq: 5 });
  FakeSocket.last.tell(about("members.muted", { seq: 4, until_ms: 9, reason: "", replayed: true }));
  assert.equal(here.client.you?.muted ?? false, false);
});

test("a hidden message is a line of chat without a place; a warning is for who listens", async () => {
  /** @type {any[]} */
  const messages = [];
  const here = await joined({ onMessage: (message) => messages.push(message) }, { seq: 5 });
  const { seq: _, ...hidden } = chat({ seq: 1, text: "grr" });
  FakeSocket.last.tell(hidden, { type: "members.warned", text: "Be nice", by: { user_id: "h", name: "H" } });
  assert.deepEqual([here.client.room?.chat.length, here.told.events.length, here.client.since], [1, 1, "e1:5"]);
  assert.deepEqual(messages.map(({ type, text }) => [type, text]), [["members.warned", "Be nice"]]);
});
