/** The whole overlay: its alerts, its dot, and what it remembers over a reload. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { AGE_MS } from "../../../server/web/shared/alertqueue.js";
import { OverlayPage } from "../../../server/web/overlay/overlay.js";
import { START_MS, pass, settled } from "../support/clock.js";
import { openPage, testsOn } from "../support/page.js";
import { FakeSocket } from "../support/socket.js";
import { chat, gift, onOffer, shown, welcome } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("overlay");
const KEY = "liveroom.overlay.demo";

/** @param {OpenPage} page */
async function opened(page) {
  page.answers = { "/dev/token": { token: "t" }, ...page.answers };
  await new OverlayPage("demo").start();
  await settled();
}
/** @param {OpenPage} page */
async function entered(page) {
  await opened(page);
  FakeSocket.last.tell(welcome());
}

/** @param {string} id */
const of = (id, seq = 1) => gift({ id, seq, gift: shown(id, 2) });
/** @param {OpenPage} page */
const showing = (page) => page.all("overlay-alert").map(({ dataset }) => dataset.gift);

test("it enters as an overlay, and shows gifts of every tier one after the other", async (page) => {
  await entered(page);
  assert.match(page.asked[0] ?? "", /role=overlay/);
  FakeSocket.last.tell(gift({ seq: 1, gift: shown("rose", 1) }), chat({ seq: 2 }), of("crown", 3));
  assert.deepEqual([showing(page), page.find("overlay").dataset.waiting], [["rose"], "1"]);
  await pass(2300);
  assert.deepEqual([showing(page), page.find("overlay").dataset.waiting], [["crown"], "0"]);
});

test("without a token it says what is missing, and opens no socket", async (page) => {
  page.answers["/dev/token"] = 404;
  await opened(page);
  assert.match(page.find("token-needed").textContent, /A key is needed/);
  assert.equal(FakeSocket.opened.length, 0);
});

test("a reloaded overlay continues where it was: same alert, same queue, no gift twice", async (page) => {
  await entered(page);
  FakeSocket.last.tell(of("a", 1), of("b", 2));
  await pass(500);
  const kept = sessionStorage.getItem(KEY) ?? "";
  assert.equal(JSON.parse(kept).since, "e1:2");
  const reloaded = openPage("overlay");
  sessionStorage.setItem(KEY, kept);
  await opened(reloaded);
  assert.equal(FakeSocket.last.address.searchParams.get("since"), "e1:2");
  assert.deepEqual(showing(reloaded), ["a"]);
  FakeSocket.last.tell(welcome({ seq: 2, resumed: true }), of("b", 3));
  await pass(2300);
  assert.deepEqual(showing(reloaded), ["b"]);
  await pass(2300);
  assert.deepEqual(showing(reloaded), []);
});

test("in a flood of gifts state is saved at most twice a second, and once more when the page closes", async (page) => {
  await entered(page);
  FakeSocket.last.tell(of("a", 1));
  await pass(490);
  assert.equal(sessionStorage.getItem(KEY), null);
  await pass(10);
  const first = sessionStorage.getItem(KEY);
  assert.ok(first);
  FakeSocket.last.tell(of("b", 2));
  assert.equal(sessionStorage.getItem(KEY), first);
  await pass(500);
  assert.equal(JSON.parse(sessionStorage.getItem(KEY) ?? "").since, "e1:2");
  FakeSocket.last.tell(of("c", 3));
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  assert.equal(JSON.parse(sessionStorage.getItem(KEY) ?? "").since, "e1:3");
});

test("saved state that cannot be read is discarded", async (page) => {
  sessionStorage.setItem(KEY, "{");
  await entered(page);
  FakeSocket.last.tell(of("a"));
  assert.deepEqual(showing(page), ["a"]);
});

test("an overlay reloaded before it was connected keeps its position", async (page) => {
  sessionStorage.setItem(KEY, JSON.stringify({ since: "e1:7", queue: { waiting: [], seen: [] } }));
  await opened(page);
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  assert.equal(JSON.parse(sessionStorage.getItem(KEY) ?? "").since, "e1:7");
});

test("what was given long ago is not replayed after a long absence", async (page) => {
  await entered(page);
  const long = { replayed: true, at_ms: START_MS - 200_000 };
  const edge = { replayed: true, at_ms: START_MS - AGE_MS };
  const recent = { ...of("new", 3), replayed: true };
  FakeSocket.last.tell({ ...of("old", 1), ...long }, { ...of("edge", 2), ...edge }, recent);
  assert.deepEqual(showing(page), ["edge"]);
  await pass(2300);
  assert.deepEqual(showing(page), ["new"]);
});

test("an overlay that is not let in says why, once, and gets out of the way", async (page) => {
  await opened(page);
  for (let tries = 0; tries < 2; tries++) {
    assert.deepEqual(page.texts("overlay-problem"), []); // at first it asks for another token
    FakeSocket.last.end(4511);
    await pass(1000);
  }
  assert.equal(page.texts("overlay-problem").length, 1);
  assert.match(page.texts("overlay-problem")[0] ?? "", /token is not valid/);
  await pass(30_000, 100);
  assert.deepEqual([page.texts("overlay-problem"), page.find("conn-state").dataset.shown], [[], "true"]);
});

test("a node that is away is no problem to be shown", async (page) => {
  await entered(page);
  FakeSocket.last.end(1006);
  await pass(5000);
  assert.deepEqual(page.texts("overlay-problem"), []);
});

test("an address without a room says so", async (page) => {
  await new OverlayPage("").start();
  assert.match(page.texts("overlay-problem")[0] ?? "", /no room/);
  assert.deepEqual([page.asked, FakeSocket.opened.length], [[], 0]);
});

test("the art of every gift is loaded before the first is given", async (page) => {
  page.answers["/v1/gifts"] = [onOffer("rose", 1), onOffer("whale", 9)];
  const made = mock.method(page.window.document, "createElement").mock;
  await entered(page);
  await settled();
  const images = made.calls.map(({ result }) => /** @type {any} */ (result)).filter(({ tagName }) => tagName === "IMG");
  assert.deepEqual(images.map((image) => image.getAttribute("src")), ["/web/gifts/rose.svg", "/web/gifts/whale.svg"]);
});

test("position and size come from the address; what is not understood changes nothing", async () => {
  for (const [query, position, scale] of /** @type {const} */ ([
    ["", "center", "1"], ["?position=top-left&scale=0.5", "top-left", "0.5"], ["?position=up&scale=x", "center", "1"],
    ["?scale=99", "center", "3"], ["?position=bottom&scale=-1", "bottom", "0.25"],
  ])) {
    const page = openPage("overlay", `/overlay/demo${query}`);
    await opened(page);
    const layer = page.find("overlay");
    assert.deepEqual([layer.dataset.position, layer.style.getPropertyValue("--scale")], [position, scale]);
  }
});

test("the dot is visible when the connection has been gone for ten seconds", async (page) => {
  await entered(page);
  const dot = page.find("conn-state").dataset;
  assert.deepEqual([dot.state, dot.reason, dot.shown], ["live", "", "false"]);
  FakeSocket.last.end(1006);
  assert.deepEqual([dot.state, dot.reason], ["reconnecting", "connection_lost"]);
  await pass(9000);
  FakeSocket.last.tell(welcome());
  await pass(9000);
  assert.equal(dot.shown, "false");
  FakeSocket.last.end(1006);
  await pass(9980);
  assert.equal(dot.shown, "false");
  await pass(30);
  assert.equal(dot.shown, "true");
  FakeSocket.last.tell(welcome());
  assert.equal(dot.shown, "false");
});
