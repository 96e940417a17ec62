/** What staff sees, and what people see of its decisions. */
import assert from "node:assert/strict";

import { Decided } from "../../../server/web/watch/decided.js";
import { Staff } from "../../../server/web/watch/staff.js";
import { said } from "../../../server/web/watch/lines.js";
import { Refused } from "../../../protocol/web/liveroom.js";
import { pass, settled } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { chat } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */
/** @import { ChatHeld, Command } from "../../../protocol/web/wire.js" */

const test = testsOn("watch");
const BOB = { user_id: "bob", name: "Bob", role: null, badges: [] };

/**
 * @param {Partial<ChatHeld>} [fields]
 * @returns {ChatHeld}
 */
const held = (fields) => ({
  type: "chat.held", id: "h1", user: BOB, text: "so bad", reason: "blocked_words", level: 4, held_at_ms: 1,
  edit_of: null, reported: null, ...fields,
});

/** @param {OpenPage} page */
function begun(page) {
  /** @type {Command[]} */
  const sent = [];
  const staff = new Staff(async (command) => { sent.push(command); return {}; });
  page.find("chat-list").append(said(chat({ id: "c1", user: BOB, text: "hi" })));
  staff.be("host");
  return { staff, sent };
}

test("each act of the menu is its command", async (page) => {
  const { sent } = begun(page);
  for (const act of ["delete", "mute", "hide", "ban"]) {
    page.find("line-menu").click();
    page.find(`act-${act}`).click();
  }
  page.find("line-menu").click();
  page.find("act-warn").click();
  page.find("warn-text").value = "calm";
  page.find("warn-send").click();
  await settled();
  assert.deepEqual(sent, [
    { type: "chat.delete", ids: ["c1"] }, { type: "members.mute", user_id: "bob", seconds: 600 },
    { type: "members.hide", user_id: "bob" }, { type: "members.ban", user_id: "bob" },
    { type: "members.warn", user_id: "bob", text: "calm" },
  ]);
});

test("one menu is open at a time, and a second click shuts it", (page) => {
  begun(page);
  page.find("chat-list").append(said(chat({ id: "c2", user: BOB, text: "ho" })));
  const [first, second] = page.all("line-menu");
  first.click();
  second.click();
  assert.deepEqual([page.all("line-acts").length, first.getAttribute("aria-expanded")], [1, "false"]);
  second.click();
  assert.equal(page.all("line-acts").length, 0);
  first.click();
  page.find("gift-panel").dispatchEvent(new MouseEvent("pointerdown", { bubbles: true }));
  assert.equal(page.all("line-acts").length, 0);
});

test("held messages wait once, and go when they are resolved", async (page) => {
  const { staff, sent } = begun(page);
  staff.take(held());
  staff.take(held());
  staff.take(held({ id: "h2" }));
  assert.match(page.find("held").textContent, /^2 messages wait for you/);
  page.all("held-deny")[1].click();
  await settled();
  assert.deepEqual(sent, [{ type: "chat.deny", id: "h2" }]);
  staff.take({ type: "chat.resolved", id: "h2", decision: "denied", by: null });
  assert.match(page.find("held").textContent, /^1 message waits for you/);
  staff.be("viewer");
  assert.equal(page.find("held").hidden, true);
});

test("a refusal of staff's act is said", async (page) => {
  const staff = new Staff(async () => { throw new Refused({ reason: "already_decided" }); });
  staff.take(held());
  page.find("held-approve").click();
  await settled();
  assert.equal(page.find("chat-status").textContent, "Somebody else has decided already.");
});

test("a warning that cannot be acknowledged stays and says why", async (page) => {
  const decided = new Decided(async () => { throw new Refused({ reason: "unavailable" }); }, () => {});
  decided.take({ type: "members.warned", text: "calm", by: { user_id: "creator", name: "Creator" } });
  page.find("warning-read").click();
  await settled();
  assert.match(page.find("warning").textContent, /calm.*try again/);
  decided.forget();
  assert.equal(page.find("warning").hidden, true);
});

test("a mute is shown with its end, and goes then", async (page) => {
  const decided = new Decided(async () => ({}), () => {});
  const day = 86_400_000;
  decided.mute({ muted: true, muted_until_ms: Date.now() + 2 * day }, Date.now());
  assert.match(page.find("muted").textContent, /^You are muted until \w+ \d/);
  decided.mute({ muted: true, muted_until_ms: Date.now() + 40 * day }, Date.now());
  assert.equal(page.find("muted").hidden, false);
  decided.mute({ muted: true, muted_until_ms: Date.now() + 500 }, Date.now());
  await pass(600, 100);
  assert.equal(page.find("muted").hidden, true);
});

test("a sender hears what became of a held message, staff does not twice", () => {
  /** @type {string[]} */
  const notes = [];
  const decided = new Decided(async () => ({}), (text) => notes.push(text));
  for (const decision of ["approved", "denied", "expired", "edited"]) {
    decided.take({ type: "chat.resolved", id: "h", decision, by: null }, "viewer");
    decided.take({ type: "chat.resolved", id: "h", decision, by: null }, "host");
  }
  assert.deepEqual(notes, ["Your message was not let through", "Your message was not looked at in time"]);
});
