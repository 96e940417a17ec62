/** Chooses the next gift to show: one alert at a time, streaks merged, big gifts first if many wait, none twice. */
import { countOf, streakOf } from "./streak.js";

/** @import { GiftSent, Named, ShownGift } from "../wire.js" */

const IDS_REMEMBERED = 5_000;
const IDS_SAVED = 500;
const BIG_TIER = 3; // a gift of this tier or above is never dropped
export const AGE_MS = 180_000; // an alert that comes later than this only confuses
const CALM = 0.1; // up to this share of the limit each alert has its full time
const SHORTEST = 0.3; // of its time, when as many wait as may

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
 * @property {number} since when it came, in milliseconds since the Unix epoch: a reloaded page reads it, too
 */
/** @typedef {{waiting: Alert[], seen: string[]}} Saved what a reloaded page needs to continue */

/** The time of day; setting the clock while the page is open does not move it. */
const wallClock = () => performance.timeOrigin + performance.now();

export class AlertQueue {
  /** @type {Alert|null} the alert being shown */
  current = null;
  /** @type {Alert[]} */
  waiting = [];
  /** @type {Set<string>} */
  #seen = new Set();
  #limit;
  #longAt;
  #ageMs;
  #now;
  #missed = 0;

  /** @param {{limit?: number, longAt?: number, ageMs?: number, now?: () => number, saved?: Saved}} options */
  constructor({ limit = 100, longAt = 5, ageMs = AGE_MS, now = wallClock, saved } = {}) {
    this.#limit = limit;
    this.#longAt = longAt;
    this.#ageMs = ageMs;
    this.#now = now;
    if (!saved) return;
    this.waiting = saved.waiting.filter((alert) => this.#isFresh(alert));
    this.#seen = new Set(saved.seen);
  }

  /** What part of its time each alert is shown: the more wait, the shorter. */
  get pace() {
    const over = Math.max(0, this.waiting.length / this.#limit - CALM) / (1 - CALM);
    return Math.max(SHORTEST, Math.round((1 - (1 - SHORTEST) * over) * 100) / 100);
  }
  /** How many alerts were not shown since the last call. */
  takeMissed() {
    const missed = this.#missed;
    this.#missed = 0;
    return missed;
  }
  /** @param {Alert} alert */
  #isFresh({ since }) { return this.#now() - since <= this.#ageMs; }

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
    if (!known) return this.#enter(asAlert(event, key, this.#now()));
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
      this.#missed++;
      return "queued";
    }
    if (alert.tier < BIG_TIER) {
      this.#missed++;
      return "dropped";
    }
    const like = this.waiting.find((other) => other.gift.id === alert.gift.id && other.test === alert.test);
    if (like) join(like, alert);
    else this.waiting.push(alert);
    return "merged";
  }

  /** The alert to show now, or null. */
  next() {
    const fresh = this.waiting.filter((alert) => alert.tier >= BIG_TIER || this.#isFresh(alert));
    this.#missed += this.waiting.length - fresh.length;
    this.waiting = fresh;
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
 * @param {number} since
 * @returns {Alert}
 */
function asAlert(event, key, since) {
  const { gift, from, message, test } = event;
  return { key, tier: gift.tier, gift, from, count: countOf(event), message, test, others: [], since };
}

/**
 * @param {Alert} like an alert that waits for the same gift
 * @param {Alert} alert
 */
function join(like, { from, count }) {
  like.count += count;
  if (like.from.user_id !== from.user_id && !like.others.includes(from.name)) like.others.push(from.name);
}
