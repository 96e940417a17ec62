/** The stage: who is live, the numbers, and the curtain. */
import assert from "node:assert/strict";

import { Stage } from "../../../server/web/watch/stage.js";
import { testsOn } from "../support/page.js";
import { snapshot } from "../support/wire.js";

/** @import { Snapshot } from "../../../protocol/web/wire.js" */

const test = testsOn("watch");

/** @param {Partial<Snapshot>} [fields] */
const room = (fields) => ({ ...snapshot(fields), chat: [] });

test("title, host and numbers are the room's", (page) => {
  const stage = new Stage();
  stage.draw(room({ title: "Late night", likes: 12_345, coins: 7, viewers: { now: 3, peak: 9, unique: 9 } }));
  assert.deepEqual([page.texts("room-title"), page.texts("host-name"), document.title],
    [["Late night"], ["Creator"], "Late night · Liveroom"]);
  assert.deepEqual(["viewer-count", "likes", "coins"].map((name) => page.find(name).dataset.value),
    ["3", "12345", "7"]);
  assert.deepEqual([page.find("likes").textContent, document.querySelector(".host-initial")?.textContent],
    ["12.3K", "C"]);
  stage.draw(room({ title: "" }));
  assert.deepEqual([page.texts("room-title"), document.title], [["Creator"], "Creator · Liveroom"]);
});

test("while the room is live there is no curtain; otherwise it says why there is nothing to see", (page) => {
  const stage = new Stage();
  for (const [status, badge, title] of /** @type {[string, string, string|null][]} */ ([
    ["offline", "Offline", "Not live yet"], ["live", "Live", null], ["paused", "Paused", "Back in a moment"],
    ["ended", "Ended", "This live has ended"], ["suspended", "Stopped", "This live was stopped"],
    ["rerun", "rerun", null],
  ])) {
    stage.draw(room({ status }));
    assert.deepEqual([page.find("room-status").textContent, page.find("room-status").dataset.status], [badge, status]);
    assert.equal(page.find("stage").dataset.status, status);
    assert.equal(page.find("curtain").hidden, title === null);
    if (!title) continue;
    assert.equal(page.find("curtain").dataset.reason, status);
    assert.equal(page.find("curtain").querySelector("h2").textContent, title);
  }
});

test("a viewer who is not in the room sees why, whatever the room's status", (page) => {
  const stage = new Stage();
  stage.close("no_such_room");
  assert.equal(page.find("curtain").querySelector("h2").textContent, "There is no such room");
  stage.draw(room({ status: "live" }));
  assert.equal(page.find("curtain").hidden, false);
  stage.close(null);
  assert.equal(page.find("curtain").hidden, true);
  stage.close("token_needed");
  assert.match(page.find("token-needed").textContent, /#token=/);
  stage.close("left");
  assert.equal(page.find("curtain").hidden, true);
});

test("an unchanged curtain is not drawn again", (page) => {
  const stage = new Stage();
  stage.draw(room({ status: "paused" }));
  const title = page.find("curtain").querySelector("h2");
  stage.draw(room({ status: "paused", likes: 9 }));
  assert.equal(page.find("curtain").querySelector("h2"), title);
});
