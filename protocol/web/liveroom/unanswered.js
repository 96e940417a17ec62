/** Commands that wait for a reply. Each gets one, or is given up. */
import { Refused } from "./refused.js";

/** @import { Command, Ok, Refuse, Replies } from "../wire.js" */
/** @typedef {{resolve(reply: object): void, reject(refused: Refused): void}} Promised */
/** @typedef {Promised & {again: boolean, command: Command, timer: ReturnType<typeof setTimeout>}} Waiting */

export class Unanswered {
  /** @type {Map<string, Waiting>} */
  #waiting = new Map();
  #refs = 0;

  /**
   * @template {Command} C
   * @param {C} asked
   * @param {boolean} again whether it may be sent again after the connection was lost
   * @param {number} timeoutMs
   * @returns {{command: Command, reply: Promise<Replies[C["type"]]>}} the command with its `ref`
   */
  add(asked, again, timeoutMs) {
    const ref = `c${++this.#refs}`;
    const command = { ...asked, ref };
    const reply = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(ref, "timeout"), timeoutMs);
      this.#waiting.set(ref, { command, again, resolve, reject, timer });
    });
    return { command, reply };
  }

  /** @param {Ok | Refuse} answer */
  settle({ type, ...reply }) {
    const waiting = this.#take(reply.ref ?? "");
    if ("reason" in reply) waiting?.reject(new Refused(reply));
    else waiting?.resolve(reply);
  }

  /** What may be sent again. */
  get repeatable() {
    return [...this.#waiting.values()].filter(({ again }) => again).map(({ command }) => command);
  }

  /** The connection is lost. The outcome of commands that may not be repeated stays unknown. */
  lose() {
    for (const [ref, { again }] of [...this.#waiting]) if (!again) this.#giveUp(ref, "connection_lost");
  }

  close() {
    for (const ref of [...this.#waiting.keys()]) this.#giveUp(ref, "closed");
  }

  /**
   * @param {string} ref
   * @param {string} reason
   */
  #giveUp(ref, reason) {
    this.#take(ref)?.reject(new Refused({ reason }));
  }
  /** @param {string} ref */
  #take(ref) {
    const waiting = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    clearTimeout(waiting?.timer);
    return waiting;
  }
}
