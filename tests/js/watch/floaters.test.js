/** Small things that rise and fade. */
import assert from "node:assert/strict";

import { el } from "../../../server/web/shared/dom.js";
import { floatUp } from "../../../server/web/watch/floaters.js";
import { withRandom } from "../support/clock.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");
const PATH = { ms: 2000, rise: 300, sway: 20, x: 7, wait: 140 };

test("a thing rises on its path, and is gone at its end", (page) => {
  withRandom(0.9);
  const layer = page.find("gift-show");
  floatUp(layer, el("i"), PATH);
  const [motion] = page.motions;
  assert.deepEqual([motion?.options.duration, motion?.options.delay], [2000, 140]);
  assert.match(String(motion?.frames.at(-1)?.transform), /^translate\(27px, -300px\)/);
  assert.equal(layer.childElementCount, 1);
  motion?.onfinish?.();
  assert.equal(layer.childElementCount, 0);
  floatUp(layer, el("i"), PATH);
  page.motions[1]?.oncancel?.();
  assert.equal(layer.childElementCount, 0);
});

test("half of them sway to the other side", (page) => {
  withRandom(0.1);
  floatUp(page.find("gift-show"), el("i"), PATH);
  assert.match(String(page.motions[0]?.frames.at(-1)?.transform), /^translate\(-13px, /);
});

test("no more than 36 are there at once, and none in a hidden tab", (page) => {
  const layer = page.find("gift-show");
  for (let n = 0; n < 40; n++) floatUp(layer, el("i"), PATH);
  assert.equal(layer.childElementCount, 36);
  layer.replaceChildren();
  page.hidden = true;
  floatUp(layer, el("i"), PATH);
  assert.equal(layer.childElementCount, 0);
});

test("with reduced motion a thing does not move", (page) => {
  page.calm = true;
  floatUp(page.find("gift-show"), el("i"), PATH);
  const places = new Set(page.motions[0]?.frames.map(({ transform }) => transform));
  assert.deepEqual([...places], ["translate(7px, -100px)"]);
});
