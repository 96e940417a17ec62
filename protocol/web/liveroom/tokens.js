/** Which token a client shows: a fixed one, or the last one that a function gave, until it may be the cause. */
import { BACKOFF_MIN_MS } from "./backoff.js";
import { expiresMs } from "./reading.js";

const REFRESH_EARLY_MS = 60_000;
const TIMER_MAX_MS = 2 ** 31 - 1; // a longer one would fire at once

export class Tokens {
  #fixed;
  #get;
  /** @type {string|null|undefined} */
  #token = null;
  /** @type {Promise<string|undefined>|null} */
  #asking = null;
  #renewed = false; // whether another one was asked for because the last one was not accepted

  /** @param {{token?: string, getToken?: () => (string|Promise<string>)}} options */
  constructor({ token, getToken }) {
    this.#fixed = token;
    this.#get = getToken;
  }

  /** Whether there can be a newer one. */
  get renewable() { return this.#get !== undefined; }

  /** The token to connect with. */
  async current() {
    this.#token ??= await this.newer();
    return this.#token;
  }
  /** Asks for another one. Who asks meanwhile gets the same. */
  newer() {
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }
  async #ask() { return this.#get ? this.#get() : this.#fixed; }

  /** @param {string|undefined} token was accepted in place of the last */
  take(token) { this.#token = token; }
  /** The next attempt asks again. */
  forget() { this.#token = null; }
  /** A welcome came. */
  accepted() { this.#renewed = false; }

  /**
   * Whether a token that was not accepted is replaced: once.
   * @param {number} code
   */
  renews(code) {
    if (code !== 4511 || !this.renewable || this.#renewed) return false;
    this.#token = null;
    this.#renewed = true;
    return true;
  }

  /**
   * When to replace the token on its socket, by its own claim.
   * @param {number} nowMs
   * @returns {number} 0 if it does not say, or cannot be replaced
   */
  refreshInMs(nowMs) {
    const leftMs = expiresMs(this.#token ?? "") - nowMs;
    if (!this.renewable || !leftMs) return 0;
    return Math.min(TIMER_MAX_MS, Math.max(BACKOFF_MIN_MS, leftMs - Math.min(REFRESH_EARLY_MS, leftMs / 5)));
  }
}
