/** The like button: taps are gathered and sent at most once a second; hearts rise for yours and for others'. */
import { el, find, icon } from "../shared/dom.js";
import { floatUp } from "./floaters.js";

const SEND_EVERY_MS = 1000, MOST_AT_ONCE = 50, HEARTS_FOR_OTHERS = 6;

export class Likes {
  #taps = 0; #mine = 0; #timer = null;

  /** @param {(count: number) => Promise<object>} send */
  constructor(send) {
    this.send = send;
    this.layer = document.querySelector(".hearts");
    this.button = find("like-button");
    this.button.addEventListener("click", () => this.#tap());
    find("stage").addEventListener("dblclick", ({ target }) => { if (!target.closest("button")) this.#tap(); });
  }

  /** @param {{added: number}} event a `likes.counted`: hearts for what the others added */
  counted({ added }) {
    const own = Math.min(this.#mine, added);
    this.#mine -= own;
    for (let i = 0; i < Math.min(HEARTS_FOR_OTHERS, added - own); i++) this.#heart(i * 140);
  }

  #tap() {
    this.#taps++;
    this.#heart();
    this.#timer ??= setTimeout(() => this.#flush(), 0);
  }
  #flush() {
    const count = Math.min(MOST_AT_ONCE, this.#taps);
    this.#timer = count ? setTimeout(() => this.#flush(), SEND_EVERY_MS) : null;
    if (!count) return;
    this.#taps -= count;
    this.#mine += count;
    this.send(count).catch(() => { this.#mine -= count; }); // a lost like is not worth a word
  }
  #heart(wait = 0) {
    const heart = el("span", { class: `heart shade-${Math.floor(Math.random() * 5)}` }, icon("heart"));
    floatUp(this.layer, heart, { ms: 2200 + Math.random() * 900, rise: 210 + Math.random() * 120, sway: 14 + Math.random() * 26, wait });
  }
}
