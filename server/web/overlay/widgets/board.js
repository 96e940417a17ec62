/** Who gave most in this broadcast: the first five. */
import { avatar, compact, el, hue, nameOf } from "../../shared/dom.js";
import { arrange, hide, write } from "./write.js";

/** @import { Room } from "../../liveroom.js" */
/** @import { Rank } from "../../wire.js" */

const SHOWN = 5;

export class BoardWidget {
  #list = el("ol", {});
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  element = el("section", { class: "widget board", testid: "overlay-board", hidden: "" },
    el("h2", { text: "Top gifters" }), this.#list);

  /** @param {Room} room */
  draw({ top }) {
    hide(this.element, top.length === 0);
    arrange(this.#list, this.#rows, top.slice(0, SHOWN), ({ user }) => user.user_id, drawn);
  }
}

/**
 * @param {Rank} rank
 * @param {HTMLElement|null} row
 */
function drawn({ rank, user, coins }, row) {
  const made = row ?? el("li", { testid: "overlay-rank" }, el("span", { class: "rank" }), avatar(user),
    el("b", { class: `name ${hue(user.user_id)}` }), el("span", { class: "sum" }));
  const [place, , name, sum] = [...made.children];
  if (place && name && sum) {
    write(place, String(rank));
    write(name, nameOf(user));
    write(sum, compact(coins));
  }
  return made;
}
