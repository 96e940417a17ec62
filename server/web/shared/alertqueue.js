/** Chooses the next gift to show: one alert at a time, streaks merged, big gifts first if many wait, none twice. */
import { countOf, streakOf } from "./streak.js";

/** @import { GiftSent, Named, ShownGift } from "../wire.js" */

const IDS_REMEMBERED = 5_000;
const IDS_SAVED = 500;
const BIG_TIER = 3; // a gift of this tier or above is never dropped

/**
 * @typedef {object} Alert
 * @property {string} key of a combo, or the gift's id
 * @property {number} tier
 * @property {ShownGift} gift
 * @property {Named} from
 * @property {number} count how many, as shown: the combo's running total
 * @property {string|null} message
 * @property {boolean} test
 * @property {string[]} others more senders, if a full queue had to merge alerts
 */
/** @typedef {{waiting: Alert[], seen: string[]}} Saved what a reloaded page needs to continue */

export class AlertQueue {
  /** @type {Alert|null} the alert being shown */
  current = null;
  /** @type {Alert[]} */
  waiting = [];
  /** @type {Set<string>} */
  #seen = new Set();
  #limit;
  #longAt;

  /** @param {{limit?: number, longAt?: number, saved?: Saved}} options */
  constructor({ limit = 100, longAt = 5, saved } = {}) {
    this.#limit = limit;
    this.#longAt = longAt;
    if (saved) [this.waiting, this.#seen] = [saved.waiting, new Set(saved.seen)];
  }

  /**
   * Takes a gift.
   * @param {GiftSent} event
   * @returns {"repeated"|"updated"|"merged"|"queued"|"dropped"} `updated`: the alert being shown has changed
   */
  offer(event) {
    if (this.#seen.has(event.id)) return "repeated";
    this.#remember(event.id);
    const key = streakOf(event);
    const known = this.current?.key === key ? this.current : this.waiting.find((alert) => alert.key === key);
    if (!known) return this.#enter(asAlert(event, key));
    known.count = Math.max(known.count, countOf(event)); // replayed parts of a combo may come in any order
    known.message = event.message ?? known.message;
    return known === this.current ? "updated" : "merged";
  }

  /** @param {string} id */
  #remember(id) {
    this.#seen.add(id);
    const [oldest] = this.#seen;
    if (this.#seen.size > IDS_REMEMBERED && oldest !== undefined) this.#seen.delete(oldest);
  }

  /** @param {Alert} alert */
  #enter(alert) {
    if (this.waiting.length < this.#limit) {
      this.waiting.push(alert);
      return "queued";
    }
    // Full: drop the oldest small gift. Big ones are never dropped, but merged with others of the same gift.
    const smallest = this.waiting.reduce((least, other) => (other.tier < least.tier ? other : least));
    if (smallest.tier < BIG_TIER && smallest.tier <= alert.tier) {
      this.waiting.splice(this.waiting.indexOf(smallest), 1);
      this.waiting.push(alert);
      return "queued";
    }
    if (alert.tier < BIG_TIER) return "dropped";
    const like = this.waiting.find((other) => other.gift.id === alert.gift.id && other.test === alert.test);
    if (like) join(like, alert);
    else this.waiting.push(alert);
    return "merged";
  }

  /** The alert to show now, or null. */
  next() {
    let next = this.waiting[0];
    if (next && this.waiting.length > this.#longAt) {
      next = this.waiting.reduce((biggest, other) => (other.tier > biggest.tier ? other : biggest));
    }
    this.waiting = this.waiting.filter((alert) => alert !== next);
    this.current = next ?? null;
    return this.current;
  }

  /**
   * The alert being shown comes first again.
   * @returns {Saved}
   */
  save() {
    const first = this.current ? [this.current] : [];
    return { waiting: [...first, ...this.waiting], seen: [...this.#seen].slice(-IDS_SAVED) };
  }
}

/**
 * @param {GiftSent} event
 * @param {string} key
 * @returns {Alert}
 */
function asAlert(event, key) {
  const { gift, from, message, test } = event;
  return { key, tier: gift.tier, gift, from, count: countOf(event), message, test, others: [] };
}

/**
 * @param {Alert} like an alert that waits for the same gift
 * @param {Alert} alert
 */
function join(like, { from, count }) {
  like.count += count;
  if (like.from.user_id !== from.user_id && !like.others.includes(from.name)) like.others.push(from.name);
}
