/** What a tap on the gift panel sends: how many gifts, in which streak, and whether the coins suffice. */
import { uuid7 } from "../liveroom.js";
import { outcomeUnknown } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { Gift, SendGiftOk } from "../wire.js" */

export const STREAK_MS = 3000;
const REST_MS = 700; // longer than a double click, and than the first pause of a key held down

/** @typedef {{gift: string, count: number, combo: string|undefined, message: string, id?: string}} Asked to be sent */
/** @typedef {{id: string, gift: Gift, count: number, timer?: ReturnType<typeof setTimeout>}} Streak */
/** @typedef {{asked: Asked, cost: number, streak: Streak|null}} Tap */

export class Giving {
  /** @type {Gift|null} */
  chosen = null;
  quantity = 1;
  /** @type {number|null} null while the wallet is away: a gift may be tried, and its reply has the balance */
  coins = 0;
  open = true; // whether gifts can be sent at all

  #send;
  #onChange;
  #inFlight = 0;
  /** @type {Streak|null} */
  #streak = null;
  /** @type {Asked|null} a gift whose outcome is unknown */
  #unsure = null;
  /** @type {{gift: Gift|null, at: number}} */
  #last = { gift: null, at: 0 };

  /**
   * @param {(gift: Asked) => Promise<SendGiftOk>} send
   * @param {() => void} onChange
   */
  constructor(send, onChange) {
    this.#send = send;
    this.#onChange = onChange;
  }

  get cost() { return this.chosen ? this.chosen.coins * this.quantity : 0; }
  get #left() { return (this.coins ?? Infinity) - this.#inFlight; }
  /** How many coins are missing for the chosen gifts. */
  get short() { return Math.max(0, this.cost - this.#left); }
  get ready() { return this.chosen !== null && this.open && this.short === 0; }
  /** The streak that another tap would continue. */
  get streak() { return this.#streak?.gift === this.chosen ? this.#streak : null; }
  /** @param {Gift} gift */
  affords(gift) { return gift.coins <= this.#left; }

  /**
   * @param {string} message
   * @returns {Tap|null} null if the tap is ignored
   */
  tap(message) {
    const gift = this.chosen;
    if (!gift || !this.ready || this.#isTooSoon(gift)) return null;
    const asked = this.#ask(gift, message);
    return { asked, cost: gift.coins * asked.count, streak: asked.combo ? this.#goOn(gift, asked.combo) : null };
  }

  /**
   * Sends a tap.
   * @param {Tap} tap
   * @returns {Promise<boolean>} whether its streak still runs; throws Refused
   */
  async send({ asked, cost, streak }) {
    this.#inFlight += cost;
    this.#onChange();
    try {
      const { combo } = await this.#send(asked);
      if (streak) streak.count = Math.max(streak.count, combo?.count ?? streak.count + asked.count);
    } catch (error) {
      const refused = /** @type {Refused} */ (error);
      if (outcomeUnknown(refused)) this.#unsure = { ...asked, id: refused.id };
      throw error;
    } finally {
      this.#inFlight -= cost;
      this.#onChange();
    }
    return streak !== null && streak === this.#streak;
  }

  /**
   * What to send. A gift whose outcome is unknown is sent again unchanged, so that it is paid only once.
   * @param {Gift} gift
   * @param {string} message
   * @returns {Asked}
   */
  #ask(gift, message) {
    const count = this.quantity;
    const unsure = this.#unsure;
    this.#unsure = null;
    if (unsure?.gift === gift.id && unsure.count === count && unsure.message === message) return unsure;
    const combo = gift.streakable ? this.streak?.id ?? uuid7() : undefined;
    return { gift: gift.id, count, combo, message };
  }

  /**
   * A double tap means one gift if taps do not make a streak.
   * @param {Gift} gift
   */
  #isTooSoon(gift) {
    const last = this.#last;
    const at = performance.now();
    this.#last = { gift, at };
    return !gift.streakable && last.gift === gift && at - last.at < REST_MS;
  }

  /**
   * The streak of a tap: taps on the same gift, each soon enough after the one before.
   * @param {Gift} gift
   * @param {string} id
   */
  #goOn(gift, id) {
    const streak = this.#streak?.id === id ? this.#streak : { id, gift, count: 0 };
    this.#streak = streak;
    clearTimeout(streak.timer);
    streak.timer = setTimeout(() => {
      if (this.#streak === streak) this.#streak = null;
      this.#onChange();
    }, STREAK_MS);
    return streak;
  }
}
