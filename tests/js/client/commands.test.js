/** What the client sends, and what it does with the replies. */
import assert from "node:assert/strict";

import { pass, settled, timed as test, withRandom } from "../support/clock.js";
import { connecting, joined } from "../support/joined.js";
import { FakeSocket } from "../support/socket.js";
import { welcome, you } from "../support/wire.js";

/** The time in a UUIDv7. @param {string} id */
const timeOf = (id) => parseInt(id.replaceAll("-", "").slice(0, 12), 16);

test("a command needs a connection", async () => {
  const { client } = await connecting();
  await assert.rejects(client.sendChat("x"), { reason: "not_connected" });
  await assert.rejects(client.sendGift({ gift: "rose" }), { reason: "not_connected" });
  assert.deepEqual(FakeSocket.last.sent, []);
});

test("each command gets its own reply", async () => {
  const { client } = await joined();
  const [one, two] = [client.sendChat("one"), client.sendChat("two")];
  assert.deepEqual(FakeSocket.last.sent.map(({ text, ref }) => [text, ref]), [["one", "c1"], ["two", "c2"]]);
  FakeSocket.last.tell({ type: "ok", ref: "c2", id: "b", seq: 2 }, { type: "ok", ref: "c1", id: "a", seq: 1 });
  assert.deepEqual([(await one).id, (await two).id], ["a", "b"]);
});

test("a refusal rejects the command, and so does a missing reply", async () => {
  const { client } = await joined({ timeoutMs: 300 });
  const slow = assert.rejects(client.sendChat("x"), { name: "Refused", reason: "slow_mode", retry_after_ms: 4200 });
  FakeSocket.last.tell({ type: "refused", ref: "c1", reason: "slow_mode", message: "Slow.", retry_after_ms: 4200 });
  await slow;
  const late = assert.rejects(client.sendChat("y"), { reason: "timeout" });
  await pass(300);
  await late;
});

test("likes are 1 to 50 at once", async () => {
  const { client } = await joined();
  for (const count of [-1, 0, 7, 50, 51]) client.sendLikes(count);
  assert.deepEqual(FakeSocket.last.sent.map(({ type, count }) => [type, count]),
    [1, 1, 7, 50, 50].map((count) => ["likes.send", count]));
});

test("a ping returns the server's clock", async () => {
  const { client } = await joined();
  await pass(1000);
  const asked = client.ping();
  FakeSocket.last.answer({ server_time_ms: Date.now() - 90_000 });
  assert.equal((await asked).server_time_ms, Date.now() - 90_000);
  assert.equal(client.serverNow(), Date.now() - 90_000);
});

test("a gift has an id with the server's time, and contains only the given fields", async () => {
  const { client } = await joined({}, { server_time_ms: Date.now() + 300_000 });
  client.sendGift({ gift: "rose", message: "", combo: undefined });
  const [{ id, ref, ...sent }] = FakeSocket.last.sent;
  assert.deepEqual(sent, { type: "gifts.send", gift: "rose", count: 1 });
  assert.equal(timeOf(id), Date.now() + 300_000);
  const all = { gift: "rose", count: 5, to: "creator", combo: "tap", message: "Hello!", id: "mine" };
  client.sendGift(all);
  assert.deepEqual(FakeSocket.last.sent[1], { type: "gifts.send", ref: "c2", ...all });
});

test("a gift's reply has the new balance; that of a duplicate has the balance of that time", async () => {
  const { client, told } = await joined();
  const first = client.sendGift({ gift: "rose" });
  FakeSocket.last.answer({ id: "a", duplicate: false, coins: 999, combo: null, entry: "1-5" });
  assert.equal((await first).coins, 999);
  await settled();
  const second = client.sendGift({ gift: "rose", id: "old" });
  FakeSocket.last.answer({ id: "old", duplicate: true, coins: 5000, combo: null, entry: "1-6" });
  await second;
  await settled();
  assert.deepEqual([told.coins, client.you?.coins], [[1000, 999], 999]);
});

test("every error of a gift contains its id", async () => {
  const { client } = await joined();
  const sent = client.sendGift({ gift: "rose" });
  const [{ id }] = FakeSocket.last.sent;
  FakeSocket.last.tell({ type: "refused", ref: "c1", reason: "wallet_unavailable", message: "W.", retry_after_ms: 5 });
  await assert.rejects(sent, { reason: "wallet_unavailable", id });
});

