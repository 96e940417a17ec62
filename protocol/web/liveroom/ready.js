/** Who waits until a client is live. */
import { Refused } from "./refused.js";

/** @import { State } from "../liveroom.js" */

export class Ready {
  /** @type {{resolve: () => void, reject: (refused: Refused) => void}[]} */
  #waiting = [];

  /**
   * @param {State} state as it is now
   * @returns {Promise<void>} fails when the client is out for good
   */
  when(state) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.changed(state);
    });
  }

  /** @param {State} state */
  changed({ name, reason }) {
    if (name !== "live" && name !== "closed") return;
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (name === "live") resolve();
      else reject(new Refused({ reason: reason ?? "closed" }));
    }
  }
}
