/** The pauses between tries to connect. */
import assert from "node:assert/strict";

import { Backoff } from "../../../protocol/web/liveroom/backoff.js";
import { timed as test, withRandom } from "../support/clock.js";

test("each retry may wait twice as long as the one before, up to twenty seconds", () => {
  withRandom(1);
  const backoff = new Backoff();
  const waits = Array.from({ length: 8 }, () => backoff.nextMs());
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("clients that lost the same node do not reconnect in step", () => {
  withRandom(0, 0.25, 0.75);
  assert.deepEqual([new Backoff(), new Backoff(), new Backoff()].map((each) => each.nextMs()), [0, 125, 375]);
});

test("only a connection that lasted a while resets the pause", () => {
  withRandom(1);
  const backoff = new Backoff();
  backoff.nextMs();
  backoff.nextMs();
  backoff.lived(5000);
  assert.equal(backoff.nextMs(), 2000);
  backoff.lived(5001);
  assert.equal(backoff.nextMs(), 500);
});
