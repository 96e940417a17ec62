/** The large animation of one gift. */
import assert from "node:assert/strict";

import { AlertQueue } from "../../../server/web/shared/alertqueue.js";
import { find } from "../../../server/web/shared/dom.js";
import { LEAVE_MS, kindOf, showGift } from "../../../server/web/shared/giftshow.js";
import { pass, withRandom } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { gift, shown } from "../support/wire.js";

/** @import { GiftSent } from "../../../protocol/web/wire.js" */

const test = testsOn("watch");

/** @param {Partial<GiftSent>} [fields] */
function alertOf(fields) {
  const queue = new AlertQueue();
  queue.offer(gift(fields));
  const alert = queue.next();
  assert.ok(alert);
  return alert;
}
/** @param {Partial<GiftSent>} [fields] */
const show = (fields) => showGift(find("gift-show"), alertOf(fields), "show");
/** @param {string} kind */
const moving = (kind) => ({ kind, url: "/x.svg", duration_ms: 100 });
/** @param {string} selector */
const texts = (selector) => [...find("show").querySelectorAll(selector)].map(({ textContent }) => textContent);

test("a gift is shown by the kind of its animation, an unknown one by its tier", () => {
  for (const [kind, tier, shownAs] of /** @type {const} */ ([
    ["ride", 1, "ride"], ["float", 4, "float"], ["spiral", 1, "float"], ["spiral", 2, "burst"], ["toString", 3, "ride"],
    ["spiral", 4, "fullscreen"], ["spiral", 7, "burst"],
  ])) {
    assert.equal(kindOf(alertOf({ gift: shown("x", tier, { animation: moving(kind) }) })), shownAs);
  }
});

test("nobody is named for an anonymous gift", () => {
  show({ from: { user_id: "anonymous", name: "", role: null, badges: ["anonymous"] } });
  assert.deepEqual(texts(".who"), ["Somebody"]);
});

test("it shows who gave what, how often, and the message", () => {
  show({ gift: shown("castle", 4, { animation: moving("fullscreen") }), count: 3, message: "<b>Hi</b>" });
  const { dataset, className } = find("show");
  assert.deepEqual([dataset.gift, dataset.kind, dataset.count], ["castle", "fullscreen", "3"]);
  assert.match(className, /kind-fullscreen tier-4/);
  assert.deepEqual([texts(".who"), texts(".what"), texts(".times"), texts(".said")],
    [["Alice"], [" sent Castle"], ["×3"], ["<b>Hi</b>"]]);
  assert.deepEqual(texts(".test"), []);
});

test("a single gift has no counter, a test alert is marked as one", () => {
  show({ test: true });
  assert.deepEqual([texts(".times"), texts(".said"), texts(".test")], [[""], [""], ["Test"]]);
});

test("an alert that changed is drawn again, an unchanged one is left alone", () => {
  const alert = alertOf({ combo: { id: "tap", count: 1 } });
  const { update } = showGift(find("gift-show"), alert, "show");
  const times = find("show").querySelector(".times");
  assert.ok(times);
  times.classList.remove("bump");
  update();
  assert.equal(times.classList.contains("bump"), false);
  alert.count = 5;
  update();
  assert.deepEqual([times.textContent, find("show").dataset.count, times.classList.contains("bump")],
    ["×5", "5", true]);
  alert.message = "More";
  update();
  alert.others.push("Bob", "Carol");
  update();
  assert.deepEqual([texts(".said"), texts(".who")], [["More"], ["Alice and 2 more"]]);
});

test("it fades before it goes", async (page) => {
  const left = show().leave();
  assert.equal(find("show").classList.contains("leaving"), true);
  await pass(LEAVE_MS - 10);
  assert.equal(page.all("show").length, 1);
  await pass(10);
  await left;
  assert.equal(page.all("show").length, 0);
});

test("sparks and companions match the kind, and there are none with reduced motion", (page) => {
  /** @param {string} kind */
  const count = (kind) => {
    find("gift-show").replaceChildren();
    show({ gift: shown("x", 1, { animation: moving(kind) }) });
    return [texts(".spark").length, texts(".companion").length];
  };
  assert.deepEqual(["float", "burst", "ride", "fullscreen"].map(count), [[0, 5], [22, 0], [12, 0], [44, 0]]);
  page.calm = true;
  assert.deepEqual(["float", "fullscreen"].map(count), [[0, 0], [0, 0]]);
});

test("sparks fly once around, companions stand in a row", () => {
  withRandom(0.5);
  /**
   * @param {string} kind
   * @param {string} selector
   * @param {string[]} names
   */
  const styles = (kind, selector, ...names) => {
    find("gift-show").replaceChildren();
    show({ gift: shown("x", 1, { animation: moving(kind) }) });
    const pieces = /** @type {NodeListOf<HTMLElement>} */ (find("show").querySelectorAll(selector));
    return [...pieces].map(({ style }) => names.map((name) => style.getPropertyValue(name).replace(/[a-z]+$/, "")));
  };
  const burst = styles("burst", ".spark", "--x", "--y", "--wait", "--size");
  assert.deepEqual([burst[0], burst[11]], [["29.7", "4.5", "0.10", "2.15"], ["-29.7", "-4.5", "0.10", "2.15"]]);
  const fullscreen = styles("fullscreen", ".spark", "--x", "--y", "--wait");
  assert.deepEqual([fullscreen[0], fullscreen[11]], [["54.4", "8.2", "0.80"], ["-8.2", "54.4", "0.80"]]);
  const row = [["-14.0", "0.00"], ["-7.0", "0.23"], ["0.0", "0.46"], ["7.0", "0.69"], ["14.0", "0.02"]];
  assert.deepEqual(styles("float", ".companion", "--x", "--wait"), row);
});
