/** The pins of a room, as its events change them. */
import assert from "node:assert/strict";

import { timed as test } from "../support/clock.js";
import { joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat, snapshot } from "../support/wire.js";

/** @param {string} id */
const pin = (id) => ({ id, event: chat({ seq: 1 }), by: null, until_ms: null });

test("a pin is added once and taken off, and a new broadcast has none", async () => {
  const here = await joined({}, { seq: 5, room: snapshot({ pins: [pin("a")] }) });
  const pins = () => here.client.room?.pins.map(({ id }) => id);
  FakeSocket.last.tell({ type: "chat.pinned", id: "1", seq: 6, at_ms: 1, pin: pin("b") },
    { type: "chat.pinned", id: "2", seq: 7, at_ms: 1, pin: pin("b") });
  assert.deepEqual(pins(), ["a", "b"]);
  FakeSocket.last.tell({ type: "chat.unpinned", id: "3", seq: 8, at_ms: 1, pin: "a" });
  assert.deepEqual(pins(), ["b"]);
  FakeSocket.last.tell({ type: "room.updated", id: "4", seq: 9, at_ms: 1, broadcast_id: "next", status: "live" });
  assert.deepEqual(pins(), []);
});
