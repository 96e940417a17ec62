/** A command that was not carried out, and why. */
/** @import { Open, Refusal } from "../wire.js" */

export class Refused extends Error {
  /** @override */
  name = "Refused";
  /**
   * The last five are our own: see `send`.
   * @type {Open<Refusal | "timeout" | "connection_lost" | "not_connected" | "queue_full" | "closed">}
   */
  reason;
  /** @type {number|null} when to try again */
  retry_after_ms = null;
  /** @type {string|undefined} of a gift */
  id;
  /** @type {number|undefined} coins, of `insufficient_coins` */
  need;
  /** @type {number|undefined} coins, of `insufficient_coins` */
  have;
  /** @type {number|undefined} of `spend_limit` */
  resets_at_ms;

  /** @param {{reason: string, message?: string}} reply with the reason's own fields */
  constructor({ message, ...reply }) {
    super(message ?? reply.reason);
    this.reason = reply.reason;
    Object.assign(this, reply);
  }
}
