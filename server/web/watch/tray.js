/** The gift tray: a few rows that show who just gave what. A streak is one row; in a burst the rest waits. */
import { avatar, el, nameOf, picture } from "../shared/dom.js";
import { bump } from "../shared/giftshow.js";
import { countOf, streakOf } from "../shared/streak.js";

/** @import { GiftSent } from "../wire.js" */

const ROWS = 3;
const LEAVE_MS = 300;
const READ_MS = 1500; // a row stays at least this long, even if a more expensive gift waits
const WAIT_MS = 10_000; // older gifts are only in the chat
const WAITING_MAX = 20;
/** @param {number} tier */
const stayMs = (tier) => 3500 + 1000 * tier;

/**
 * @typedef {object} Row
 * @property {HTMLElement} element
 * @property {HTMLElement} times
 * @property {number} count
 * @property {number} tier
 * @property {number} opened
 * @property {number} touched
 * @property {ReturnType<typeof setTimeout>} [timer]
 */
/** @typedef {{event: GiftSent, since: number}} Waiting */

export class Tray {
  #list;
  /** @type {Map<string, Row>} by streak */
  #rows = new Map();
  /** @type {Map<string, Waiting>} by streak; the oldest first */
  #waiting = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #nextLook;

  /** @param {HTMLElement} list */
  constructor(list) { this.#list = list; }

  /** @param {GiftSent} event */
  show(event) {
    const key = streakOf(event);
    const row = this.#rows.get(key);
    if (row) return this.#grow(key, row, event);
    this.#wait(key, event);
    this.#fill();
  }

  /**
   * @param {string} key
   * @param {GiftSent} event
   */
  #wait(key, event) {
    const known = this.#waiting.get(key);
    const since = known?.since ?? performance.now();
    if (!known || countOf(event) > countOf(known.event)) this.#waiting.set(key, { event, since });
    if (this.#waiting.size <= WAITING_MAX) return;
    const [[least] = [""]] = this.#byWorth().reverse();
    this.#waiting.delete(least);
  }
  /** The most expensive first; among equals the one that came first. */
  #byWorth() {
    return [...this.#waiting].sort(([, a], [, b]) => b.event.gift.tier - a.event.gift.tier || a.since - b.since);
  }

  /** Gives what waits a place, as long as there is one. */
  #fill() {
    clearTimeout(this.#nextLook);
    const now = performance.now();
    for (const [key, { since }] of this.#waiting) if (now - since > WAIT_MS) this.#waiting.delete(key);
    for (const [key, { event }] of this.#byWorth()) {
      if (this.#rows.size >= ROWS && !this.#makeRoom(event.gift.tier, now)) return;
      this.#waiting.delete(key);
      this.#grow(key, this.#open(key, event), event);
    }
  }
  /**
   * A more expensive gift takes the place of the cheapest row, once that could be read.
   * @param {number} tier
   * @param {number} now
   */
  #makeRoom(tier, now) {
    const cheaper = [...this.#rows].filter(([, row]) => row.tier < tier);
    const [least] = cheaper.sort(([, a], [, b]) => a.tier - b.tier || a.touched - b.touched);
    if (!least) return false;
    const [key, { opened }] = least;
    const left = opened + READ_MS - now;
    if (left > 0) this.#nextLook = setTimeout(() => this.#fill(), left);
    else this.#leave(key);
    return left <= 0;
  }

  /**
   * @param {string} key
   * @param {Row} row
   * @param {GiftSent} event
   */
  #grow(key, row, event) {
    const count = Math.max(row.count, countOf(event));
    if (count > row.count) {
      row.count = count;
      row.element.dataset.count = String(count);
      row.times.textContent = `×${count}`;
      bump(row.times);
    }
    row.touched = performance.now();
    clearTimeout(row.timer);
    row.timer = setTimeout(() => this.#close(key), stayMs(event.gift.tier));
  }

  /**
   * @param {string} key
   * @param {GiftSent} event
   * @returns {Row}
   */
  #open(key, { gift, from, combo, test }) {
    const times = el("strong", { class: "times" });
    const data = { combo: combo?.id ?? "", gift: gift.id, count: 0 };
    const said = `sent ${gift.name}${test ? " (test)" : ""}`;
    const element = el("li", { class: `tray-row tier-${gift.tier}`, testid: "tray-row", data },
      avatar(from), el("p", {}, el("b", { text: nameOf(from) }), el("span", { text: said })),
      picture(gift, "tray-art"), times);
    this.#list.append(element);
    const row = { element, times, count: 0, tier: gift.tier, opened: performance.now(), touched: 0 };
    this.#rows.set(key, row);
    return row;
  }

  /** @param {string} key */
  #close(key) {
    this.#leave(key);
    this.#fill();
  }
  /** @param {string} key */
  #leave(key) {
    const row = this.#rows.get(key);
    if (!row) return;
    this.#rows.delete(key);
    clearTimeout(row.timer);
    row.element.classList.add("leaving");
    setTimeout(() => row.element.remove(), LEAVE_MS);
  }
}
