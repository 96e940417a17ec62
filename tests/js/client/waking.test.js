/** A computer that slept, a page that was in the background, a clock that was set: the server says what is true. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { pass, settled, START_MS, timed as test, withRandom } from "../support/clock.js";
import { joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat, welcome } from "../support/wire.js";

const HOURS_MS = 3 * 3600 * 1000;

/** What the browser calls when the page is seen again. */
function page() {
  /** @type {Map<string, () => void>} */
  const heard = new Map();
  const target = {
    addEventListener: (/** @type {string} */ name, /** @type {() => void} */ then) => { heard.set(name, then); },
    removeEventListener: (/** @type {string} */ name) => { heard.delete(name); },
  };
  Object.assign(globalThis, { document: target });
  return { heard, wake: () => heard.get("visibilitychange")?.() };
}

/** The computer sleeps: the wall clock goes on, timers and `performance.now` do not. @param {number} ms */
function sleep(ms) {
  mock.method(performance, "now", () => Date.now() - START_MS - ms);
  mock.timers.setTime(Date.now() + ms);
}

test("a silent server is asked before it is given up, and its answer keeps the connection", async () => {
  const { client } = await joined({}, { heartbeat_s: 5 });
  await pass(9990);
  assert.deepEqual(FakeSocket.last.sent, []);
  await pass(10);
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["ping"]);
  await pass(4990);
  FakeSocket.last.answer({ server_time_ms: Date.now() });
  await pass(9990);
  assert.equal(client.state.name, "live");
  await pass(5010);
  assert.deepEqual([client.state.name, client.state.code], ["reconnecting", 4004]);
});

test("a page that is seen again after a long time asks at once, for the time too", async () => {
  const { heard, wake } = page();
  try {
    const { client } = await joined();
    wake();
    assert.deepEqual(FakeSocket.last.sent, []); // it has just been told something
    await settled();
    sleep(HOURS_MS);
    wake();
    assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["ping"]);
    FakeSocket.last.answer({ server_time_ms: Date.now() });
    await settled();
    assert.deepEqual([client.serverNow(), client.state.name], [Date.now(), "live"]);
    client.close();
    assert.equal(heard.size, 0);
  } finally {
    Reflect.deleteProperty(globalThis, "document");
  }
});

test("after a sleep a dead connection is noticed in seconds, and a welcome says whether all is there", async () => {
  withRandom(0);
  const { wake } = page();
  try {
    const { client, told } = await joined();
    sleep(HOURS_MS);
    wake();
    await pass(5000);
    assert.deepEqual([client.state.name, client.state.code], ["reconnecting", 4004]);
    await pass(10);
    FakeSocket.last.tell(welcome({ seq: 9, resumed: true })); // hours, and yet nothing is missing: it says so
    assert.deepEqual([client.state.name, told.gaps], ["live", []]);
  } finally {
    Reflect.deleteProperty(globalThis, "document");
  }
});

test("the newest event sets a clock right that slept", async () => {
  const { client } = await joined();
  sleep(HOURS_MS);
  assert.equal(client.serverNow(), Date.now() - HOURS_MS);
  FakeSocket.last.tell(chat({ seq: 11, at_ms: Date.now() - HOURS_MS, replayed: true }));
  assert.equal(client.serverNow(), Date.now() - HOURS_MS);
  FakeSocket.last.tell(chat({ seq: 12, at_ms: Date.now() }));
  assert.equal(client.serverNow(), Date.now());
  FakeSocket.last.tell(chat({ seq: 13, at_ms: Date.now() - 5000 })); // it was under way
  assert.equal(client.serverNow(), Date.now());
});
