/** The whole watch page: what each part does when the room, the connection or the balance changes. */
import assert from "node:assert/strict";

import { WatchPage } from "../../../server/web/watch/watch.js";
import { START_MS, pass, settled } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { FakeSocket } from "../support/socket.js";
import {
  board, chat, gift, likes, onOffer, settings, shown,
  snapshot, updated, welcome, you,
} from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */
/** @import { Welcome } from "../../../protocol/web/wire.js" */

const test = testsOn("watch");
const GIFTS = [onOffer("rose", 1), onOffer("castle", 500, false, 4)];

/**
 * The page of alice in development, before she is in the room.
 * @param {OpenPage} page
 */
async function opened(page) {
  page.answers = { "/dev/token": { token: "t" }, "/v1/gifts": GIFTS, ...page.answers };
  await new WatchPage("demo").start();
  await settled();
}

/**
 * The page, in the room.
 * @param {OpenPage} page
 * @param {Partial<Welcome>} [fields]
 */
async function entered(page, fields) {
  await opened(page);
  FakeSocket.last.tell(welcome(fields));
  await settled();
  page.draw();
}

test("it enters the room of its address, and shows it", async (page) => {
  await entered(page, { room: snapshot({ title: "Late night", top: [{ rank: 1, user: you(), coins: 5 }] }) });
  const { pathname, searchParams } = FakeSocket.last.address;
  assert.deepEqual([pathname, searchParams.get("chats")], ["/v1/rooms/demo/ws", "50"]);
  assert.deepEqual([page.find("conn-state").textContent, page.texts("room-title")], ["Connected", ["Late night"]]);
  assert.deepEqual([page.all("board-row").length, page.find("balance").textContent], [1, "1,000"]);
  assert.deepEqual([page.find("gift-send").disabled, page.find("curtain").hidden], [false, true]);
});

test("before the first word of the server it claims nothing", async (page) => {
  await opened(page);
  assert.equal(page.find("room-status").closest(".stage-head").hidden, true);
  assert.deepEqual([page.find("balance").textContent, page.find("curtain").hidden], ["–", true]);
  FakeSocket.last.tell(welcome());
  assert.equal(page.find("room-status").closest(".stage-head").hidden, false);
});

test("an address without a room says so, once, and asks nobody", async (page) => {
  page.answers = { "/v1/gifts": GIFTS };
  await new WatchPage("").start();
  await pass(60_000, 1000);
  assert.equal(page.find("curtain").dataset.reason, "no_address");
  assert.equal(page.find("conn-state").dataset.state, "closed");
  assert.deepEqual([page.find("conn-state").textContent, page.asked, FakeSocket.opened.length], ["No room", [], 0]);
});

test("a refusal for good has one clear state, and is not tried again", async (page) => {
  for (const [code, reason] of /** @type {[number, string][]} */ ([
    [4511, "bad_token"], [4512, "wrong_room"], [4513, "no_such_room"],
  ])) {
    FakeSocket.opened.length = 0;
    await opened(page);
    for (let tries = 0; tries < 2; tries++) {
      FakeSocket.last.end(code);
      await pass(1000);
    }
    await pass(60_000, 1000);
    assert.deepEqual([page.find("curtain").dataset.reason, page.find("curtain").hidden], [reason, false]);
    assert.ok(FakeSocket.opened.length <= 2);
    assert.equal(page.find("conn-state").dataset.state, "closed");
  }
});

test("in development one can change the person", async (page) => {
  await entered(page);
  assert.equal(page.find("user-switch").hidden, false);
  assert.deepEqual(["alice", "bob"].map((user) => page.find(`user-${user}`).getAttribute("aria-current")),
    ["true", null]);
});

test("one sees who one is, also with a token of one's own", async (page) => {
  page.window.happyDOM.setURL("http://127.0.0.1:8000/watch/demo#token=t");
  await opened(page);
  assert.equal(page.find("you").hidden, true);
  FakeSocket.last.tell(welcome({ you: you({ user_id: "eve", name: "Eve" }) }));
  assert.deepEqual([page.find("you").hidden, page.find("you").textContent], [false, "You are Eve"]);
  assert.equal(page.find("user-switch").hidden, true);
});

