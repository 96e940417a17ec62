/** The gift panel as a sheet on a phone. */
import assert from "node:assert/strict";

import { select } from "../../../server/web/shared/dom.js";
import { GiftPanel } from "../../../server/web/watch/giftpanel.js";
import { startSheet } from "../../../server/web/watch/sheet.js";
import { pass, settled } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { onOffer } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/**
 * @param {OpenPage} page
 * @param {() => Promise<any>} send
 */
function started(page, send = async () => ({ combo: null })) {
  page.narrow = true;
  const sheet = page.find("gift-panel");
  const panel = new GiftPanel(sheet, send);
  panel.setCoins(1000);
  panel.fill([onOffer("rose", 1), onOffer("heart", 60)]);
  startSheet(sheet);
  return sheet;
}

/** @param {HTMLElement} sheet */
const isOpen = (sheet) => [sheet.classList.contains("open"), !sheet.inert];
const escape = () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));

test("it opens with the focus on the selection, and returns the focus when it closes", (page) => {
  const sheet = started(page);
  const opener = page.find("gift-open");
  assert.deepEqual([isOpen(sheet), opener.getAttribute("aria-expanded")], [[false, false], "false"]);
  opener.click();
  assert.deepEqual([isOpen(sheet), opener.getAttribute("aria-expanded")], [[true, true], "true"]);
  assert.equal(document.activeElement, page.find("gift-rose"));
  page.find("gift-close").click();
  assert.deepEqual(isOpen(sheet), [false, false]);
  assert.equal(document.activeElement, opener);
  opener.click();
  opener.click();
  assert.deepEqual(isOpen(sheet), [false, false]);
});

test("Escape and a touch of the stage close it", (page) => {
  const sheet = started(page);
  page.find("gift-open").click();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "a" }));
  assert.deepEqual(isOpen(sheet), [true, true]);
  escape();
  assert.deepEqual(isOpen(sheet), [false, false]);
  page.find("chat-input").focus();
  escape();
  assert.equal(document.activeElement, page.find("chat-input"));
  page.find("gift-open").click();
  document.body.dispatchEvent(new Event("pointerdown", { bubbles: true })); // inert parts take no events
  assert.deepEqual(isOpen(sheet), [false, false]);
});

test("while it is open it is a dialog, and nothing behind it can take the focus", (page) => {
  const sheet = started(page);
  const behind = () => [".bar", ".stage", ".side"].map((part) => select(part, HTMLElement).inert);
  assert.deepEqual([sheet.getAttribute("role"), behind()], [null, [false, false, false]]);
  page.find("gift-open").click();
  assert.deepEqual([sheet.getAttribute("role"), sheet.getAttribute("aria-modal"), behind()],
    ["dialog", "true", [true, true, true]]);
  page.find("gift-rose").dispatchEvent(new page.window.Event("pointerdown", { bubbles: true }));
  assert.deepEqual(isOpen(sheet), [true, true]);
  page.find("gift-close").click();
  assert.deepEqual([sheet.getAttribute("role"), sheet.getAttribute("aria-modal"), behind()],
    [null, null, [false, false, false]]);
});

/** @param {HTMLElement} sheet */
const isBrief = (sheet) => [sheet.classList.contains("brief"), sheet.getAttribute("role")];

test("after a gift only its button stays, and taps go on; then it closes and returns the focus", async (page) => {
  const sheet = started(page);
  page.find("gift-open").click();
  assert.deepEqual(isBrief(sheet), [false, "dialog"]);
  page.find("gift-rose").click();
  assert.deepEqual([isBrief(sheet), isOpen(sheet)], [[true, null], [true, true]]);
  assert.equal(document.activeElement, page.find("gift-send"));
  assert.equal(select(".stage", HTMLElement).inert, false);
  document.body.dispatchEvent(new Event("pointerdown", { bubbles: true })); // a tap where the card was
  await pass(2900);
  page.find("gift-send").click();
  await pass(2900);
  assert.deepEqual([isBrief(sheet)[0], page.find("gift-open").getAttribute("aria-expanded")], [true, "false"]);
  await pass(100);
  assert.deepEqual([isBrief(sheet)[0], isOpen(sheet)], [false, [false, false]]);
  assert.equal(document.activeElement, page.find("gift-open"));
  page.find("gift-open").click();
  await pass(10_000, 1000);
  assert.deepEqual([isBrief(sheet), isOpen(sheet)], [[false, "dialog"], [true, true]]);
});

test("closing after a gift leaves the focus to who has gone on to write", async (page) => {
  const sheet = started(page);
  page.find("gift-open").click();
  page.find("gift-send").click();
  page.find("chat-input").focus();
  await pass(3000);
  assert.deepEqual(isOpen(sheet), [false, false]);
  assert.equal(document.activeElement, page.find("chat-input"));
});

test("a refusal is seen on a closed sheet, and a question stays as long as its answer counts", async (page) => {
  /** @type {(refused: object) => void} */
  let refuse = () => {};
  const sheet = started(page, () => new Promise((_, reject) => { refuse = reject; }));
  page.find("gift-open").click();
  page.find("gift-send").click();
  await pass(4000);
  page.find("chat-input").focus();
  refuse({ reason: "insufficient_coins", need: 10, have: 3 });
  await settled();
  assert.deepEqual([isBrief(sheet)[0], document.activeElement], [true, page.find("chat-input")]);
  page.find("ask-above").value = "100";
  page.find("ask-above").dispatchEvent(new page.window.Event("change"));
  page.find("gift-heart").click();
  page.find("quantity-5").click();
  await pass(3000);
  page.find("gift-send").click();
  await pass(5900);
  assert.equal(isBrief(sheet)[0], true);
  await pass(100);
  assert.deepEqual(isOpen(sheet), [false, false]);
});

test("on a wide window a gift changes nothing of the panel", (page) => {
  const sheet = started(page);
  page.narrow = false;
  startSheet(sheet);
  page.find("gift-send").click();
  assert.deepEqual([isBrief(sheet), sheet.inert], [[false, null], false]);
});

test("on a wide window the panel can always be used", (page) => {
  const sheet = started(page);
  page.narrow = false;
  startSheet(sheet);
  assert.equal(sheet.inert, false);
});
