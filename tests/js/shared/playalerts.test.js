/** The player of alerts: one at a time, each for its time. */
import assert from "node:assert/strict";

import { AlertQueue } from "../../../server/web/shared/alertqueue.js";
import { find } from "../../../server/web/shared/dom.js";
import { AlertPlayer } from "../../../server/web/shared/playalerts.js";
import { pass, settled } from "../support/clock.js";
import { openPage, testsOn } from "../support/page.js";
import { gift, person, shown } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/** A player on this page, which has nothing to show yet. */
async function idle() {
  const told = { changes: 0 };
  const onChange = () => { told.changes++; };
  const player = new AlertPlayer(new AlertQueue(), find("gift-show"), { testid: "alert", onChange });
  await settled();
  return { player, told };
}

/** Shown for 2 s. @param {string} id */
const alert = (id) => gift({ gift: shown(id, 2), from: person(id) });
/** @param {number} count */
const tap = (count) => gift({ combo: { id: "tap", count }, gift: shown("rose", 2) });
/** @param {OpenPage} page */
const showing = (page) => page.all("alert").map(({ dataset }) => dataset.gift);

test("one alert is shown at a time, each for its own time, with a pause between", async (page) => {
  const { player } = await idle();
  for (const id of ["a", "b"]) player.offer(alert(id));
  assert.deepEqual(showing(page), ["a"]);
  await pass(1990);
  assert.deepEqual(showing(page), ["a"]);
  await pass(10);
  assert.deepEqual(showing(page), []);
  await pass(190);
  assert.deepEqual(showing(page), []);
  await pass(20);
  assert.deepEqual(showing(page), ["b"]);
  await pass(2300);
  assert.deepEqual(showing(page), []);
  player.offer(alert("c"));
  assert.deepEqual(showing(page), ["c"]);
});

test("the alerts that a reloaded page starts with are played immediately", async () => {
  const queue = new AlertQueue();
  queue.offer(alert("kept"));
  const page = openPage("watch");
  new AlertPlayer(new AlertQueue({ saved: queue.save() }), page.find("gift-show"));
  assert.deepEqual(page.all("show").length, 1);
});

test("a streak that grows keeps its alert until its last count can be read", async (page) => {
  const { player } = await idle();
  player.offer(tap(1));
  await pass(1400);
  player.offer(tap(2));
  assert.equal(page.find("alert").dataset.count, "2");
  await pass(2890 - 1400);
  assert.deepEqual(showing(page), ["rose"]);
  await pass(20);
  assert.deepEqual(showing(page), []);
});

test("a streak that grows early does not end before its usual time", async (page) => {
  const { player } = await idle();
  player.offer(tap(1));
  await pass(100);
  player.offer(tap(2));
  await pass(1880);
  assert.deepEqual(showing(page), ["rose"]);
});

test("while others wait a streak ends after three times its own time", async (page) => {
  const { player } = await idle();
  player.offer(tap(1));
  player.offer(alert("next"));
  for (let count = 2; count <= 6; count++) {
    await pass(1000);
    player.offer(tap(count));
  }
  await pass(980);
  assert.deepEqual(showing(page), ["rose"]);
  await pass(230);
  assert.deepEqual(showing(page), ["next"]);
});

test("gifts of a streak that arrive while its alert leaves are a new alert", async (page) => {
  const { player } = await idle();
  player.offer(tap(1));
  await pass(1600);
  assert.equal(page.find("alert").classList.contains("leaving"), true);
  player.offer(tap(2));
  await pass(700);
  assert.deepEqual([showing(page), page.find("alert").dataset.count], [["rose"], "2"]);
});

test("when a hundred wait they are short, and in the end it says how many more there were", async (page) => {
  const { player } = await idle();
  for (let n = 0; n < 121; n++) player.offer(gift({ gift: shown("rose", 1), from: person(`p${n}`) }));
  await pass(2300); // the first was alone when it came
  const second = page.find("alert");
  await pass(1050);
  assert.ok(second && page.find("alert") && page.find("alert") !== second);
  const missed = new Set();
  for (let step = 0; step < 180; step++) {
    await pass(1000, 100);
    for (const text of page.texts("alerts-missed")) missed.add(text);
  }
  assert.deepEqual([...missed], ["and 20 more gifts"]);
  assert.deepEqual([page.texts("alerts-missed"), showing(page)], [[], []]);
});

test("every change of the queue is reported", async () => {
  const { player, told } = await idle();
  player.offer(alert("a"));
  const atOnce = told.changes;
  assert.ok(atOnce >= 1);
  player.offer(alert("b"));
  assert.ok(told.changes > atOnce);
  await pass(2300);
  const before = told.changes;
  await pass(2300);
  assert.ok(told.changes > before);
});
