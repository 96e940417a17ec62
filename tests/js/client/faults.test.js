/** What goes wrong around a client: a clock that is set, a broken frame, no socket at all. And who waits. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { START_MS, pass, timed as test } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { welcome } from "../support/wire.js";

test("ready waits until the client is live; it fails when the client is out for good", async () => {
  const { client } = await connecting();
  const ready = client.ready();
  FakeSocket.last.end(1006);
  await pass(1000);
  FakeSocket.last.tell(welcome());
  assert.equal(await ready, client);
  assert.equal(await client.ready(), client);
  FakeSocket.last.end(1006);
  const failed = assert.rejects(client.ready(), { name: "Refused", reason: "banned" });
  await pass(1000);
  FakeSocket.last.end(4500);
  await failed;
  await assert.rejects(client.ready(), { reason: "banned" });
});

test("a clock that is set while the client is open changes nothing", async () => {
  mock.method(performance, "now", () => 5000);
  const { client } = await joined({}, { server_time_ms: START_MS });
  mock.timers.setTime(START_MS + 7_200_000);
  assert.equal(client.serverNow(), START_MS);
  client.sendGift({ gift: "rose" });
  assert.equal(parseInt(FakeSocket.last.sent[0].id.replaceAll("-", "").slice(0, 12), 16), START_MS);
});

test("a frame that is no JSON ends the connection, not the program", async () => {
  const { client } = await joined();
  for (const data of ["{", "7", "null", "[null]", "[7]"]) {
    FakeSocket.last.onmessage({ data });
    assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "connection_lost"]);
    await pass(1000);
    FakeSocket.last.tell(welcome());
  }
});

test("a socket that cannot even be made is the end, with a reason", async () => {
  const Broken = /** @type {any} */ (class { constructor() { throw new DOMException("insecure", "SecurityError"); } });
  const heard = mock.method(console, "error", () => {});
  const { client } = await connecting({ WebSocket: Broken });
  assert.deepEqual(client.state, { name: "closed", reason: "cannot_connect", code: 1006 });
  assert.equal(heard.mock.callCount(), 1);
});
