/** The room's goals. */
import assert from "node:assert/strict";

import { Goals } from "../../../server/web/watch/goals.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");

/**
 * @param {string} id
 * @param {number} current
 * @param {boolean} [reached]
 */
const goal = (id, current, reached = false) =>
  ({ id, kind: /** @type {const} */ ("coins"), title: `Goal ${id}`, target: 1000, current, reached });

/** @param {import("../support/page.js").OpenPage} page */
const shown = (page) => page.all("goal").map(({ dataset }) => [dataset.id, dataset.current, dataset.reached]);

test("without goals there is no panel", (page) => {
  const goals = new Goals(page.find("goals"), page.find("goal-list"));
  goals.draw([goal("a", 1)]);
  assert.equal(page.find("goals").hidden, false);
  goals.draw([]);
  assert.deepEqual([page.find("goals").hidden, shown(page)], [true, []]);
});

test("a goal shows how far it is, also to a screen reader", (page) => {
  new Goals(page.find("goals"), page.find("goal-list")).draw([goal("a", 250)]);
  const [row] = page.all("goal");
  const bar = row.querySelector("[role=progressbar]");
  assert.equal(row.textContent, "Goal a250 of 1,000");
  const names = ["aria-label", "aria-valuenow", "aria-valuemax", "aria-valuetext"];
  assert.deepEqual(names.map((name) => bar?.getAttribute(name)), ["Goal a", "250", "1000", "250 of 1,000"]);
  assert.equal(/** @type {HTMLElement} */ (bar).style.getPropertyValue("--share"), "0.25");
});

test("more than the target is a full bar", (page) => {
  new Goals(page.find("goals"), page.find("goal-list")).draw([goal("a", 4000, true)]);
  const [row] = page.all("goal");
  const bar = /** @type {HTMLElement} */ (row.querySelector("[role=progressbar]"));
  assert.deepEqual([bar.style.getPropertyValue("--share"), bar.getAttribute("aria-valuenow")], ["1", "1000"]);
  assert.deepEqual([row.textContent, row.classList.contains("is-reached")], ["Goal aReached", true]);
});

test("those to reach come first, three at most; rows stay the same elements", (page) => {
  const goals = new Goals(page.find("goals"), page.find("goal-list"));
  goals.draw([goal("a", 1000, true), goal("b", 1), goal("c", 2), goal("d", 3)]);
  assert.deepEqual(shown(page).map(([id]) => id), ["b", "c", "d"]);
  const [b, c] = page.all("goal");
  goals.draw([goal("b", 1000, true), goal("c", 7)]);
  assert.deepEqual(shown(page), [["c", "7", "false"], ["b", "1000", "true"]]);
  assert.deepEqual(page.all("goal"), [c, b]);
});
