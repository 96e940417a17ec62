/** The first goal that is not reached, or else the last one. */
import { compact, el } from "../../shared/dom.js";
import { hide, write } from "./write.js";

/** @import { Room } from "../../liveroom.js" */

export class GoalWidget {
  #title = el("b", { class: "title" });
  #sum = el("span", { class: "sum" });
  #bar = el("i", { class: "bar" });
  element = el("section", { class: "widget goal", testid: "overlay-goal", hidden: "" },
    el("p", {}, this.#title, this.#sum), el("div", { class: "track" }, this.#bar));

  /** @param {Room} room */
  draw({ goals }) {
    const goal = goals.find(({ reached }) => !reached) ?? goals.at(-1);
    hide(this.element, !goal);
    if (!goal) return;
    write(this.#title, goal.title);
    write(this.#sum, goal.reached ? "Reached" : `${compact(goal.current)} / ${compact(goal.target)}`);
    const part = Math.min(1, goal.current / goal.target).toFixed(3);
    if (this.#bar.dataset.part === part) return;
    this.#bar.dataset.part = part;
    this.#bar.style.setProperty("--part", part);
  }
}
