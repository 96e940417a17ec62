/** How the client connects, stays connected, and comes back. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { retryAfterMs } from "../../../protocol/web/liveroom/closes.js";
import { pass, timed as test, withRandom } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { chat, welcome } from "../support/wire.js";

test("the address has room, token and position, and names the protocol", async () => {
  await connecting({ room: "a/b", token: "to ken", since: "e1:7" });
  const { address, protocols } = FakeSocket.last;
  assert.equal(address.origin + address.pathname, "ws://127.0.0.1:8000/v1/rooms/a%2Fb/ws");
  assert.deepEqual([address.searchParams.get("token"), address.searchParams.get("since")], ["to ken", "e1:7"]);
  assert.deepEqual(protocols, ["liveroom.v1.json"]);
  await connecting({ token: "eyJ.e-30._a" });
  assert.equal(FakeSocket.last.address.searchParams.get("token"), null); // it stands in no address and no log
  assert.deepEqual(FakeSocket.last.protocols, ["liveroom.v1.json", "liveroom.token.eyJ.e-30._a"]);
  await connecting({ url: "https://live.example/v1/rooms/x/ws?a=b", token: undefined });
  assert.equal(FakeSocket.last.address.href, "wss://live.example/v1/rooms/x/ws?a=b&refusals=close");
});

test("it asks for chats if told to, also on coming back: there may be a gap", async () => {
  withRandom(1);
  await connecting();
  assert.equal(FakeSocket.last.address.searchParams.get("chats"), null);
  const { client, told } = await joined({ chats: 50 }, { seq: 9 });
  assert.equal(FakeSocket.last.address.searchParams.get("chats"), "50");
  FakeSocket.last.tell(chat({ seq: 3, replayed: true }), chat({ seq: 7, replayed: true }));
  assert.deepEqual([told.events.map(({ seq }) => seq), client.room?.chat.length, client.since], [[3, 7], 2, "e1:9"]);
  FakeSocket.last.end(1006);
  await pass(500);
  const { searchParams } = FakeSocket.last.address;
  assert.deepEqual([searchParams.get("since"), searchParams.get("chats")], ["e1:9", "50"]);
});

test("with the welcome it is live, and says who and where we are", async () => {
  const { client, told } = await joined({}, { seq: 40, server_time_ms: Date.now() + 5000 });
  assert.deepEqual(told.states.map(({ name }) => name), ["connecting", "live"]);
  assert.deepEqual([client.room?.title, client.you?.name, client.since], ["Welcome", "Alice", "e1:40"]);
  assert.deepEqual([told.coins, told.rooms], [[1000], 1]);
  assert.equal(client.serverNow(), Date.now() + 5000);
});

test("before the welcome its clock is the computer's", async () => {
  await pass(1000);
  const { client } = await connecting();
  await pass(1000);
  assert.equal(client.serverNow(), Date.now());
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

test("a connection that lived only a moment does not, however long it took to be made", async () => {
  withRandom(1);
  const { told } = await connecting();
  await pass(6000);
  FakeSocket.last.tell(welcome());
  FakeSocket.last.end(1006);
  await pass(500);
  FakeSocket.last.tell(welcome());
  FakeSocket.last.end(1006);
  assert.equal(told.states.at(-1).retry_in_ms, 1000);
});

test("close codes decide whether to come back, and give the reason", async () => {
  for (const [code, name, reason] of /** @type {[number, string, string][]} */ ([
    [1000, "closed", "ended_by_server"], [1001, "reconnecting", "going_away"],
    [1006, "reconnecting", "connection_lost"], [1002, "closed", "protocol_error"], [1003, "closed", "protocol_error"],
    [1007, "closed", "protocol_error"], [1008, "closed", "protocol_error"], [1009, "closed", "protocol_error"],
    [1010, "closed", "protocol_error"], [1011, "reconnecting", "connection_lost"], [4001, "reconnecting", "draining"],
    [4002, "reconnecting", "slow_reader"], [4003, "reconnecting", "token_expired"],
    [4499, "reconnecting", "connection_lost"], [4006, "reconnecting", "unavailable"],
    [4007, "reconnecting", "too_many_connections"], [4008, "reconnecting", "room_restarts"],
    [4500, "closed", "banned"], [4501, "closed", "room_ended"], [4502, "closed", "protocol_error"],
    [4503, "closed", "token_revoked"], [4510, "closed", "token_missing"], [4511, "closed", "bad_token"],
    [4512, "closed", "wrong_room"], [4513, "closed", "no_such_room"],
    [4999, "closed", "ended_by_server"],
  ])) {
    const { client } = await joined();
    FakeSocket.last.end(code);
    assert.deepEqual([client.state.name, client.state.reason, client.state.code], [name, reason, code]);
    client.close();
  }
});

