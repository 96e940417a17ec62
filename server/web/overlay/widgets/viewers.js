/** How many watch now. */
import { compact, el } from "../../shared/dom.js";
import { write } from "./write.js";

/** @import { Room } from "../../liveroom.js" */

export class ViewersWidget {
  #count = el("b", {});
  element = el("section", { class: "widget viewers", testid: "overlay-viewers" },
    el("i", { class: "eye", "aria-hidden": "true" }), this.#count);

  /** @param {Room} room */
  draw({ viewers }) { write(this.#count, compact(viewers.now)); }
}
