/** What an overlay shows of the room's settings, and what its own address changes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { hasAlert, wantedFor } from "../../../server/web/overlay/plan.js";
import { USUAL, settled } from "../../../server/web/overlay/settings.js";
import { gift, shown } from "../support/wire.js";

/** @import { OverlaySettings } from "../../../protocol/web/wire.js" */

const WIDGETS = [{ kind: "goal", place: "top", scale: 80 }, { kind: "alerts", place: "left", scale: 50 }];
const ROOM = { ...USUAL, widgets: WIDGETS };

test("an overlay's address chooses widgets, and says where and how large they are", () => {
  /** @param {string} query */
  const widgets = (query) => settled(ROOM, query).widgets.map(({ kind, place, scale }) => `${kind} ${place} ${scale}`);
  assert.deepEqual(widgets(""), ["goal top 80", "alerts left 50"]);
  assert.deepEqual(widgets("?widgets=alerts"), ["alerts left 50"]);
  assert.deepEqual(widgets("?widgets=chat,clock,goal&position=right"), ["chat right 100", "goal right 80"]);
  assert.deepEqual(widgets("?widgets=clock&scale=0.5"), ["goal top 50", "alerts left 50"]);
  assert.deepEqual(widgets("?widgets=chat&scale=99&position=up"), ["chat center 300"]);
  assert.deepEqual(widgets("?widgets=chat&scale=-1"), ["chat center 25"]);
});

test("theme, font and veil come from the address if it names what there is", () => {
  /** @param {string} query */
  const look = (query) => { const { theme, font, veil } = settled(ROOM, query); return [theme, font, veil]; };
  assert.deepEqual(look("?theme=light&font=mono&veil=0"), ["light", "mono", 0]);
  assert.deepEqual(look("?theme=pink&font=wingdings&veil=101"), ["dark", "sans", 100]);
  assert.deepEqual(look("?veil=-1"), ["dark", "sans", 100]);
});

test("the first variant that fits says how an alert differs", () => {
  /** @type {OverlaySettings} */
  const settings = { ...USUAL, duration_ms: 3000, sound: "chime", variants: [
    { gift: "rose", min_coins: 100, animation: "fullscreen", volume: 0 },
    { gift: "rose", message: false, sound: "pop" },
    { tier: 4, duration_ms: 9000, media: "/web/gifts/crown.svg" }, { min_coins: 50, show: false },
  ] };
  const rose = shown("rose", 1, { coins: 1 });
  const { kind, volume, sound, ms, message } = wantedFor(settings, rose, 100);
  assert.deepEqual([kind, volume, sound, ms, message], ["fullscreen", 0, "chime", 3000, true]);
  const few = wantedFor(settings, rose, 99);
  assert.deepEqual([few.kind, few.volume, few.sound, few.message, few.media], [null, 60, "pop", false, null]);
  const castle = wantedFor(settings, shown("castle", 4), 1);
  assert.deepEqual([castle.ms, castle.media, castle.show], [9000, "/web/gifts/crown.svg", true]);
  assert.equal(wantedFor(settings, shown("coffee", 2, { coins: 10 }), 5).show, false);
  assert.equal(wantedFor(settings, shown("coffee", 2, { coins: 10 }), 4).show, true);
});

test("a gift has an alert from the least coins on, a streak by what it has become, and a test always", () => {
  const settings = { ...USUAL, min_coins: 10 };
  const one = gift({ gift: shown("rose", 1, { coins: 1 }), count: 9 });
  assert.equal(hasAlert(settings, one), false);
  assert.equal(hasAlert(settings, { ...one, count: 10 }), true);
  assert.equal(hasAlert(settings, { ...one, combo: { id: "tap", count: 10 } }), true);
  assert.equal(hasAlert(settings, { ...one, test: true }), true);
  assert.equal(hasAlert({ ...settings, variants: [{ show: false }] }, { ...one, count: 10 }), false);
  assert.equal(hasAlert({ ...settings, widgets: [] }, { ...one, test: true }), false);
});
