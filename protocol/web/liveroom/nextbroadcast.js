/** After a broadcast has ended: asks now and then whether the room is live again. */

const ASK_MS_MIN = 20_000;
const ASK_MS_MAX = 40_000; // random: a whole audience must not ask at once
const ON_AIR = ["live", "paused"];

export class NextBroadcast {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {() => string} address of the room, over HTTP
   * @param {() => void} begun what to do when the room is on the air
   */
  constructor(address, begun) {
    this.#address = address;
    this.#begun = begun;
  }
  #address;
  #begun;

  wait() {
    this.stop();
    this.#timer = setTimeout(() => this.#ask(), ASK_MS_MIN + Math.random() * (ASK_MS_MAX - ASK_MS_MIN));
  }
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #ask() {
    const timer = this.#timer;
    const status = await statusOf(this.#address());
    if (timer !== this.#timer) return; // stopped meanwhile
    if (ON_AIR.includes(status)) this.#begun();
    else this.wait();
  }
}

/**
 * @param {string} address
 * @returns {Promise<string>} "" while the server does not say
 */
async function statusOf(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? (await answer.json()).status : "";
  } catch {
    return "";
  }
}
