/** The board: who gave most in this broadcast. */
import { avatar, compact, el, icon } from "../shared/dom.js";

/** @import { Rank } from "../wire.js" */

const SHOWN = 5;

export class Board {
  #list;
  #drawn = "";

  /** @param {HTMLElement} list */
  constructor(list) { this.#list = list; }

  /** @param {Rank[]} top */
  draw(top) {
    const rows = top.slice(0, SHOWN);
    const now = JSON.stringify(rows);
    if (now === this.#drawn) return;
    this.#drawn = now;
    const most = rows[0]?.coins || 1;
    this.#list.replaceChildren(...rows.map((row) => boardRow(row, row.coins / most)));
  }
}

/**
 * @param {Rank} of
 * @param {number} share of the coins of the first place
 */
function boardRow({ rank, user, coins }, share) {
  const row = el("li", { class: `board-row rank-${rank}`, testid: "board-row", data: { user: user.user_id, coins } },
    el("span", { class: "rank", text: rank }), avatar(user), el("b", { class: "name", text: user.name }),
    el("span", { class: "sum" }, icon("coin"), el("span", { text: compact(coins) })));
  row.style.setProperty("--share", String(share));
  return row;
}
