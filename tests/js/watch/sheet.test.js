/** The gift panel as a sheet on a phone. */
import assert from "node:assert/strict";

import { select } from "../../../server/web/shared/dom.js";
import { GiftPanel } from "../../../server/web/watch/giftpanel.js";
import { startSheet } from "../../../server/web/watch/sheet.js";
import { testsOn } from "../support/page.js";
import { onOffer } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/** @param {OpenPage} page */
function started(page) {
  page.narrow = true;
  const sheet = page.find("gift-panel");
  const panel = new GiftPanel(sheet, async () => { throw new Error("nothing is sent"); });
  panel.setCoins(100);
  panel.fill([onOffer("rose", 1)]);
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

test("on a wide window the panel can always be used", (page) => {
  const sheet = started(page);
  page.narrow = false;
  startSheet(sheet);
  assert.equal(sheet.inert, false);
});
