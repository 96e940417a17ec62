/** The chat's composer. */
import assert from "node:assert/strict";

import { startComposer } from "../../../server/web/watch/composer.js";
import { pass, settled } from "../support/clock.js";
import { testsOn } from "../support/page.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/** A composer whose messages the test answers. */
function started() {
  /** @type {{text: string, resolve: (reply: object) => void, reject: (refused: object) => void}[]} */
  const sent = [];
  startComposer((text) => new Promise((resolve, reject) => { sent.push({ text, resolve, reject }); }));
  return sent;
}

/**
 * @param {OpenPage} page
 * @param {string} text
 */
function type(page, text) {
  page.find("chat-input").value = text;
  page.find("chat-input").dispatchEvent(new Event("input"));
}

test("a message is trimmed and sent, and the input is cleared when it has arrived", async (page) => {
  const sent = started();
  type(page, "  hello ");
  page.find("chat-send").click();
  assert.deepEqual([sent.map(({ text }) => text), page.find("chat-send").disabled], [["hello"], true]);
  assert.equal(page.find("chat-input").value, "  hello ");
  const { form } = page.find("chat-send");
  assert.equal(form.dispatchEvent(new Event("submit", { cancelable: true })), false); // the browser sends no form
  assert.equal(sent.length, 1);
  sent[0]?.resolve({});
  await settled();
  assert.deepEqual([page.find("chat-input").value, page.find("chat-send").disabled], ["", false]);
  assert.equal(document.activeElement, page.find("chat-input"));
});

test("an empty message is not sent", (page) => {
  const sent = started();
  type(page, "   ");
  page.find("chat-send").click();
  assert.equal(sent.length, 0);
});

test("what was typed meanwhile stays", async (page) => {
  const sent = started();
  type(page, "one");
  page.find("chat-send").click();
  type(page, "two");
  sent[0]?.resolve({});
  await settled();
  assert.equal(page.find("chat-input").value, "two");
});

test("a refused message stays, and can be sent again after the wait", async (page) => {
  const sent = started();
  type(page, "hello");
  page.find("chat-send").click();
  sent[0]?.reject({ reason: "slow_mode", retry_after_ms: 3000 });
  await settled();
  const status = page.find("chat-status");
  assert.deepEqual([status.textContent, page.find("chat-input").value], ["Slow mode is on: again in 3 s", "hello"]);
  type(page, "hello!");
  assert.notEqual(status.textContent, "");
  assert.equal(page.find("chat-send").disabled, true);
  await pass(3000);
  assert.equal(page.find("chat-send").disabled, false);
  type(page, "hello!!");
  assert.equal(status.textContent, "");
  page.find("chat-send").click();
  assert.deepEqual(sent.map(({ text }) => text), ["hello", "hello!!"]);
});
