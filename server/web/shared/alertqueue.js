/** Chooses the next gift to show: one alert at a time, streaks merged, big gifts first if many wait, none twice. */
import { countOf, streakOf } from "./streak.js";

/** @import { GiftSent, Named, ShownGift } from "../wire.js" */

const IDS_REMEMBERED = 5_000;
const IDS_SAVED = 500;
const BIG_TIER = 3; // a gift of this tier or above is never dropped
export const AGE_MS = 180_000; // an alert that comes later than this only confuses
const CALM = 0.1; // up to this share of the limit each alert has its full time
const SHORTEST = 0.3; // of its time, when as many wait as may
const IDS_MAX = 51; // of the gifts in one alert: what an acknowledgement may name
const TRIES_MAX = 1; // an alert that a page did not finish is offered again once: the cause may be the alert
const PLAYED_MAX = 50; // that can be shown again
const ANONYMOUS = "anonymous"; // may be several people

/**
 * @typedef {object} Alert
 * @property {string} key of a combo, or the gift's id
 * @property {string[]} ids of the gifts: the first, and the newest
 * @property {number} at_ms when the newest was given, by the server's clock
 * @property {number} tries how often a page has begun with it and not finished
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
/**
 * @typedef {object} Rules
 * @property {number} [ageMs] an alert that has waited for longer is not shown
 * @property {number} [mergeMs] gifts of one kind by one sender that wait are one alert if they came within this time
 * @property {boolean} [bySize] whether the biggest come first when many wait
 */

/** The time of day; setting the clock while the page is open does not move it. */
const wallClock = () => performance.timeOrigin + performance.now();

export class AlertQueue {
  /** @type {Alert|null} the alert being shown */
  current = null;
  /** @type {Alert[]} */
  waiting = [];
  /** @type {Set<string>} */
  #seen = new Set();
  /** @type {Alert[]} those that were played, the newest last */
  #played = [];
  #limit;
  #longAt;
  #now;
  #missed = 0;
  #onDropped;
  /** @type {Required<Rules>} */
  #rules = { ageMs: AGE_MS, mergeMs: 0, bySize: true };

  /**
   * @param {{limit?: number, longAt?: number, now?: () => number, saved?: Saved, onDropped?: (alert: Alert) => void}
   *   & Rules} options `onDropped` is called with each alert that will not be shown
   */
  constructor({ limit = 100, longAt = 5, now = wallClock, saved, onDropped = () => {}, ...rules } = {}) {
    this.#limit = limit;
    this.#longAt = longAt;
    this.#now = now;
    this.#onDropped = onDropped;
    this.setRules(rules);
    if (!saved) return;
    this.waiting = saved.waiting.filter((alert) => this.#isFresh(alert) && !(alert.tries > TRIES_MAX));
    this.#seen = new Set(saved.seen);
    for (const alert of saved.waiting) if (!this.waiting.includes(alert)) this.#onDropped(alert);
  }

  /** @param {Rules} rules */
  setRules(rules) { this.#rules = { ...this.#rules, ...rules }; }

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
  #isFresh({ since }) { return this.#now() - since <= this.#rules.ageMs; }
  /** @param {Alert} alert */
  #drop(alert) {
    this.#missed++;
    this.#onDropped(alert);
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
    if (!known) return this.#mergeOrEnter(event, asAlert(event, key, this.#now()));
    known.count = Math.max(known.count, countOf(event)); // replayed parts of a combo may come in any order
    add(known, event);
    return known === this.current ? "updated" : "merged";
  }

  /**
   * @param {GiftSent} event
   * @param {Alert} alert
   */
  #mergeOrEnter(event, alert) {
    const like = this.waiting.find((other) => isLike(other, event) && alert.since - other.since < this.#rules.mergeMs);
    if (!like) return this.#enter(alert);
    like.count += alert.count;
    add(like, event);
    return "merged";
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
      this.#drop(smallest);
      return "queued";
    }
    if (alert.tier < BIG_TIER) {
      this.#drop(alert);
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
    for (const alert of this.waiting) if (!fresh.includes(alert)) this.#drop(alert);
    this.waiting = fresh;
    let next = this.waiting[0];
    if (next && this.#rules.bySize && this.waiting.length > this.#longAt) {
      next = this.waiting.reduce((biggest, other) => (other.tier > biggest.tier ? other : biggest));
    }
    this.waiting = this.waiting.filter((alert) => alert !== next);
    this.current = next ?? null;
    return this.current;
  }

  /** The alert being shown has ended. @param {Alert} alert */
  end(alert) {
    if (this.current === alert) this.current = null;
    this.#played = [...this.#played.slice(1 - PLAYED_MAX), alert];
  }
  /** The alert being shown comes first again, once. */
  putBack() {
    const alert = this.current;
    this.current = null;
    if (!alert) return;
    const again = { ...alert, tries: alert.tries + 1 };
    if (again.tries > TRIES_MAX) this.#onDropped(again); else this.waiting.unshift(again);
  }
  /**
   * Shows an alert again that was played: of this gift, or the last one. It comes next.
   * @param {string|null} [id]
   */
  replay(id) {
    const found = this.#played.filter((alert) => !id || alert.ids.includes(id)).at(-1);
    if (found) this.waiting.unshift({ ...found, key: `replay ${found.key}`, since: this.#now(), tries: 0 });
    return Boolean(found);
  }
  /** Drops what waits of gifts that were given before this time. They are not missed. */
  clear(beforeMs = Infinity) {
    const gone = this.waiting.filter(({ at_ms }) => at_ms <= beforeMs);
    this.waiting = this.waiting.filter((alert) => !gone.includes(alert));
    for (const alert of gone) this.#onDropped(alert);
  }

  /**
   * The alert being shown comes first again.
   * @returns {Saved}
   */
  save() {
    const first = this.current ? [{ ...this.current, tries: this.current.tries + 1 }] : [];
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
  const { id, at_ms, gift, from, message, test } = event;
  const what = { tier: gift.tier, gift, from, count: countOf(event), message, test };
  return { key, ids: [id], at_ms, tries: 0, ...what, others: [], since };
}

/**
 * Whether a gift may be shown in this alert, in which no streak is.
 * @param {Alert} alert
 * @param {GiftSent} event
 */
const isLike = ({ key, ids, gift, from, test }, event) =>
  !event.combo && key === ids[0] && gift.id === event.gift.id && test === event.test
  && from.user_id === event.from.user_id && from.user_id !== ANONYMOUS;

/**
 * @param {Alert} alert
 * @param {Pick<GiftSent, "id"|"at_ms"|"message">} event
 */
function add(alert, { id, at_ms, message }) {
  const [first = id, ...others] = alert.ids;
  alert.ids = [first, ...[...others, id].slice(1 - IDS_MAX)];
  alert.at_ms = Math.max(alert.at_ms, at_ms);
  alert.message = message ?? alert.message;
}

/**
 * @param {Alert} like an alert that waits for the same gift
 * @param {Alert} alert
 */
function join(like, { ids, from, count }) {
  like.count += count;
  like.ids = [...like.ids, ...ids].slice(0, IDS_MAX);
  if (like.from.user_id !== from.user_id && !like.others.includes(from.name)) like.others.push(from.name);
}
