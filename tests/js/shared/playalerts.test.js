/** The player of alerts: one at a time, each for its time. */
import assert from "node:assert/strict";

import { AlertQueue } from "../../../server/web/shared/alertqueue.js";
import { find } from "../../../server/web/shared/dom.js";
import { AlertPlayer } from "../../../server/web/shared/playalerts.js";
import { pass, settled } from "../support/clock.js";
import { heardErrors, openPage, testsOn } from "../support/page.js";
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

/**
 * A player of which each stage is noted.
 * @param {import("../../../server/web/shared/playalerts.js").Options} [options]
 */
function noted(options) {
  /** @type {string[]} */
  const stages = [];
  const queue = new AlertQueue();
  const player = new AlertPlayer(queue, find("gift-show"), {
    testid: "alert", onStage: ({ gift: { id } }, stage) => stages.push(`${id} ${stage}`), ...options,
  });
  return { queue, player, stages };
}

test("paused, the alert being shown ends in its time, and no other begins until it goes on", async (page) => {
  const { player, stages } = noted();
  for (const id of ["a", "b", "c"]) player.offer(alert(id));
  player.pause();
  await pass(9000, 100);
  assert.deepEqual([showing(page), stages], [[], ["a started", "a finished"]]);
  player.next();
  await settled();
  assert.deepEqual(showing(page), ["b"]);
  await pass(9000, 100);
  assert.deepEqual(showing(page), []);
  player.resume();
  await settled();
  assert.deepEqual(showing(page), ["c"]);
});

test("a skipped alert leaves at once; another one's id skips nothing", async (page) => {
  const { player, stages } = noted();
  const [a, b] = [alert("a"), alert("b")];
  for (const each of [a, b]) player.offer(each);
  player.skip(b.id);
  await pass(100);
  assert.deepEqual(showing(page), ["a"]);
  player.skip(a.id);
  await pass(700);
  assert.deepEqual(showing(page), ["b"]);
  player.next();
  await pass(700);
  assert.deepEqual([showing(page), stages], [[], ["a started", "a skipped", "b started", "b skipped"]]);
});

test("an alert that cannot be shown costs only itself", async (page) => {
  const heard = heardErrors();
  const { player, stages } = noted({ plan: ({ gift: { id } }) => {
    if (id === "bad") throw new Error("no plan");
    return { ms: 1000 };
  } });
  for (const id of ["bad", "a"]) player.offer(alert(id));
  await pass(300);
  assert.deepEqual([showing(page), stages, heard.callCount()], [["a"], ["bad failed", "a started"], 1]);
  await pass(1000);
  assert.equal(stages.at(-1), "a finished");
});

test("an alert stays for its speech, which is hushed when it is skipped", async (page) => {
  /** @type {AbortSignal[]} */
  const spoken = [];
  const { player, stages } = noted({ plan: () => ({ ms: 1000, speech: (hush) => new Promise((resolve) => {
    spoken.push(hush);
    setTimeout(resolve, 5000);
  }) }) });
  for (const id of ["a", "b"]) player.offer(alert(id));
  await pass(4900, 100);
  assert.deepEqual(showing(page), ["a"]);
  await pass(1000, 100);
  assert.deepEqual([showing(page), stages], [["b"], ["a started", "a finished", "b started"]]);
  player.skip();
  await pass(700);
  assert.deepEqual([spoken.map(({ aborted }) => aborted), stages.at(-1)], [[false, true], "b skipped"]);
});

test("a player that is stopped leaves its alert to the next one", async (page) => {
  const { queue, player, stages } = noted();
  player.offer(alert("a"));
  player.stop();
  await pass(3000, 100);
  assert.deepEqual([showing(page), queue.waiting.length, stages], [[], 1, ["a started"]]);
  new AlertPlayer(queue, find("gift-show"), { testid: "alert" });
  assert.deepEqual(showing(page), ["a"]);
});
