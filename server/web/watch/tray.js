/** The gift tray: a few rows that show who just gave what. A streak keeps its row, and its counter grows. */
import { avatar, el, picture } from "../shared/dom.js";
import { bump } from "../shared/giftshow.js";
import { countOf, streakOf } from "../shared/streak.js";

/** @import { GiftSent } from "../wire.js" */

const ROWS = 3;
const LEAVE_MS = 300;
/** @param {number} tier */
const stayMs = (tier) => 3500 + 1000 * tier;

/**
 * @typedef {object} Row
 * @property {HTMLElement} element
 * @property {HTMLElement} times
 * @property {number} count
 * @property {number} tier
 * @property {number} touched
 * @property {ReturnType<typeof setTimeout>} [timer]
 */

export class Tray {
  #list;
  /** @type {Map<string, Row>} by streak */
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) { this.#list = list; }

  /** @param {GiftSent} event */
  show(event) {
    const key = streakOf(event);
    const row = this.#rows.get(key) ?? this.#open(key, event);
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
   */
  #open(key, { gift, from, combo, test }) {
    if (this.#rows.size >= ROWS) this.#close(this.#leastImportant());
    const times = el("strong", { class: "times" });
    const data = { combo: combo?.id ?? "", gift: gift.id, count: 0 };
    const said = `sent ${gift.name}${test ? " (test)" : ""}`;
    const element = el("li", { class: `tray-row tier-${gift.tier}`, testid: "tray-row", data },
      avatar(from), el("p", {}, el("b", { text: from.name }), el("span", { text: said })),
      picture(gift, "tray-art"), times);
    this.#list.append(element);
    /** @type {Row} */
    const row = { element, times, count: 0, tier: gift.tier, touched: 0 };
    this.#rows.set(key, row);
    return row;
  }

  /** Among the cheapest rows, the one that has not changed for the longest time. */
  #leastImportant() {
    const [least] = [...this.#rows].sort(([, a], [, b]) => a.tier - b.tier || a.touched - b.touched);
    return least?.[0] ?? "";
  }

  /** @param {string} key */
  #close(key) {
    const row = this.#rows.get(key);
    if (!row) return;
    this.#rows.delete(key);
    clearTimeout(row.timer);
    row.element.classList.add("leaving");
    setTimeout(() => row.element.remove(), LEAVE_MS);
  }
}
