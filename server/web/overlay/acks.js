/** Tells the server how far alerts are: the proof that they were played, and that this overlay lives. */
/** @import { AckAlert } from "../wire.js" */

const EVERY_MS = 250;
const AT_ONCE = 8; // 32 a second: below what a socket may send
const WAITING_MAX = 200; // while the server is away, or in a flood: what is only `received` goes first

/** @typedef {Pick<AckAlert, "id"|"stage"> & {also?: string[]}} Ack */

export class Acks {
  /** @type {Ack[]} */
  #waiting = [];
  #send;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;

  /** @param {(ack: Ack) => Promise<unknown>|null} send null: not now */
  constructor(send) { this.#send = send; }

  /** @param {Ack} ack */
  say(ack) {
    this.#waiting.push(ack);
    if (this.#waiting.length > WAITING_MAX) {
      const least = this.#waiting.findIndex(({ stage }) => stage === "received");
      this.#waiting.splice(Math.max(0, least), 1);
    }
    this.#timer ??= setTimeout(() => this.flush(), EVERY_MS);
  }
  /** Sends what waits, some at a time. Call it when the connection is back. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const ack of this.#waiting.slice(0, AT_ONCE)) {
      const sent = this.#send(ack);
      if (!sent) return;
      this.#waiting.shift();
      sent.catch(() => {}); // an older server does not know it; a lost one is said by the next stage
    }
    if (this.#waiting.length) this.#timer = setTimeout(() => this.flush(), EVERY_MS);
  }
}
