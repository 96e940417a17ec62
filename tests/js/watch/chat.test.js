/** The chat list: lines per frame, how many are kept, streaks in one line, marks. */
import assert from "node:assert/strict";

import { ChatList } from "../../../server/web/watch/chat.js";
import { pass } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { chat, deleted, gift, likes, person, shown } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/**
 * Gives the list a height of 100 and content of 1000 pixels.
 * @param {OpenPage} page
 */
function layOut(page) {
  const list = page.find("chat-list");
  for (const [name, value] of Object.entries({ scrollHeight: 1000, clientHeight: 100, scrollTop: 900 })) {
    Object.defineProperty(list, name, { value, writable: true });
  }
  return list;
}

/**
 * @param {any} list
 * @param {number} top
 */
function scrolls(list, top) {
  list.scrollTop = top;
  list.dispatchEvent(new Event("scroll"));
}

/** @param {OpenPage} page */
const said = (page) => page.all("chat-line").map((line) => line.querySelector(".text").textContent);

test("lines are added once per frame, in order", (page) => {
  const list = new ChatList();
  for (const text of ["one", "two"]) list.take(chat({ text }));
  list.take(likes());
  assert.deepEqual(said(page), []);
  page.draw();
  list.take(chat({ text: "three" }));
  page.draw();
  assert.deepEqual(said(page), ["one", "two", "three"]);
});

test("a hidden tab draws no frames, and gets its lines twice a second", async (page) => {
  page.hidden = true;
  const list = new ChatList();
  list.take(chat({ text: "one" }));
  await pass(490);
  assert.deepEqual(said(page), []);
  await pass(10);
  assert.deepEqual(said(page), ["one"]);
});

test("the newest two hundred lines are kept, also of those that wait", (page) => {
  const list = new ChatList();
  for (let n = 0; n < 150; n++) list.take(chat({ text: `line ${n}` }));
  page.draw();
  for (let n = 150; n < 230; n++) list.take(chat({ text: `line ${n}` }));
  page.draw();
  assert.deepEqual([said(page).length, said(page)[0], said(page).at(-1)], [200, "line 30", "line 229"]);
  for (let n = 230; n < 530; n++) list.take(chat({ text: `line ${n}` }));
  page.draw();
  assert.deepEqual([said(page).length, said(page)[0]], [200, "line 330"]);
});

test("a reply, a mention and an emote are shown, and nothing becomes markup", (page) => {
  const list = new ChatList();
  const text = "@ann <b>hi</b> :wave:";
  list.take(chat({ text, reply_to: { id: "c1", user: person("ann"), text: "<i>first</i>" }, fragments: [
    { type: "mention", text: "@ann", user_id: "ann" },
    { type: "text", text: " <b>hi</b> " },
    { type: "emote", text: ":wave:", emote: { id: "wave", url: "/wave.png" } },
    { type: "later", text: "!" },
  ] }));
  list.take(chat({ text: "plain" }));
  page.draw();
  const [line, plain] = page.all("chat-line");
  assert.equal(line.querySelector(".reply").textContent, "Ann: <i>first</i>");
  assert.equal(line.querySelector(".mention").textContent, "@ann");
  const emote = line.querySelector("img.emote");
  assert.deepEqual([emote.getAttribute("src"), emote.getAttribute("alt")], ["/wave.png", ":wave:"]);
  assert.equal(line.querySelector(".text").textContent, "@ann <b>hi</b> !");
  assert.equal(line.querySelector("i"), null);
  assert.equal(plain.querySelector(".reply"), null);
  assert.equal(plain.querySelector(".text").textContent, "plain");
});

test("deleted messages go, drawn or not; gifts, marks and what is said later stay", (page) => {
  const list = new ChatList();
  list.take(chat({ id: "a", text: "one" }));
  list.take(chat({ user: person("eve"), text: "bad" }));
  list.take(gift({ id: "a", from: person("eve") }));
  list.gap();
  page.draw();
  list.take(chat({ id: "b", text: "two" }));
  list.take(chat({ id: "c", text: "three" }));
  list.take(deleted({ ids: ["a", "b"], user_ids: ["eve"] }));
  list.take(chat({ user: person("eve"), text: "sorry" }));
  assert.deepEqual(said(page), []);
  page.draw();
  assert.deepEqual(said(page), ["three", "sorry"]);
  assert.deepEqual([page.all("chat-gift").length, page.all("chat-gap").length], [1, 1]);
});

test("a deleted message is quoted no more, drawn or not", (page) => {
  const list = new ChatList();
  /** @param {string} id @param {string} user */
  const reply = (id, user) => chat({ reply_to: { id, user: person(user), text: "as it was" } });
  for (const quoted of [reply("a", "alice"), reply("b", "eve"), reply("c", "alice")]) list.take(quoted);
  page.draw();
  list.take(reply("a", "alice"));
  list.take(deleted({ ids: ["a"], user_ids: ["eve"] }));
  page.draw();
  const quotes = page.all("chat-line").map((/** @type {Element} */ line) => line.querySelector(".reply")?.textContent);
  assert.deepEqual(quotes, [undefined, undefined, "Alice: as it was", undefined]);
});

