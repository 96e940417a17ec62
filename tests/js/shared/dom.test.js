/** The helpers of the pages. */
import assert from "node:assert/strict";

import * as dom from "../../../server/web/shared/dom.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");

test("text is inserted as text, whatever it contains", () => {
  const evil = "<img src=x onerror=alert(1)>";
  const element = dom.el("p", { text: evil }, evil, dom.el("b", {}, evil));
  assert.equal(element.querySelector("img"), null);
  assert.equal(element.textContent, evil.repeat(3));
});

test("an element has its class, test id, data and attributes, and omits what is null", () => {
  const data = { count: 3, user: "alice" };
  const element = dom.el("li", { class: "a b", testid: "row", data, "aria-label": "Row", title: null }, null, "x");
  assert.deepEqual([...element.classList], ["a", "b"]);
  assert.deepEqual({ ...element.dataset }, { testid: "row", count: "3", user: "alice" });
  assert.equal(element.getAttribute("aria-label"), "Row");
  assert.equal(element.hasAttribute("title"), false);
  assert.equal(element.childNodes.length, 1);
  assert.equal(dom.el("b", { text: 0 }).textContent, "0");
});

test("an icon is a symbol of the page that screen readers ignore", () => {
  const svg = dom.icon("coin");
  assert.equal(svg.getAttribute("aria-hidden"), "true");
  assert.equal(svg.firstElementChild?.getAttribute("href"), "#icon-coin");
});

test("a required element is found, or an error names what is missing", (page) => {
  assert.equal(dom.find("board"), page.find("board"));
  assert.throws(() => dom.find("nothing"), /no HTMLElement .*nothing/);
  assert.throws(() => dom.select("[data-testid=chat-send]", HTMLInputElement), /no HTMLInputElement/);
});

test("numbers are short from ten thousand on, and exact in data-value", () => {
  assert.deepEqual([0, 9999, 10_000, 12_345, 1_500_000].map(dom.compact), ["0", "9,999", "10K", "12.3K", "1.5M"]);
  assert.equal(dom.number(12_345), "12,345");
  const element = dom.el("b");
  dom.setValue(element, 12_345);
  assert.deepEqual([element.dataset.value, element.textContent], ["12345", "12.3K"]);
  dom.setValue(element, 12_345, dom.number);
  assert.equal(element.textContent, "12,345");
});

test("durations are rounded up to the largest fitting unit", () => {
  const said = [0, 1, 1001, 59_000, 59_001, 121_000, 3_540_000, 3_600_000, 172_799_000, 172_800_000].map(dom.duration);
  assert.deepEqual(said, ["1 s", "1 s", "2 s", "59 s", "1 min", "3 min", "59 min", "1 h", "48 h", "2 days"]);
});

test("a person has an initial and always the same colour", () => {
  assert.deepEqual(["alice", " bob", "", " ", "émile", "😀x"].map(dom.initial), ["A", "B", "?", "?", "É", "😀"]);
  assert.deepEqual(["alice", "bob"].map(dom.hue), ["hue-0", "hue-5"]); // in every version: people know their colour
  assert.match(dom.hue("bob"), /^hue-[0-7]$/);
  assert.equal(new Set(Array.from({ length: 200 }, (_, n) => dom.hue(`user-${n}`))).size, 8);
  const avatar = dom.avatar({ user_id: "alice", name: "Alice" });
  assert.deepEqual([avatar.textContent, avatar.className], ["A", `avatar ${dom.hue("alice")}`]);
});

test("whether to reduce motion is checked every time", (page) => {
  assert.equal(dom.reducedMotion(), false);
  page.calm = true;
  assert.equal(dom.reducedMotion(), true);
});

test("pictures come in one file; others come by their address, as all do while it is away", async (page) => {
  const src = (/** @type {string} */ url) =>
    dom.picture({ animation: { kind: "float", url, duration_ms: 1 } }, "art").getAttribute("src");
  await dom.loadPictures();
  assert.equal(src("/web/gifts/rose.svg"), "/web/gifts/rose.svg");
  page.answers["/web/pictures.json"] = 503;
  await dom.loadPictures();
  assert.equal(src("/web/gifts/rose.svg"), "/web/gifts/rose.svg");
  page.answers["/web/pictures.json"] = { "/web/gifts/rose.svg": "data:image/svg+xml,rose" };
  await dom.loadPictures();
  assert.equal(src("/web/gifts/rose.svg"), "data:image/svg+xml,rose");
  assert.deepEqual(["/art/own.svg", "toString"].map(src), ["/art/own.svg", "toString"]);
  page.answers["/web/pictures.json"] = {};
  await dom.loadPictures();
});
