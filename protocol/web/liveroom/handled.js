/** Up to where the handlers of a client have run. A handler may take a while: it gives a promise then. */

export class Handled {
  /** @type {string|null} the position behind the last event whose handlers, and all before it, have run */
  since;
  /** @type {{since: string|null, done: boolean}[]} */
  #running = [];

  /** @param {string|null} [since] an earlier position */
  constructor(since = null) { this.since = since; }

  /**
   * @param {string|null} since the position behind what is handled
   * @param {unknown} [result] what its handler gave
   */
  after(since, result) {
    const entry = { since, done: false };
    this.#running.push(entry);
    const done = () => {
      entry.done = true;
      while (this.#running[0]?.done) this.since = this.#running.shift()?.since ?? null;
    };
    if (isPromise(result)) result.then(done, (error) => { console.error(error); done(); });
    else done();
  }
}

/**
 * @param {unknown} result
 * @returns {result is Promise<unknown>}
 */
const isPromise = (result) => typeof (/** @type {any} */ (result)?.then) === "function";