test("a line has the name, role and badges, and text as text", (page) => {
  const list = new ChatList();
  const user = person("<i>", { role: "moderator", badges: ["mod", "top:1", "level:12", "club:3", "VIP"] });
  list.take(chat({ id: "x", user, text: "<b>hi</b>" }));
  list.take(chat({ user: person("bob") }));
  page.draw();
  const [first, second] = page.all("chat-line");
  assert.deepEqual([first.dataset.id, first.dataset.user], ["x", "<i>"]);
  assert.deepEqual([...first.querySelectorAll("p > *")].map(({ textContent }) => textContent),
    ["<i>", "Mod", "#1", "Lv 12", "Club 3", "VIP", "<b>hi</b>"]);
  assert.equal(second.querySelector(".role"), null);
});

test("a streak is one line with its highest count and newest message", (page) => {
  const list = new ChatList();
  /** @param {number} count @param {string|null} message */
  const tap = (count, message = null) => list.take(gift({ combo: { id: "tap", count }, message }));
  tap(1, "go");
  tap(5);
  page.draw();
  tap(4, "on");
  const [line, ...others] = page.all("chat-gift");
  assert.deepEqual([line.textContent, line.dataset.count, others.length], ["Alice sent Rose ×5on", "5", 0]);
  list.take(gift({ combo: { id: "tap", count: 1 }, from: person("bob") }));
  list.take(gift({ count: 1, test: true, gift: shown("castle", 4) }));
  page.draw();
  assert.deepEqual(page.texts("chat-gift").slice(1), ["Bob sent Rose ", "Alice sent Castle (test) "]);
});

test("a streak whose line is gone gets a new one", (page) => {
  const list = new ChatList();
  list.take(gift({ combo: { id: "tap", count: 1 } }));
  page.draw();
  for (let n = 0; n < 200; n++) list.take(chat());
  page.draw();
  assert.equal(page.all("chat-gift").length, 0);
  list.take(gift({ combo: { id: "tap", count: 2 } }));
  page.draw();
  assert.equal(page.find("chat-gift").dataset.count, "2");
});

test("a streak whose line was dropped before it was drawn gets a new one", (page) => {
  const list = new ChatList();
  list.take(gift({ combo: { id: "tap", count: 1 } }));
  for (let n = 0; n < 250; n++) list.take(chat());
  list.take(gift({ combo: { id: "tap", count: 2 } }));
  page.draw();
  assert.equal(page.find("chat-gift").dataset.count, "2");
});

test("hidden lines in a row are one mark with a growing number", (page) => {
  const list = new ChatList();
  list.hidden(1);
  assert.equal(page.find("chat-hidden"), null);
  page.draw();
  assert.deepEqual(page.texts("chat-hidden"), ["1 message hidden: the room is very busy"]);
  list.hidden(11);
  list.take(chat());
  list.hidden(2);
  list.hidden(3);
  page.draw();
  assert.deepEqual(page.texts("chat-hidden").map((text) => parseInt(text, 10)), [12, 5]);
});

test("missing messages are marked, and notes are shown", (page) => {
  const list = new ChatList();
  list.gap();
  list.note("You are muted for 5 s");
  page.draw();
  assert.deepEqual([page.texts("chat-gap"), page.texts("chat-note")],
    [["Some messages were missed"], ["You are muted for 5 s"]]);
});

test("the list follows new lines, unless the viewer has scrolled up", (page) => {
  const list = new ChatList();
  const element = layOut(page);
  list.take(chat());
  page.draw();
  assert.deepEqual([element.scrollTop, page.find("chat-newer").hidden], [1000, true]);
  scrolls(element, 840);
  list.take(chat());
  page.draw();
  assert.deepEqual([element.scrollTop, page.find("chat-newer").hidden], [840, false]);
  page.find("chat-newer").click();
  assert.deepEqual([element.scrollTop, page.find("chat-newer").hidden], [1000, true]);
  scrolls(element, 841);
  list.take(chat());
  page.draw();
  assert.equal(element.scrollTop, 1000);
});

test("nothing but the viewer stops the list from following: not growing lines, not a smaller window", (page) => {
  const list = new ChatList();
  const element = layOut(page);
  list.take(chat());
  page.draw();
  element.scrollHeight = 1300; // a message was added to the gift of a line that is already there
  list.take(chat());
  page.draw();
  assert.equal(element.scrollTop, 1300);
  element.clientHeight = 60;
  scrolls(element, 700); // the browser moves the list itself when its size changes
  list.take(chat());
  page.draw();
  assert.deepEqual([element.scrollTop, page.find("chat-newer").hidden], [1300, true]);
});

test("after scrolling back to the end no new messages are announced", (page) => {
  const list = new ChatList();
  const element = layOut(page);
  list.take(chat());
  page.draw();
  scrolls(element, 0);
  list.take(chat());
  page.draw();
  scrolls(element, 100);
  assert.equal(page.find("chat-newer").hidden, false);
  scrolls(element, 900);
  assert.equal(page.find("chat-newer").hidden, true);
});

test("a resized list stays at its end", (page) => {
  new ChatList();
  const element = layOut(page);
  page.resized[0]?.();
  assert.equal(element.scrollTop, 1000);
  scrolls(element, 3);
  page.resized[0]?.();
  assert.equal(element.scrollTop, 3);
});
