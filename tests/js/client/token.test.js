/** Which token the client shows, and when it asks for another. */
import assert from "node:assert/strict";

import { join } from "../../../protocol/web/liveroom.js";
import { pass, settled, timed as test, withRandom } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { AsWebSocket, FakeSocket } from "../support/socket.js";
import { welcome } from "../support/wire.js";

/**
 * A token that says when it expires.
 * @param {number} expiresMs
 */
const tokenUntil = (expiresMs) => `x.${toBase64Url(JSON.stringify({ exp: expiresMs / 1000, name: ">>>>>>??????" }))}.y`;
/** @param {string} text */
const toBase64Url = (text) => btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/**
 * Gives the first token, then the second, ..., then the last one forever.
 * @param {string[]} given
 */
function tokens(...given) {
  const getToken = async () => given[Math.min(asked.times++, given.length - 1)] ?? "";
  const asked = { times: 0, getToken };
  return asked;
}

test("an expired token is replaced where there can be a newer one", async () => {
  withRandom(0);
  const { client } = await connecting({ getToken: tokens("old", "new").getToken });
  FakeSocket.last.end(4003);
  assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "token_expired"]);
  await pass(10);
  assert.equal(FakeSocket.last.token, "new");
});

test("a token that was not accepted is replaced, once", async () => {
  withRandom(0);
  const asked = tokens("old", "new");
  const { client } = await connecting({ getToken: asked.getToken });
  FakeSocket.last.end(4511);
  assert.deepEqual([client.state.name, client.state.reason, client.state.code], ["reconnecting", "bad_token", 4511]);
  await pass(10);
  assert.equal(FakeSocket.last.token, "new");
  FakeSocket.last.end(4511);
  assert.deepEqual([client.state.name, client.state.reason, asked.times], ["closed", "bad_token", 2]);
});

test("once a token was accepted, a later one may be replaced again", async () => {
  withRandom(0);
  const { client } = await joined({ getToken: tokens("one", "two").getToken });
  for (let times = 0; times < 2; times++) {
    FakeSocket.last.end(1006);
    await pass(10);
    FakeSocket.last.end(4511);
    assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "bad_token"]);
    await pass(10);
    FakeSocket.last.tell(welcome());
  }
});

test("the network's return asks for no second token while one is on its way", async () => {
  /** @type {(() => void)[]} */
  const listeners = [];
  /** @type {(name: string, heard: () => void) => void} */
  const addEventListener = (_, heard) => { listeners.push(heard); };
  Object.assign(globalThis, { addEventListener });
  try {
    let asked = 0;
    await connecting({ getToken: () => new Promise(() => { asked++; }) });
    listeners[0]?.();
    await pass(500);
    assert.equal(asked, 1);
  } finally {
    Reflect.deleteProperty(globalThis, "addEventListener");
  }
});

test("a new token is fetched when the old one may be the problem, and only then", async () => {
  withRandom(0);
  const asked = tokens("one", "two", "three");
  await joined({ getToken: asked.getToken });
  for (const [code, token] of /** @type {[number, string][]} */ ([[1006, "one"], [4003, "two"]])) {
    FakeSocket.last.end(code);
    await pass(10);
    assert.equal(FakeSocket.last.token, token);
    FakeSocket.last.tell(welcome());
  }
  FakeSocket.last.end(1006);
  await pass(10);
  FakeSocket.last.end(1006);
  await pass(10);
  assert.equal(FakeSocket.last.token, "three");
});

test("a fixed token is used again", async () => {
  withRandom(0);
  await connecting({ token: "fixed" });
  FakeSocket.last.end(4003);
  await pass(10);
  assert.equal(FakeSocket.last.token, "fixed");
});

test("while there is no token it tries again", async () => {
  withRandom(1);
  let away = true;
  const getToken = async () => { if (away) throw new Error("away"); return "t"; };
  const { client } = await connecting({ getToken });
  assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "no_token"]);
  away = false;
  await pass(500);
  FakeSocket.last.tell(welcome());
  assert.equal(client.state.name, "live");
});

