/** The board: who gave most in this broadcast. Rows change in place; a board that was built again would flash. */
import { avatar, compact, el, hue, icon, initial } from "../shared/dom.js";

/** @import { Rank } from "../wire.js" */

const SHOWN = 5;

export class Board {
  #list;
  /** @type {Map<string, ReturnType<typeof boardRow>>} by user */
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) { this.#list = list; }

  /** @param {Rank[]} top */
  draw(top) {
    const first = top.slice(0, SHOWN);
    const most = first[0]?.coins || 1;
    const rows = new Map(first.map(({ user }) => [user.user_id, this.#rows.get(user.user_id) ?? boardRow()]));
    for (const [user, { row }] of this.#rows) if (!rows.has(user)) row.remove();
    first.forEach((rank, place) => {
      const { row, change } = rows.get(rank.user.user_id) ?? boardRow();
      change(rank, rank.coins / most);
      row.classList.toggle("is-new", !this.#rows.has(rank.user.user_id)); // else one that moves would fade in again
      const there = this.#list.children[place] ?? null;
      if (there !== row) this.#list.insertBefore(row, there);
    });
    this.#rows = rows;
  }
}

function boardRow() {
  const place = el("span", { class: "rank" });
  const face = avatar({ user_id: "", name: "" });
  const name = el("b", { class: "name" });
  const sum = el("span");
  const row = el("li", { testid: "board-row" }, place, face, name, el("span", { class: "sum" }, icon("coin"), sum));
  /**
   * @param {Rank} rank
   * @param {number} share of the coins of the first place
   */
  const change = ({ rank, user, coins }, share) => {
    row.className = `board-row rank-${rank}`;
    Object.assign(row.dataset, { user: user.user_id, coins });
    row.style.setProperty("--share", String(share));
    face.className = `avatar ${hue(user.user_id)}`;
    for (const [element, text] of /** @type {[HTMLElement, string][]} */ ([
      [place, String(rank)], [face, initial(user.name)], [name, user.name], [sum, compact(coins)],
    ])) if (element.textContent !== text) element.textContent = text;
  };
  return { row, change };
}
