/** The room's goals. Rows change in place: a bar that was built again would jump instead of growing. */
import { compact, el, number } from "../shared/dom.js";

/** @import { Goal } from "../wire.js" */

const SHOWN = 3; // the ones to reach first; a room may have more

export class Goals {
  #panel;
  #list;
  /** @type {Map<string, ReturnType<typeof goalRow>>} by id */
  #rows = new Map();

  /**
   * @param {HTMLElement} panel
   * @param {HTMLElement} list
   */
  constructor(panel, list) {
    this.#panel = panel;
    this.#list = list;
  }

  /** @param {Goal[]} goals the oldest first; those that are reached come last */
  draw(goals) {
    const shown = [...goals].sort((a, b) => Number(a.reached) - Number(b.reached)).slice(0, SHOWN);
    const rows = new Map(shown.map(({ id }) => [id, this.#rows.get(id) ?? goalRow()]));
    for (const [id, { row }] of this.#rows) if (!rows.has(id)) row.remove();
    shown.forEach((goal, place) => {
      const { row, change } = rows.get(goal.id) ?? goalRow();
      change(goal);
      const there = this.#list.children[place] ?? null;
      if (there !== row) this.#list.insertBefore(row, there);
    });
    this.#rows = rows;
    this.#panel.hidden = shown.length === 0;
  }
}

function goalRow() {
  const title = el("b", { class: "goal-title" });
  const sum = el("span", { class: "goal-sum" });
  const bar = el("span", { class: "goal-bar", role: "progressbar", "aria-valuemin": 0 }, el("i"));
  const row = el("li", { class: "goal", testid: "goal" }, title, sum, bar);
  /** @param {Goal} goal */
  const change = ({ id, title: words, current, target, reached }) => {
    Object.assign(row.dataset, { id, current, target, reached });
    row.classList.toggle("is-reached", reached);
    bar.style.setProperty("--share", String(Math.min(1, current / target)));
    bar.setAttribute("aria-label", words);
    bar.setAttribute("aria-valuemax", String(target));
    bar.setAttribute("aria-valuenow", String(Math.min(current, target)));
    bar.setAttribute("aria-valuetext", `${number(current)} of ${number(target)}`);
    const said = reached ? "Reached" : `${compact(current)} of ${compact(target)}`;
    for (const [element, text] of /** @type {[HTMLElement, string][]} */ ([[title, words], [sum, said]]))
      if (element.textContent !== text) element.textContent = text;
  };
  return { row, change };
}
