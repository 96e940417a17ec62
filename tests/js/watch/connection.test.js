/** The state of the connection, in words. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { Connection } from "../../../server/web/watch/connection.js";
import { pass } from "../support/clock.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");

test("each state has its words and says why", (page) => {
  const element = page.find("conn-state");
  const connection = new Connection(element);
  for (const [name, reason, text] of /** @type {const} */ ([
    ["connecting", null, "Connecting"], ["live", null, "Connected"], ["closed", "banned", "Banned"],
    ["closed", "room_ended", "Ended"], ["closed", "something new", "Disconnected"], ["closed", null, "Disconnected"],
  ])) {
    connection.show({ name, reason });
    assert.deepEqual([element.textContent, element.dataset.state, element.dataset.reason], [text, name, reason ?? ""]);
  }
});

test("seconds until the next try are counted down, hidden from screen readers", async (page) => {
  const element = page.find("conn-state");
  const connection = new Connection(element);
  connection.show({ name: "reconnecting", reason: "connection_lost", retry_in_ms: 2000 });
  assert.equal(element.textContent, "Reconnecting in 2 s");
  assert.equal(element.querySelector("span").getAttribute("aria-hidden"), "true");
  await pass(1000);
  assert.equal(element.textContent, "Reconnecting in 1 s");
  await pass(1000);
  assert.equal(element.textContent, "Reconnecting …");
  connection.show({ name: "live", reason: null });
  const looked = mock.method(performance, "now").mock;
  await pass(1000);
  assert.deepEqual([element.textContent, looked.callCount()], ["Connected", 0]);
});
