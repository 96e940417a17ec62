/** The like button. */
import assert from "node:assert/strict";

import { Likes } from "../../../server/web/watch/likes.js";
import { pass } from "../support/clock.js";
import { testsOn } from "../support/page.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/** @param {boolean} refused */
function started(refused = false) {
  /** @type {number[]} */
  const sent = [];
  const likes = new Likes(async (count) => {
    sent.push(count);
    if (refused) throw new Error("refused");
    return {};
  });
  return { likes, sent };
}

/**
 * @param {OpenPage} page
 * @param {number} times
 */
function tap(page, times) {
  for (let n = 0; n < times; n++) page.find("like-button").click();
}
/** @param {OpenPage} page */
const hearts = (page) => page.motions.length;

test("taps are collected and sent at most once a second", async (page) => {
  const { sent } = started();
  tap(page, 3);
  assert.deepEqual([sent, hearts(page)], [[], 3]);
  await pass(10);
  assert.deepEqual(sent, [3]);
  tap(page, 2);
  await pass(980);
  assert.deepEqual(sent, [3]);
  await pass(20);
  assert.deepEqual(sent, [3, 2]);
  await pass(5000);
  assert.deepEqual(sent, [3, 2]);
  tap(page, 1);
  await pass(10);
  assert.deepEqual(sent, [3, 2, 1]);
});

test("of more than fifty taps the rest goes with the next message", async (page) => {
  const { sent } = started();
  tap(page, 70);
  await pass(10);
  assert.deepEqual(sent, [50]);
  await pass(1000);
  assert.deepEqual(sent, [50, 20]);
});

test("hearts rise for other people's likes, six at most, and not again for one's own", async (page) => {
  const { likes } = started();
  tap(page, 3);
  await pass(10);
  likes.counted({ added: 2 });
  assert.equal(hearts(page), 3);
  likes.counted({ added: 3 });
  assert.equal(hearts(page), 3 + 2);
  likes.counted({ added: 100 });
  assert.equal(hearts(page), 3 + 2 + 6);
  assert.deepEqual(page.motions.slice(-2).map(({ options }) => options.delay), [4 * 140, 5 * 140]);
});

test("a refused tap does not count as one's own", async (page) => {
  const { likes } = started(true);
  tap(page, 2);
  await pass(10);
  likes.counted({ added: 2 });
  assert.equal(hearts(page), 2 + 2);
});

test("two clicks on the stage are a like, on a button there they are not", (page) => {
  started();
  page.find("stage").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  assert.equal(hearts(page), 1);
  page.find("like-button").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  assert.equal(hearts(page), 1);
});
