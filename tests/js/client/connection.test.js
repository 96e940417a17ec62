/** How the client connects, stays connected, and comes back. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { START_MS, pass, settled, timed as test, withRandom } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat, welcome } from "../support/wire.js";

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

test("the address has room, token and position, and names the protocol", async () => {
  await connecting({ room: "a/b", token: "to ken", since: "e1:7" });
  const { address, protocol } = FakeSocket.last;
  assert.equal(address.origin + address.pathname, "ws://127.0.0.1:8000/v1/rooms/a%2Fb/ws");
  assert.deepEqual([address.searchParams.get("token"), address.searchParams.get("since")], ["to ken", "e1:7"]);
  assert.equal(protocol, "liveroom.v1.json");
  await connecting({ url: "https://live.example/v1/rooms/x/ws?a=b", token: undefined });
  assert.equal(FakeSocket.last.address.href, "wss://live.example/v1/rooms/x/ws?a=b");
});

test("with the welcome it is live, and says who and where we are", async () => {
  const { client, told } = await joined({}, { seq: 40, server_time_ms: Date.now() + 5000 });
  assert.deepEqual(told.states.map(({ name }) => name), ["connecting", "live"]);
  assert.deepEqual([client.room?.title, client.you?.name, client.since], ["Welcome", "Alice", "e1:40"]);
  assert.deepEqual([told.coins, told.rooms], [[1000], 1]);
  assert.equal(client.serverNow(), Date.now() + 5000);
});

test("a lost connection is retried after a random, growing pause, from where we were", async () => {
  withRandom(1);
  const { client, told } = await joined();
  FakeSocket.last.tell(chat({ seq: 3 }));
  FakeSocket.last.end(1006);
  assert.deepEqual(client.state,
    { name: "reconnecting", reason: "connection_lost", code: 1006, retry_in_ms: 500, opened: true });
  await pass(490);
  assert.equal(FakeSocket.opened.length, 1);
  await pass(10);
  assert.equal(FakeSocket.opened.length, 2);
  assert.equal(FakeSocket.last.address.searchParams.get("since"), "e1:3");
  FakeSocket.last.end(1006);
  assert.deepEqual([told.states.at(-1).retry_in_ms, told.states.at(-1).opened], [1000, false]);
  await pass(1000);
  FakeSocket.last.tell(welcome({ seq: 3, resumed: true }));
  assert.equal(client.state.name, "live");
  FakeSocket.last.end(1006);
  assert.equal(told.states.at(-1).retry_in_ms, 2000);
});

test("a connection that lasted a while resets the pauses", async () => {
  withRandom(1);
  const { told } = await joined();
  FakeSocket.last.end(1006);
  await pass(500);
  FakeSocket.last.tell(welcome());
  await pass(5010);
  FakeSocket.last.end(1006);
  assert.equal(told.states.at(-1).retry_in_ms, 500);
});

test("close codes decide whether to come back, and give the reason", async () => {
  for (const [code, name, reason] of /** @type {[number, string, string][]} */ ([
    [1000, "closed", "ended_by_server"], [1001, "reconnecting", "going_away"],
    [1006, "reconnecting", "connection_lost"], [4001, "reconnecting", "draining"],
    [4002, "reconnecting", "slow_reader"], [4003, "reconnecting", "token_expired"],
    [4499, "reconnecting", "connection_lost"], [4500, "closed", "banned"], [4501, "closed", "room_ended"],
    [4502, "closed", "protocol_error"], [4503, "closed", "token_revoked"], [4999, "closed", "ended_by_server"],
  ])) {
    const { client } = await joined();
    FakeSocket.last.end(code);
    assert.deepEqual([client.state.name, client.state.reason, client.state.code], [name, reason, code]);
    client.close();
  }
});

test("a refused client learns why, as far as a browser can tell", async () => {
  const { client } = await connecting();
  FakeSocket.last.end(1006);
  assert.deepEqual([client.state.reason, client.state.opened], ["not_let_in", false]);
});

test("a new token is fetched when the old one may be the problem, and only then", async () => {
  withRandom(0);
  const asked = tokens("one", "two", "three");
  await joined({ getToken: asked.getToken });
  for (const [code, token] of /** @type {[number, string][]} */ ([[1006, "one"], [4003, "two"]])) {
    FakeSocket.last.end(code);
    await pass(10);
    assert.equal(FakeSocket.last.address.searchParams.get("token"), token);
    FakeSocket.last.tell(welcome());
  }
  FakeSocket.last.end(1006);
  await pass(10);
  FakeSocket.last.end(1006);
  await pass(10);
  assert.equal(FakeSocket.last.address.searchParams.get("token"), "three");
});

