/** The newest lines of the chat. */
import { el, hue } from "../../shared/dom.js";
import { arrange, hide } from "./write.js";

/** @import { Room } from "../../liveroom.js" */
/** @import { ChatSent } from "../../wire.js" */

const SHOWN = 6;

export class ChatWidget {
  #list = el("ol", {});
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  element = el("section", { class: "widget chat", testid: "overlay-chat", hidden: "" }, this.#list);

  /** @param {Room} room */
  draw({ chat }) {
    const lines = [];
    for (let n = chat.length - 1; n >= 0 && lines.length < SHOWN; n--) {
      const line = chat[n];
      if (line?.type === "chat.sent" && !line.hidden) lines.unshift(line);
    }
    hide(this.element, lines.length === 0);
    arrange(this.#list, this.#rows, lines, ({ id }) => id, (line, row) => row ?? made(line));
  }
}

/** @param {ChatSent} line */
const made = ({ user, text }) => el("li", { testid: "overlay-line" },
  el("b", { class: `name ${hue(user.user_id)}`, text: user.name }), el("span", { class: "text", text }));
