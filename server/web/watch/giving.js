/** What a tap on the gift panel sends: how many gifts, in which streak, and whether the coins suffice. */
import { uuid7 } from "../liveroom.js";
import { outcomeUnknown } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { Gift, SendGiftOk } from "../wire.js" */

export const STREAK_MS = 3000;
const REST_MS = 700; // longer than a double click
export const ASKED_MS = 6000; // for so long the second tap counts as a yes
const UNASKED_MS = 10_000; // small taps without such a pause count together

/** @typedef {{gift: string, count: number, combo: string|undefined, message: string, id?: string}} Asked to be sent */
/** @typedef {{id: string, gift: Gift, count: number, timer?: ReturnType<typeof setTimeout>}} Streak */
/** @typedef {{asked: Asked, cost: number, streak: Streak|null}} Tap */

export class Giving {
  /** @type {Gift|null} */
  chosen = null;
  quantity = 1;
  /** @type {number|null} null until it is known, and while the wallet is away: a gift may be tried all the same */
  coins = null;
  open = true; // whether gifts can be sent at all
  askAbove = Infinity; // coins: more than this needs a second tap

  #send;
  #onChange;
  #inFlight = 0;
  /** @type {Streak|null} */
  #streak = null;
  /** @type {Asked|null} a gift whose outcome is unknown */
  #unsure = null;
  /** @type {{gift: Gift|null, at: number}} */
  #last = { gift: null, at: 0 };
  /** @type {{gift: Gift, quantity: number, at: number, timer: ReturnType<typeof setTimeout>}|null} */
  #asked = null;
  #unasked = { coins: 0, at: 0 };

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
  /** Whether the next tap is the answer to a question. */
  get asking() { return this.#asked?.gift === this.chosen && this.#asked?.quantity === this.quantity; }
  /** @param {Gift} gift */
  affords(gift) { return gift.coins <= this.#left; }

  /**
   * @param {string} message
   * @returns {Tap|null} null if the tap is ignored
   */
  tap(message) {
    const gift = this.chosen;
    if (!gift || !this.ready || this.#isTooSoon(gift) || !this.#isMeant(gift)) return null;
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

  /** Takes a question back that nobody has answered. */
  withdraw() {
    if (!this.#asked) return;
    this.#stopAsking();
    this.#onChange();
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
   * Whether this tap may spend. Above the viewer's limit the first tap only asks.
   * @param {Gift} gift
   */
  #isMeant(gift) {
    const at = performance.now();
    const asked = this.asking ? this.#asked : null;
    if (asked && at - asked.at < REST_MS) return false; // the second half of a double click
    if (at - this.#unasked.at >= UNASKED_MS) this.#unasked.coins = 0;
    this.#stopAsking();
    if (!asked && this.#unasked.coins + this.cost > this.askAbove) {
      const timer = setTimeout(() => { this.#stopAsking(); this.#onChange(); }, ASKED_MS);
      this.#asked = { gift, quantity: this.quantity, at, timer };
      this.#onChange();
      return false;
    }
    this.#unasked = { coins: asked ? 0 : this.#unasked.coins + this.cost, at };
    return true;
  }
  #stopAsking() {
    clearTimeout(this.#asked?.timer);
    this.#asked = null;
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