test("a fixed token is used again", async () => {
  withRandom(0);
  await connecting({ token: "fixed" });
  FakeSocket.last.end(4003);
  await pass(10);
  assert.equal(FakeSocket.last.address.searchParams.get("token"), "fixed");
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
  for (let beat = 0; beat < 10; beat++) {
    await pass(53_999, 5000);
    FakeSocket.last.tell({ type: "heartbeat" });
  }
  assert.equal(asked.times, 1);
  await pass(10);
  assert.deepEqual([asked.times, FakeSocket.last.sent[0].type], [2, "session.refresh"]);
  FakeSocket.last.answer({ expires_ms: Date.now() + 660_000 });
  await settled();
  FakeSocket.last.end(1006);
  assert.equal(client.state.name, "reconnecting");
  await pass(1000);
  assert.equal(FakeSocket.last.address.searchParams.get("token"), FakeSocket.opened[0]?.sent[0].token);
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

test("when the server is silent, or never answers, the connection is given up", async () => {
  withRandom(1);
  const { client } = await connecting();
  const [first] = FakeSocket.opened;
  await pass(9990);
  assert.equal(client.state.name, "connecting");
  await pass(10);
  assert.deepEqual([client.state.name, client.state.code, first?.closedWith], ["reconnecting", 4004, 4004]);
  await pass(500);
  FakeSocket.last.tell(welcome({ heartbeat_s: 5 }));
  FakeSocket.last.tell({ type: "heartbeat" }); // the default bounded the wait for the first frame
  await pass(14_990);
  assert.equal(client.state.name, "live");
  FakeSocket.last.tell({ type: "heartbeat" });
  await pass(14_990);
  assert.equal(client.state.name, "live");
  await pass(10);
  assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "unresponsive"]);
});

test("messages of an old socket are ignored", async () => {
  withRandom(0);
  const { client, told } = await joined();
  const [old] = FakeSocket.opened;
  FakeSocket.last.end(1006);
  old?.tell(chat({ seq: 9 }));
  old?.end(4500);
  await pass(10);
  assert.deepEqual([told.events, client.state.name], [[], "reconnecting"]);
  assert.equal(FakeSocket.opened.length, 2);
});

test("a node that stops says when to come back, and the client does", async () => {
  withRandom(1);
  const { client, told } = await joined();
  FakeSocket.last.tell({ type: "notice", kind: "draining", reconnect_in_ms: 740 });
  assert.deepEqual([told.notices.length, client.state.name], [1, "live"]);
  await pass(730);
  assert.equal(client.state.name, "live");
  await pass(10);
  assert.deepEqual([client.state.reason, client.state.retry_in_ms], ["draining", 0]);
  await pass(10);
  assert.equal(FakeSocket.opened.length, 2);
});

test("when a stopping node is gone early, the client still comes back at the given time", async () => {
  withRandom(1);
  const { client } = await joined();
  FakeSocket.last.tell({ type: "notice", kind: "draining", reconnect_in_ms: 2000 });
  await pass(500);
  FakeSocket.last.end(1001);
  assert.equal(client.state.retry_in_ms, 1500);
  await pass(1500);
  FakeSocket.last.end(1006);
  assert.equal(client.state.retry_in_ms, 1000);
});

test("when the network is back, a long pause is cut short", async () => {
  withRandom(1);
  /** @type {(() => void)[]} */
  const listeners = [];
  const own = {
    addEventListener: (/** @type {string} */ name, /** @type {() => void} */ heard) => listeners.push(heard),
    removeEventListener: () => listeners.splice(0),
  };
  Object.assign(globalThis, own);
  try {
    const { client } = await connecting();
    for (const ms of [500, 1000, 2000, 4000]) {
      FakeSocket.last.end(1006);
      await pass(ms);
    }
    FakeSocket.last.end(1006);
    listeners[0]?.();
    await pass(500);
    assert.equal(FakeSocket.opened.length, 6);
    FakeSocket.last.tell(welcome());
    listeners[0]?.();
    await pass(500);
    assert.equal(FakeSocket.opened.length, 6);
    client.close();
    assert.equal(listeners.length, 0);
  } finally {
    for (const name of Object.keys(own)) Reflect.deleteProperty(globalThis, name);
  }
});

test("a client that leaves stays away", async () => {
  const { client, told } = await joined();
  const asked = assert.rejects(client.ping(), { reason: "closed" });
  client.close();
  client.close();
  await asked;
  assert.deepEqual([client.state, FakeSocket.last.closedWith], [{ name: "closed", reason: "left", code: 1000 }, 1000]);
  assert.equal(told.states.filter(({ name }) => name === "closed").length, 1);
  await pass(60_000);
  assert.equal(FakeSocket.opened.length, 1);
  await assert.rejects(client.sendChat("x"), { reason: "closed" });
});

test("a client that leaves before there is a token opens no socket", async () => {
  const getToken = () => new Promise((resolve) => { setTimeout(() => resolve("late"), 100); });
  const { client } = await connecting({ getToken: /** @type {() => Promise<string>} */ (getToken) });
  client.close();
  await pass(200);
  assert.equal(FakeSocket.opened.length, 0);
});

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
  assert.deepEqual([client.state.name, client.state.reason, heard.mock.callCount()], ["closed", "cannot_connect", 1]);
});
