/** Commands that wait for a reply, or for a connection. Each is answered, or given up. */
import { Refused } from "./refused.js";

/** @import { Command, Ok, Refuse, Replies } from "../wire.js" */
/** @typedef {{resolve(reply: object): void, reject(refused: Refused): void}} Promised */
/**
 * @typedef {Promised & {again: boolean, said: boolean, command: Command, timer: ReturnType<typeof setTimeout>}} Waiting
 */

const WAITING_MAX = 50; // below the 64 that a server has under way for one person: all may go out at once

export class Unanswered {
  /** @type {Map<string, Waiting>} */
  #waiting = new Map();
  #refs = 0;

  /**
   * @template {Command} C
   * @param {C} asked
   * @param {{again: boolean, said: boolean, timeoutMs: number}} how `again`: it may be sent again after the connection
   *   was lost. `said`: it goes out now
   * @returns {{command: Command, reply: Promise<Replies[C["type"]]>}} the command with its `ref`
   */
  add(asked, { again, said, timeoutMs }) {
    const ref = `c${++this.#refs}`;
    const command = { ...asked, ref };
    const reply = new Promise((resolve, reject) => {
      if (!said && this.#waiting.size >= WAITING_MAX) throw new Refused({ reason: "queue_full" });
      const timer = setTimeout(() => this.#giveUp(ref, "timeout"), timeoutMs);
      this.#waiting.set(ref, { command, again, said, resolve, reject, timer });
    });
    return { command, reply };
  }

  /** @param {Ok | Refuse} answer */
  settle({ type, ...reply }) {
    const waiting = this.#take(reply.ref ?? "");
    if ("reason" in reply) waiting?.reject(new Refused(reply));
    else waiting?.resolve(reply);
  }

  /** What to say on a new connection: what may be said again, and what was never said. */
  say() {
    const waiting = [...this.#waiting.values()];
    for (const each of waiting) each.said = true;
    return waiting.map(({ command }) => command);
  }

  /** The connection is lost. The outcome of commands that may not be repeated stays unknown. */
  lose() {
    for (const [ref, { again, said }] of [...this.#waiting]) if (said && !again) this.#giveUp(ref, "connection_lost");
  }

  close() {
    for (const ref of [...this.#waiting.keys()]) this.#giveUp(ref, "closed");
  }

  /**
   * @param {string} ref
   * @param {string} reason
   */
  #giveUp(ref, reason) {
    const waiting = this.#take(ref);
    waiting?.reject(new Refused({ reason: waiting.said || reason === "closed" ? reason : "not_connected" }));
  }
  /** @param {string} ref */
  #take(ref) {
    const waiting = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    clearTimeout(waiting?.timer);
    return waiting;
  }
}
