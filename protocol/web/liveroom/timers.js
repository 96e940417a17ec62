/** Timers by name: there is one of each. */

export class Timers {
  /** @type {Record<string, ReturnType<typeof setTimeout>>} */
  #timers = {};

  /**
   * @param {string} name
   * @param {number} ms
   * @param {() => void} action
   */
  after(name, ms, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, ms);
  }
  clear() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
  }
}