test("without a token it says what is missing, and opens no socket", async (page) => {
  page.answers["/dev/token"] = 404;
  await opened(page);
  assert.deepEqual([page.find("conn-state").textContent, page.find("conn-state").dataset.state],
    ["No token", "closed"]);
  assert.match(page.find("token-needed").textContent, /#token=/);
  assert.deepEqual([FakeSocket.opened.length, page.find("gift-send").disabled], [0, true]);
  assert.equal(page.find("user-switch").hidden, true);
  page.find("like-button").click();
  page.find("chat-input").value = "hello";
  page.find("chat-send").click();
  await pass(10);
  assert.equal(page.find("chat-status").textContent, "Not connected: it was not sent.");
});

test("events go to chat, board, tray and show", async (page) => {
  await entered(page);
  FakeSocket.last.tell(chat({ seq: 1, text: "hi" }), gift({ seq: 2, gift: shown("castle", 4) }),
    board({ seq: 3, top: [{ rank: 1, user: you(), coins: 9 }] }), likes({ seq: 4, added: 2, total: 2 }));
  page.draw();
  assert.deepEqual([page.all("chat-line").length, page.all("chat-gift").length], [1, 1]);
  assert.deepEqual([page.all("tray-row").length, page.all("show").length, page.all("board-row").length], [1, 1, 1]);
  assert.equal(page.motions.length, 2);
});

test("a cheap gift floats, six at most, and has no large animation", async (page) => {
  await entered(page);
  FakeSocket.last.tell(gift({ seq: 1, count: 2 }));
  assert.equal(page.motions.length, 2);
  FakeSocket.last.tell(gift({ seq: 2, count: 99 }));
  assert.deepEqual([page.motions.length, page.all("show").length], [8, 0]);
  assert.deepEqual(page.motions.slice(2, 4).map(({ options }) => options.delay), [0, 110]);
});

test("live events are played, whatever their clock says", async (page) => {
  await entered(page);
  FakeSocket.last.tell(gift({ seq: 1, at_ms: START_MS - 60_000 }));
  assert.equal(page.all("tray-row").length, 1);
});

test("replayed events go to the chat; only recent ones are played", async (page) => {
  await entered(page);
  const replayed = { replayed: true, gift: shown("castle", 4) };
  const old = { ...replayed, at_ms: START_MS - 15_000 };
  FakeSocket.last.tell(gift({ seq: 1, ...old }), likes({ seq: 2, added: 5, replayed: true }));
  page.draw();
  assert.deepEqual([page.all("chat-gift").length, page.all("tray-row").length, page.motions.length], [1, 0, 0]);
  FakeSocket.last.tell(gift({ seq: 3, at_ms: START_MS - 14_999, ...replayed }));
  assert.deepEqual([page.all("tray-row").length, page.all("show").length], [1, 1]);
});

test("gaps, hidden lines and a mute are shown in the chat", async (page) => {
  await entered(page, { gap: { from: 1, to: 9 }, you: you({ muted_until_ms: START_MS + 60_000 }) });
  const notice = { type: "notice" };
  FakeSocket.last.tell({ ...notice, kind: "hidden", count: 3 }, { ...notice, kind: "draining", reconnect_in_ms: 5000 });
  FakeSocket.last.tell({ type: "wallet.changed", coins: 7, cause: "gift", ref: "g", entry: "1-1" });
  page.draw();
  assert.deepEqual([page.texts("chat-gap").length, page.texts("chat-note")], [1, ["You are muted for 1 min"]]);
  assert.equal(page.texts("chat-hidden").length, 1);
  assert.equal(page.find("balance").textContent, "7");
});

test("gifts are given while the room is live, connected and has gifts on", async (page) => {
  await entered(page);
  const disabled = () => page.find("gift-send").disabled;
  FakeSocket.last.tell(updated({ seq: 1, settings: settings({ gifts: false }) }));
  assert.equal(disabled(), true);
  FakeSocket.last.tell(updated({ seq: 2, settings: settings() }));
  assert.equal(disabled(), false);
  FakeSocket.last.tell({ type: "room.paused", id: "p", seq: 3, at_ms: START_MS, status: "paused" });
  assert.deepEqual([disabled(), page.find("curtain").hidden], [true, false]);
  FakeSocket.last.tell({ type: "room.resumed", id: "r", seq: 4, at_ms: START_MS, status: "live" });
  assert.deepEqual([disabled(), page.find("curtain").hidden], [false, true]);
  FakeSocket.last.end(1006);
  assert.deepEqual([disabled(), page.find("curtain").hidden, page.find("conn-state").dataset.state],
    [true, true, "reconnecting"]);
});

test("what a viewer does is sent to the room", async (page) => {
  await entered(page);
  page.find("chat-input").value = "hello";
  page.find("chat-send").click();
  page.find("gift-send").click();
  page.find("like-button").click();
  await pass(10);
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["chat.send", "gifts.send", "likes.send"]);
});

test("a viewer who is kept out learns why, as far as the server says", async (page) => {
  page.answers["/v1/rooms/demo"] = 404;
  await opened(page);
  FakeSocket.last.end(1006);
  await settled();
  assert.equal(page.find("curtain").dataset.reason, "no_such_room");
});

test("a server that is away draws no curtain; an expired token does", async (page) => {
  await opened(page);
  FakeSocket.last.end(1006);
  await settled();
  assert.equal(page.find("curtain").hidden, true);
  await pass(1000);
  FakeSocket.last.tell(welcome());
  FakeSocket.last.end(4003);
  assert.equal(page.find("curtain").hidden, true);
  await pass(1000);
  FakeSocket.last.end(1006);
  await settled();
  assert.equal(page.find("curtain").dataset.reason, "token_expired");
  await pass(2000);
  FakeSocket.last.tell(welcome());
  assert.equal(page.find("curtain").hidden, true);
});

test("when a viewer is out for good the curtain says why", async (page) => {
  await entered(page);
  FakeSocket.last.end(4500);
  assert.deepEqual([page.find("curtain").dataset.reason, page.find("conn-state").textContent], ["banned", "Banned"]);
});

test("a catalogue that failed to load is fetched at the next connection, and then never again", async (page) => {
  page.answers["/v1/gifts"] = 503;
  await entered(page);
  assert.equal(page.find("gift-rose"), null);
  page.answers["/v1/gifts"] = GIFTS;
  FakeSocket.last.end(1006);
  await pass(1000);
  FakeSocket.last.tell(welcome());
  await settled();
  assert.ok(page.find("gift-rose"));
  const asked = page.asked.length;
  FakeSocket.last.end(1006);
  await pass(1000);
  FakeSocket.last.tell(welcome());
  await settled();
  assert.equal(page.asked.slice(asked).includes("/v1/gifts"), false);
});
