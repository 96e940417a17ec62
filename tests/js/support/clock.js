/** A clock that a test moves: timers, dates and `performance.now` are frozen until then. */
import { mock, test } from "node:test";

export const START_MS = 1_760_000_000_000;
const STEP_MS = 10; // a timer that is set during a step starts at the step's end

/**
 * A test whose clock starts at START_MS.
 * @param {string} name
 * @param {() => void | Promise<void>} body
 */
export const timed = (name, body) => test(name, async () => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: START_MS });
  mock.method(performance, "now", () => Date.now() - START_MS);
  try {
    await body();
  } finally {
    mock.timers.reset();
    mock.restoreAll();
  }
});

/** Lets everything that is ready run: promises, and what they start. */
export const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/**
 * Lets this much time pass, and runs what is due then in its order.
 * @param {number} ms
 * @param {number} step longer ones are faster and less exact
 */
export async function pass(ms, step = STEP_MS) {
  await settled();
  for (let left = ms; left > 0; left -= step) {
    mock.timers.tick(Math.min(step, left));
    await settled();
  }
}

/**
 * Math.random gives these numbers, the last one forever.
 * @param {number[]} numbers
 */
export function withRandom(...numbers) {
  let index = 0;
  mock.method(Math, "random", () => numbers[Math.min(index++, numbers.length - 1)]);
}
