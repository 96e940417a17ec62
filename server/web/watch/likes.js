/** The like button. It sends taps at most once a second, and shows hearts for yours and for those of others. */
import { el, find, icon, select } from "../shared/dom.js";
import { floatUp } from "./floaters.js";

/** @import { LikesCounted } from "../wire.js" */

const SEND_EVERY_MS = 1000;
const MOST_AT_ONCE = 50;
const HEARTS_FOR_OTHERS = 6;

export class Likes {
  #send;
  #layer = select(".hearts", HTMLElement);
  #taps = 0;
  #mine = 0;
  #gathering = false; // a timer runs that will send the taps

  /** @param {(count: number) => Promise<object>} send */
  constructor(send) {
    this.#send = send;
    find("like-button").addEventListener("click", () => this.#tap());
    find("stage").addEventListener("dblclick", ({ target }) => {
      if (target instanceof Element && !target.closest("button")) this.#tap();
    });
  }

  /** @param {Pick<LikesCounted, "added">} event shows hearts for likes of others */
  counted({ added }) {
    const own = Math.min(this.#mine, added);
    this.#mine -= own;
    for (let i = 0; i < Math.min(HEARTS_FOR_OTHERS, added - own); i++) this.#heart(i * 140);
  }

  #tap() {
    this.#taps++;
    this.#heart();
    if (this.#gathering) return;
    this.#gathering = true;
    setTimeout(() => this.#flush(), 0);
  }
  #flush() {
    const count = Math.min(MOST_AT_ONCE, this.#taps);
    this.#gathering = count > 0;
    if (!count) return;
    setTimeout(() => this.#flush(), SEND_EVERY_MS);
    this.#taps -= count;
    this.#mine += count;
    this.#send(count).catch(() => { this.#mine -= count; }); // a lost like is not worth a message
  }
  #heart(wait = 0) {
    const heart = el("span", { class: `heart shade-${Math.floor(Math.random() * 5)}` }, icon("heart"));
    const path = { ms: 2200 + Math.random() * 900, rise: 210 + Math.random() * 120, sway: 14 + Math.random() * 26 };
    floatUp(this.#layer, heart, { ...path, wait });
  }
}
