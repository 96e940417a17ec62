/** How long to wait before the next try to connect: longer after each failure, and never in step with others. */

export const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const STEADY_MS = 5_000; // a connection that lived this long was good: its loss starts again

export class Backoff {
  #attempt = 0;

  /** Full jitter: a thousand clients that lost the same node must not come back in step. */
  nextMs() {
    return Math.round(Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++));
  }

  /** @param {number} ms how long the connection lived that was lost now */
  lived(ms) {
    if (ms > STEADY_MS) this.#attempt = 0;
  }
}
