/** The gift panel: cards, balance, quantities, and the button that gives. */
import assert from "node:assert/strict";

import { GiftPanel } from "../../../server/web/watch/giftpanel.js";
import { pass, settled } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { onOffer } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");
const GIFTS = [onOffer("rose", 1), onOffer("heart", 5), onOffer("castle", 5000, false, 4)];

/**
 * A panel of a viewer with 1000 coins.
 * @param {OpenPage} page
 */
function filled(page) {
  /** @type {{asked: any, resolve: (reply: any) => void, reject: (refused: object) => void}[]} */
  const sent = [];
  const panel = new GiftPanel(page.find("gift-panel"), (asked) => new Promise((resolve, reject) => {
    sent.push({ asked, resolve, reject });
  }));
  panel.fill(GIFTS);
  panel.setCoins(1000);
  panel.setOpen(true);
  return { panel, sent };
}

test("the catalogue is shown, and gifts above the balance are disabled", (page) => {
  const { panel } = filled(page);
  assert.deepEqual(GIFTS.map(({ id }) => page.find(`gift-${id}`).disabled), [false, false, true]);
  assert.equal(page.find("gift-castle").textContent, "Castle5,000coins");
  assert.equal(page.find("gift-heart").textContent, "Heart5coins");
  panel.setCoins(5000);
  assert.equal(page.find("gift-castle").disabled, false);
  panel.setCoins(4);
  assert.deepEqual(GIFTS.map(({ id }) => page.find(`gift-${id}`).disabled), [false, true, true]);
});

test("the list of gifts takes the focus, to be scrolled, only while no gift can", (page) => {
  const { panel } = filled(page);
  const shelf = page.find("gift-castle").parentElement;
  assert.equal(shelf.tabIndex, -1);
  panel.setCoins(0);
  assert.equal(shelf.tabIndex, 0);
});

test("the balance is exact; while it is unknown it is a dash, and every gift is enabled", (page) => {
  const { panel } = filled(page);
  panel.setCoins(12_345);
  assert.deepEqual([page.find("balance").textContent, page.find("balance").dataset.value], ["12,345", "12345"]);
  panel.setCoins(null);
  assert.deepEqual([page.find("balance").textContent, page.find("gift-castle").disabled], ["–", false]);
});

test("the button shows the gift and its cost", (page) => {
  filled(page);
  const button = page.find("gift-send");
  assert.deepEqual([button.textContent, button.disabled], ["Send1", false]);
  page.find("gift-heart").click();
  page.find("quantity-99").click();
  assert.equal(button.textContent, "Send495");
  assert.deepEqual([1, 5, 10, 99].map((count) => page.find(`quantity-${count}`).getAttribute("aria-pressed")),
    ["false", "false", "false", "true"]);
  assert.deepEqual(GIFTS.map(({ id }) => page.find(`gift-${id}`).getAttribute("aria-pressed")),
    ["false", "true", "false"]);
});

test("a gift above the balance is not sent: the button shows how much is missing", (page) => {
  const { panel, sent } = filled(page);
  page.find("gift-heart").click();
  page.find("quantity-10").click();
  panel.setCoins(20);
  assert.deepEqual([page.find("gift-send").textContent, page.find("gift-send").disabled], ["30 coins short", true]);
  page.find("gift-heart").click();
  assert.equal(sent.length, 0);
  panel.setCoins(49);
  assert.equal(page.find("gift-send").textContent, "1 coin short");
});

test("before a balance is known nothing is said to be missing", (page) => {
  const panel = new GiftPanel(page.find("gift-panel"), () => new Promise(() => {}));
  panel.fill(GIFTS);
  panel.setOpen(false);
  assert.deepEqual([page.find("gift-send").textContent, page.find("gift-send").disabled], ["Send1", true]);
});

test("while gifts are closed nothing is sent", (page) => {
  const { panel, sent } = filled(page);
  panel.setOpen(false);
  assert.equal(page.find("gift-send").disabled, true);
  page.find("gift-rose").click();
  assert.equal(sent.length, 0);
});

test("a gift takes its message along, and a streak runs on the button", async (page) => {
  const { sent } = filled(page);
  page.find("gift-message").value = " Hello! ";
  page.find("gift-send").click();
  assert.equal(page.find("gift-message").value, "");
  const { combo, ...asked } = sent[0]?.asked ?? {};
  assert.deepEqual(asked, { gift: "rose", count: 1, message: "Hello!" });
  assert.equal(page.find("gift-send").dataset.combo, combo);
  assert.deepEqual([page.motions.length, page.motions[0]?.options], [1, 3000]);
  sent[0]?.resolve({ combo: { id: combo, count: 7 } });
  await settled();
  assert.equal(page.find("gift-send").textContent, "Combo ×7");
  page.find("gift-rose").click();
  assert.equal(sent[1]?.asked.combo, combo);
  await pass(3000);
  assert.deepEqual([page.find("gift-send").textContent, page.find("gift-send").dataset.combo], ["Send1", ""]);
});