test("a refused client has one clear state", async () => {
  for (const [code, name, reason] of /** @type {[number, string, string][]} */ ([
    [4003, "closed", "token_expired"], [4006, "reconnecting", "unavailable"],
    [4007, "reconnecting", "too_many_connections"], [4500, "closed", "banned"], [4503, "closed", "token_revoked"],
    [4510, "closed", "token_missing"], [4511, "closed", "bad_token"], [4512, "closed", "wrong_room"],
    [4513, "closed", "no_such_room"],
  ])) {
    const { client } = await connecting();
    assert.equal(FakeSocket.last.address.searchParams.get("refusals"), "close");
    FakeSocket.last.end(code);
    assert.deepEqual([client.state.name, client.state.reason, client.state.code], [name, reason, code]);
    client.close();
  }
});

test("a server that says when to come back is not asked before", async () => {
  withRandom(0.5);
  const { client, told } = await connecting();
  FakeSocket.last.end(4007, "retry_after_ms=5000");
  assert.equal(told.states.at(-1).retry_in_ms, 5250);
  await pass(5240);
  assert.equal(FakeSocket.opened.length, 1);
  await pass(10);
  assert.equal(FakeSocket.opened.length, 2);
  assert.deepEqual(["soon", "retry_after_ms=7", undefined].map(retryAfterMs), [0, 7, 0]);
  FakeSocket.last.end(4006, "retry_after_ms=soon");
  assert.equal(told.states.at(-1).retry_in_ms, 1000);
  client.close();
});

/** @param {(string | number | Error)[]} answers the room's status, or that of the answer, one after the other */
function rooms(...answers) {
  /** @type {string[]} */
  const asked = [];
  mock.method(globalThis, "fetch", async (/** @type {string} */ address) => {
    asked.push(address);
    const answer = answers.shift() ?? "ended";
    if (answer instanceof Error) throw answer;
    return { ok: typeof answer === "string", json: async () => ({ status: answer }) };
  });
  return asked;
}

test("after the end it asks now and then, and joins the next broadcast", async () => {
  withRandom(0);
  const asked = rooms("ended", 503, new TypeError("away"), "live");
  const { client, told } = await joined({ room: "a/b", token: "t" });
  FakeSocket.last.end(4501);
  assert.deepEqual([client.state.name, client.state.reason], ["closed", "room_ended"]);
  await pass(79_000, 1000);
  assert.deepEqual(asked, Array(3).fill("http://127.0.0.1:8000/v1/rooms/a%2Fb"));
  await pass(1000);
  assert.equal(client.state.name, "connecting");
  FakeSocket.last.tell(welcome({ seq: 1, epoch: "e2" }));
  assert.equal(told.states.at(-1).name, "live");
});

test("it asks at most every 40 s, and not any more once it has left", async () => {
  withRandom(0.999);
  const asked = rooms("ended", "live");
  const { client } = await joined();
  FakeSocket.last.end(4501);
  await pass(39_000, 1000);
  assert.equal(asked.length, 0);
  await pass(1000);
  assert.equal(asked.length, 1);
  client.close();
  await pass(60_000, 1000);
  assert.deepEqual([asked.length, FakeSocket.opened.length], [1, 1]);
});

test("who leaves while the answer is under way stays away", async () => {
  withRandom(0);
  /** @type {(answer: unknown) => void} */
  let answer = () => {};
  mock.method(globalThis, "fetch", () => new Promise((resolve) => { answer = resolve; }));
  const { client } = await joined();
  FakeSocket.last.end(4501);
  await pass(20_000, 1000);
  client.close();
  answer({ ok: true, json: async () => ({ status: "live" }) });
  await pass(100);
  assert.deepEqual([client.state.reason, FakeSocket.opened.length], ["room_ended", 1]);
});

test("a refused client learns why, as far as a browser can tell", async () => {
  const { client } = await connecting();
  FakeSocket.last.end(1006);
  assert.deepEqual([client.state.reason, client.state.opened], ["not_let_in", false]);
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
    await pass(490);
    assert.equal(FakeSocket.opened.length, 5); // everybody's network is back at once: not all of them come at once
    await pass(10);
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
