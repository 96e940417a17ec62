/** The streaks that run: the longest three. */
import { compact, el, hue, nameOf } from "../../shared/dom.js";
import { arrange, hide, write } from "./write.js";

/** @import { Room } from "../../liveroom.js" */
/** @import { OpenCombo } from "../../wire.js" */

const SHOWN = 3;

export class ComboWidget {
  #list = el("ol", {});
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  element = el("section", { class: "widget combo", testid: "overlay-combos", hidden: "" }, this.#list);

  /** @param {Room} room */
  draw({ open_combos }) {
    const longest = [...open_combos].filter(({ count }) => count > 1).sort((a, b) => b.count - a.count).slice(0, SHOWN);
    hide(this.element, longest.length === 0);
    arrange(this.#list, this.#rows, longest, ({ from, gift, id }) => `${from.user_id} ${gift.id} ${id}`, drawn);
  }
}

/**
 * @param {OpenCombo} combo
 * @param {HTMLElement|null} row
 */
function drawn({ from, gift, count }, row) {
  const made = row ?? el("li", { testid: "overlay-combo", data: { gift: gift.id } },
    el("b", { class: `name ${hue(from.user_id)}`, text: nameOf(from) }), el("strong", { class: "times" }));
  const times = made.lastElementChild;
  if (times) write(times, `×${compact(count)}`);
  return made;
}