test("a second tap on a card sends only where taps make a streak", (page) => {
  const { panel, sent } = filled(page);
  panel.setCoins(10_000);
  for (let clicks = 0; clicks < 3; clicks++) page.find("gift-castle").click();
  assert.deepEqual([sent.length, page.find("gift-question").textContent], [0, ""]);
  page.find("gift-heart").click();
  page.find("gift-heart").click();
  assert.deepEqual(sent.map(({ asked }) => asked.gift), ["heart"]);
});

test("coins of gifts under way cannot be spent again", async (page) => {
  const { panel, sent } = filled(page);
  panel.setCoins(6);
  page.find("gift-heart").click();
  page.find("gift-send").click();
  assert.deepEqual([page.find("gift-heart").disabled, page.find("gift-rose").disabled], [true, false]);
  panel.setCoins(1);
  sent[0]?.resolve({ combo: null });
  await settled();
  assert.deepEqual([page.find("gift-heart").disabled, page.find("gift-rose").disabled], [true, false]);
});

test("a refusal is shown, and restores the message; the next gift clears it", async (page) => {
  const { sent } = filled(page);
  page.find("gift-message").value = "Hello!";
  page.find("gift-send").click();
  sent[0]?.reject({ reason: "insufficient_coins", need: 10, have: 3 });
  await settled();
  assert.equal(page.find("gift-status").textContent, "Not enough coins: you need 7 more.");
  assert.equal(page.find("gift-message").value, "Hello!");
  page.find("gift-send").click();
  assert.equal(page.find("gift-status").textContent, "");
  page.find("gift-message").value = "typed meanwhile";
  sent[1]?.reject({ reason: "timeout" });
  await settled();
  assert.equal(page.find("gift-message").value, "typed meanwhile");
});

/**
 * @param {any} element
 * @param {string} key
 */
const held = (element, key, repeat = true) =>
  element.dispatchEvent(new KeyboardEvent("keydown", { key, repeat, bubbles: true, cancelable: true }));

test("a key held down gives once", (page) => {
  filled(page);
  for (const name of ["gift-send", "gift-rose"]) {
    for (const key of ["Enter", " "]) {
      assert.deepEqual([held(page.find(name), key, false), held(page.find(name), key)], [true, false]);
    }
    assert.equal(held(page.find(name), "Tab"), true);
  }
});

test("above the viewer's own limit the button asks first", async (page) => {
  const { panel, sent } = filled(page);
  panel.setCoins(10_000);
  page.find("gift-castle").click();
  page.find("gift-send").click();
  assert.deepEqual([sent.length, page.find("gift-send").textContent, page.find("gift-send").dataset.asking],
    [0, "Really send?5,000", "true"]);
  assert.match(page.find("gift-question").textContent, /once more to spend 5,000 coins/);
  page.find("gift-panel").dispatchEvent(new Event("shut")); // the question goes with the sheet
  assert.equal(page.find("gift-send").dataset.asking, "false");
  await pass(700);
  page.find("gift-send").click();
  assert.deepEqual([sent.length, page.find("gift-send").dataset.asking], [0, "true"]);
  await pass(700);
  page.find("gift-send").click();
  assert.deepEqual([sent.length, page.find("gift-send").dataset.asking], [1, "false"]);
  assert.equal(page.find("gift-question").textContent, "");
});

test("the limit is kept for the next visit", (page) => {
  const { sent } = filled(page);
  const limit = page.find("ask-above");
  assert.deepEqual([...limit.options].map(({ textContent }) => textContent), ["100", "1,000", "5,000", "never"]);
  assert.equal(limit.value, "1000");
  limit.value = "100";
  limit.dispatchEvent(new page.window.Event("change"));
  page.find("gift-heart").click();
  page.find("quantity-99").click();
  page.find("gift-send").click();
  assert.equal(sent.length, 0);
  const again = filled(page);
  assert.equal(page.find("ask-above").value, "100");
  page.find("ask-above").value = "never";
  page.find("ask-above").dispatchEvent(new page.window.Event("change"));
  page.find("gift-heart").click();
  page.find("quantity-99").click();
  page.find("gift-send").click();
  assert.equal(again.sent.length, 1);
});

test("with reduced motion the streak's time does not move", (page) => {
  page.calm = true;
  filled(page);
  page.find("gift-send").click();
  assert.equal(new Set(page.motions[0]?.frames.map(({ transform }) => transform)).size, 1);
});
