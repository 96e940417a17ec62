/** The gift tray: a few rows that say who gave what just now; a combo keeps its row and its counter grows. */
import { avatar, el, picture } from "../shared/dom.js";
import { bump } from "../shared/giftshow.js";

const ROWS = 3, LEAVE_MS = 300;
const stayMs = (tier) => 3500 + 1000 * tier;

export class Tray {
  #rows = new Map();
  constructor(list) { this.list = list; }

  /** @param {object} event a `gifts.sent` */
  show(event) {
    const key = event.combo?.id ?? event.id;
    const row = this.#rows.get(key) ?? this.#open(key, event);
    const count = Math.max(row.count, event.combo?.count ?? event.count);
    if (count > row.count) {
      row.count = count;
      row.element.dataset.count = count;
      row.times.textContent = `×${count}`;
      bump(row.times);
    }
    row.touched = performance.now();
    clearTimeout(row.timer);
    row.timer = setTimeout(() => this.#close(key), stayMs(event.gift.tier));
  }

  #open(key, { gift, from, combo, test }) {
    if (this.#rows.size >= ROWS) this.#close(this.#leastImportant());
    const times = el("strong", { class: "times" });
    const data = { combo: combo?.id ?? "", gift: gift.id, count: 0 };
    const element = el("li", { class: `tray-row tier-${gift.tier}`, testid: "tray-row", data },
      avatar(from), el("p", {}, el("b", { text: from.name }), el("span", { text: `sent ${gift.name}${test ? " (test)" : ""}` })),
      picture(gift, "tray-art"), times);
    this.list.append(element);
    const row = { element, times, count: 0, tier: gift.tier, touched: 0, timer: 0 };
    this.#rows.set(key, row);
    return row;
  }

  #leastImportant() {
    const order = [...this.#rows].sort(([, a], [, b]) => a.tier - b.tier || a.touched - b.touched);
    return order[0][0];
  }

  #close(key) {
    const row = this.#rows.get(key);
    this.#rows.delete(key);
    clearTimeout(row.timer);
    row.element.classList.add("leaving");
    setTimeout(() => row.element.remove(), LEAVE_MS);
  }
}
