/** How long to wait before the next attempt to connect: longer after each failure, and random. */

export const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const STEADY_MS = 5_000; // a connection that lived this long was good: the pauses start again from the shortest

export class Backoff {
  #attempt = 0;

  /** Full jitter: a thousand clients that lost the same node must not come back in step. */
  nextMs() {
    return Math.round(Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++));
  }

  /** @param {number} ms how long the lost connection lived */
  lived(ms) {
    if (ms > STEADY_MS) this.#attempt = 0;
  }
}
