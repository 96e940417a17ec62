/** The position that an application keeps: it moves when the handlers have run. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { pass, settled, timed as test, withRandom } from "../support/clock.js";
import { joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat, welcome } from "../support/wire.js";

test("while an event is handled the position is the one before it", async () => {
  /** @type {(string|null)[]} */
  const kept = [];
  const { client } = await joined({ onEvent: () => { kept.push(client.since); } }, { seq: 10 });
  FakeSocket.last.tell(chat({ seq: 11 }), chat({ seq: 12 }));
  assert.deepEqual([kept, client.since], [["e1:10", "e1:11"], "e1:12"]);
});

test("a handler that takes a while holds the position, also for those behind it", async () => {
  withRandom(0);
  const error = mock.method(console, "error", () => {});
  /** @type {{resolve: () => void, reject: (error: Error) => void}[]} */
  const running = [];
  const onEvent = () => new Promise((resolve, reject) => { running.push({ resolve: () => resolve(null), reject }); });
  const { client } = await joined({ onEvent }, { seq: 10 });
  FakeSocket.last.tell(chat({ seq: 11 }), chat({ seq: 12 }), chat({ seq: 13 }));
  running[1]?.resolve();
  await settled();
  assert.equal(client.since, "e1:10");
  FakeSocket.last.end(1006); // what came is being handled: it need not come again
  await pass(10);
  assert.equal(FakeSocket.last.address.searchParams.get("since"), "e1:13");
  FakeSocket.last.tell(welcome({ seq: 13, resumed: true }));
  running[0]?.resolve();
  await settled();
  assert.equal(client.since, "e1:12");
  running[2]?.reject(new Error("of the application"));
  await settled();
  assert.deepEqual([client.since, error.mock.callCount()], ["e1:13", 1]);
});

test("a handler that leaves gets nothing more, and the position stays behind what it got", async () => {
  let times = 0;
  const { client } = await joined({ onEvent: () => { times++; client.close(); } }, { seq: 10 });
  FakeSocket.last.tell(chat({ seq: 11 }), chat({ seq: 12 }));
  assert.deepEqual([times, client.since], [1, "e1:11"]);
});