test("a token is exchanged on the same socket before it expires", async () => {
  const asked = tokens(tokenUntil(Date.now() + 600_000), tokenUntil(Date.now() + 1_200_000));
  const { client } = await joined({ getToken: asked.getToken });
  for (let beat = 0; beat < 20; beat++) {
    await pass(26_999, 5000);
    FakeSocket.last.tell({ type: "heartbeat" });
  }
  assert.equal(asked.times, 1);
  await pass(20);
  assert.deepEqual([asked.times, FakeSocket.last.sent[0].type], [2, "session.refresh"]);
  FakeSocket.last.answer({ expires_ms: Date.now() + 660_000 });
  await settled();
  FakeSocket.last.end(1006);
  assert.equal(client.state.name, "reconnecting");
  await pass(1000);
  assert.equal(FakeSocket.last.token, FakeSocket.opened[0]?.sent[0].token);
});

test("a short token is exchanged at four fifths of its life, a year-long one not immediately", async () => {
  const short = tokens(tokenUntil(Date.now() + 10_000));
  await joined({ getToken: short.getToken });
  await pass(7990);
  assert.equal(short.times, 1);
  await pass(10);
  assert.equal(short.times, 2);
  const long = tokens(tokenUntil(Date.now() + 366 * 86_400_000));
  await joined({ getToken: long.getToken });
  await pass(1000);
  assert.equal(long.times, 1);
});

test("each new token is exchanged in its turn", async () => {
  const { getToken, ...asked } = tokens(...[10_000, 20_000, 40_000].map((ms) => tokenUntil(Date.now() + ms)));
  await joined({ getToken });
  for (const ms of [8000, 9600]) {
    await pass(ms, 100);
    assert.equal(FakeSocket.last.sent.at(-1).type, "session.refresh");
    FakeSocket.last.answer({ expires_ms: 0 });
    await settled();
  }
  assert.deepEqual([FakeSocket.last.sent.length, asked.times], [2, 0]);
});

test("a refresh that spans a reconnect begins no second chain", async () => {
  withRandom(0);
  /** @type {((token: string) => void)[]} */
  const asking = [];
  const first = tokenUntil(Date.now() + 10_000);
  let times = 0;
  const getToken = () => (times++ ? new Promise((resolve) => { asking.push(resolve); }) : first);
  await joined({ getToken: /** @type {() => Promise<string>} */ (getToken) });
  await pass(8000);
  assert.equal(asking.length, 1); // the platform takes its time ...
  FakeSocket.last.end(1006); // ... and the connection is lost meanwhile
  await pass(10);
  FakeSocket.last.tell(welcome());
  asking[0]?.(tokenUntil(Date.now() + 60_000));
  await settled();
  assert.deepEqual(FakeSocket.last.sent, []); // the old chain has ended
  await pass(8000);
  assert.equal(asking.length, 2); // and the new one asks by itself
  asking[1]?.(tokenUntil(Date.now() + 60_000));
  await settled();
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["session.refresh"]);
  await pass(20_000);
  assert.equal(asking.length, 2);
});

test("who asks while a token is on its way gets the same one", async () => {
  withRandom(0);
  /** @type {(token: string) => void} */
  let give = () => {};
  let times = 0;
  const first = tokenUntil(Date.now() + 10_000);
  const getToken = () => (times++ ? new Promise((resolve) => { give = resolve; }) : first);
  await joined({ getToken: /** @type {() => Promise<string>} */ (getToken) });
  await pass(8000);
  FakeSocket.last.end(4003); // expired, while the newer one is made
  await pass(10);
  assert.equal(times, 2);
  give("newer");
  await settled();
  assert.equal(FakeSocket.last.token, "newer");
});

test("who leaves leaves no token behind", async () => {
  const asked = tokens("one", "two");
  const { client } = await joined({ getToken: asked.getToken });
  client.close();
  client.open();
  await settled();
  assert.equal(FakeSocket.last.token, "two");
});

test("who leaves while a token is asked for stays away, also if there is none", async () => {
  const client = join({ room: "demo", base: "http://x", WebSocket: AsWebSocket, getToken: async () => {
    client.close();
    throw new Error("withdrawn");
  } });
  await settled();
  await pass(60_000, 1000);
  assert.deepEqual([client.state.name, client.state.reason], ["closed", "left"]);
});
