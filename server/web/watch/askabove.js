/** The viewer's own limit: above it, a gift needs a second tap. Kept in this browser. */
import { el, number } from "../shared/dom.js";

const KEY = "liveroom.ask-above";
const CHOICES = ["100", "1000", "5000", "never"];
const USUAL = "1000";

export class AskAbove {
  #select = el("select", { testid: "ask-above" }, ...CHOICES.map((choice) => el("option", {
    value: choice, text: choice === "never" ? "never" : number(Number(choice)),
  })));
  element = el("label", { class: "ask-above" }, el("span", { text: "Ask above" }), this.#select);

  /** @param {(coins: number) => void} onChange */
  constructor(onChange) {
    this.#select.value = kept();
    this.#select.addEventListener("change", () => {
      keep(this.#select.value);
      onChange(this.coins);
    });
  }

  get coins() { return this.#select.value === "never" ? Infinity : Number(this.#select.value); }
}

function kept() {
  try {
    const choice = localStorage.getItem(KEY) ?? "";
    return CHOICES.includes(choice) ? choice : USUAL;
  } catch {
    return USUAL;
  }
}

/** @param {string} choice */
function keep(choice) {
  try {
    localStorage.setItem(KEY, choice);
  } catch { /* a forbidden storage costs the memory of the choice, not the choice */ }
}
