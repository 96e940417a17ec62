/** The pins above the chat. */
import assert from "node:assert/strict";

import { Pins } from "../../../server/web/watch/pins.js";
import { testsOn } from "../support/page.js";
import { chat, gift } from "../support/wire.js";

const test = testsOn("watch");

/** @import { ChatSent, GiftSent, Pin } from "../../../protocol/web/wire.js" */

/**
 * @param {string} id
 * @param {ChatSent | GiftSent} event
 * @returns {Pin}
 */
const pin = (id, event) => ({ id, event, by: null, until_ms: null });

test("the newest two are shown, each row is kept, and without pins there is no list", (page) => {
  const pins = new Pins(page.find("pins"));
  const [a, b, c] = [pin("a", chat({ seq: 1, text: "read <b>this</b>" })), pin("b", gift({ seq: 2, count: 3 })),
    pin("c", chat({ seq: 3, text: "and this" }))];
  pins.draw([a, b]);
  const [, second] = page.all("pin");
  assert.match(page.texts("pin").join("|"), /read <b>this<\/b>\|.* sent .*×3/);
  assert.equal(page.find("pins").hidden, false);
  pins.draw([a, b, c]);
  assert.deepEqual(page.all("pin").map(({ dataset }) => dataset.id), ["b", "c"]);
  assert.equal(page.all("pin")[0], second);
  pins.draw([]);
  assert.deepEqual([page.all("pin").length, page.find("pins").hidden], [0, true]);
});