test("a gift outlives its connection and is sent again with its id; a message is not", async () => {
  withRandom(0);
  const { client } = await joined();
  const gift = client.sendGift({ gift: "rose" });
  const lost = assert.rejects(client.sendChat("x"), { reason: "connection_lost" });
  const [asked] = FakeSocket.last.sent;
  FakeSocket.last.end(1006);
  await lost;
  const meanwhile = client.sendGift({ gift: "heart" });
  await pass(10);
  assert.deepEqual(FakeSocket.last.sent, []);
  FakeSocket.last.tell(welcome());
  assert.deepEqual(FakeSocket.last.sent.map(({ gift: name }) => name), ["rose", "heart"]);
  assert.deepEqual(FakeSocket.last.sent[0], asked);
  const reply = { duplicate: false, coins: 9, combo: null, entry: "1-1" };
  FakeSocket.last.tell({ type: "ok", ref: "c1", id: asked.id, ...reply }, { type: "ok", ref: "c3", id: "h", ...reply });
  assert.equal((await gift).id, asked.id);
  await meanwhile;
});

test("what is asked while away waits for the connection, and is sent once", async () => {
  withRandom(0);
  const { client } = await joined();
  FakeSocket.last.end(1006);
  const said = client.sendChat("one");
  await assert.rejects(client.sendLikes(3), { reason: "not_connected" }); // worth nothing later
  await pass(10);
  FakeSocket.last.tell(welcome());
  assert.deepEqual(FakeSocket.last.sent.map(({ text }) => text), ["one"]);
  const unknown = assert.rejects(said, { reason: "connection_lost" });
  FakeSocket.last.end(1006); // it was sent: nobody knows whether it arrived
  await unknown;
  await pass(10);
  FakeSocket.last.tell(welcome());
  assert.deepEqual(FakeSocket.last.sent, []);
});

test("what waits has a bound, and an end: it was never sent then", async () => {
  const { client } = await joined({ timeoutMs: 300 });
  FakeSocket.last.end(4006, "retry_after_ms=60000");
  const waiting = Array.from({ length: 50 }, (_, n) =>
    assert.rejects(client.sendChat(`${n}`), { reason: "not_connected" }));
  await assert.rejects(client.sendChat("51"), { reason: "queue_full" });
  await assert.rejects(client.sendGift({ gift: "rose", id: "mine" }), { reason: "queue_full", id: "mine" });
  await pass(300);
  await Promise.all(waiting);
  const left = assert.rejects(client.sendGift({ gift: "rose" }), { reason: "closed" });
  client.close();
  await left;
});

test("a gift waits two minutes, over reconnects", async () => {
  const { client } = await joined();
  const refused = assert.rejects(client.sendGift({ gift: "rose" }), { reason: "timeout" });
  FakeSocket.last.end(1006);
  let over = false;
  refused.then(() => { over = true; });
  await pass(119_990);
  assert.equal(over, false);
  await pass(10);
  await refused;
});

test("of balances that arrive out of order the newest stays", async () => {
  const { client, told } = await joined();
  const changed = { type: "wallet.changed", cause: "gift", ref: "g" };
  FakeSocket.last.tell({ ...changed, coins: 900, entry: "1-10" }, { ...changed, coins: 950, entry: "1-9" });
  FakeSocket.last.tell({ ...changed, coins: 900, entry: "1-11" }, { ...changed, coins: 20, entry: "2-1" });
  assert.deepEqual([told.coins, client.you?.coins], [[1000, 900, 20], 20]);
});

test("when the wallet store is back, an unknown balance is filled in", async () => {
  const reopened = { type: "wallet.changed", cause: "reopened", ref: null, entry: null, coins: 77 };
  const known = await joined();
  FakeSocket.last.tell(reopened);
  assert.equal(known.client.you?.coins, 1000);
  const unknown = await joined({}, { you: you({ coins: null }) });
  FakeSocket.last.tell(reopened);
  assert.deepEqual(unknown.told.coins, [null, 77]);
});
