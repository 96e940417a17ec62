/** Pins above the chat: the newest of what staff, or a big gift itself, keeps in sight. */
import { el, icon, picture } from "../shared/dom.js";

/** @import { Pin } from "../wire.js" */

const SHOWN = 2;

export class Pins {
  #list;
  /** @type {Map<string, HTMLElement>} by id */
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) { this.#list = list; }

  /** @param {Pin[]} pins the oldest first */
  draw(pins) {
    const newest = pins.slice(-SHOWN);
    const rows = new Map(newest.map((pin) => [pin.id, this.#rows.get(pin.id) ?? row(pin)]));
    for (const [id, old] of this.#rows) if (!rows.has(id)) old.remove();
    for (const [id, now] of rows) if (!this.#rows.has(id)) this.#list.append(now);
    this.#rows = rows;
    this.#list.hidden = rows.size === 0;
  }
}

/** @param {Pin} pin */
function row({ id, event }) {
  const about = { class: "pin", testid: "pin", data: { id } };
  if (event.type === "chat.sent") {
    const words = [el("b", { text: event.user.name }), " ", el("span", { text: event.text })];
    return el("li", about, icon("note"), el("p", {}, ...words));
  }
  const times = event.count > 1 ? ` ×${event.count}` : "";
  return el("li", about, picture(event.gift, "gift-art"),
    el("p", {}, el("b", { text: event.from.name || "Somebody" }), ` sent ${event.gift.name}${times}`,
      el("span", { text: event.message ? ` ${event.message}` : "" })));
}
