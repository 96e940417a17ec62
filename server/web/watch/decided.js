/** What staff has decided about the viewer: a warning to acknowledge, a mute, what became of a held message. */
import { el, find } from "../shared/dom.js";
import { words } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { Command, Message, You } from "../wire.js" */

const TIMER_MAX_MS = 2 ** 31 - 1;
/** @type {Record<string, string>} */
const BECAME = {
  denied: "Your message was not let through",
  expired: "Your message was not looked at in time",
};
const clockTime = new Intl.DateTimeFormat("en", { hour: "numeric", minute: "2-digit" });
const clockDay = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", hour: "numeric", minute: "2-digit" });

export class Decided {
  #send;
  #note;
  #warning = find("warning");
  #muted = find("muted");
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;

  /**
   * @param {(command: Command) => Promise<object>} send
   * @param {(text: string) => void} note
   */
  constructor(send, note) {
    this.#send = send;
    this.#note = note;
  }

  /**
   * @param {Message} message
   * @param {string} [role] the viewer's own
   */
  take(message, role) {
    if (message.type === "members.warned") this.#warn(message.text);
    const staff = role === "host" || role === "moderator";
    const became = message.type === "chat.resolved" && !staff ? BECAME[message.decision] : null;
    if (became) this.#note(became);
  }
  /** A new welcome: an open warning comes again. */
  forget() { this.#warning.hidden = true; }

  /**
   * @param {Pick<You, "muted"|"muted_until_ms">} you
   * @param {number} now the server's time
   */
  mute({ muted, muted_until_ms }, now) {
    clearTimeout(this.#timer);
    const left = (muted_until_ms ?? Infinity) - now;
    this.#muted.hidden = !muted || left <= 0;
    if (this.#muted.hidden) return;
    this.#muted.textContent = muted_until_ms === null
      ? "You are muted until the broadcast ends."
      : `You are muted until ${(left < 12 * 3_600_000 ? clockTime : clockDay).format(Date.now() + left)}.`;
    if (left < TIMER_MAX_MS) this.#timer = setTimeout(() => { this.#muted.hidden = true; }, left);
  }

  /** @param {string} text */
  #warn(text) {
    const status = el("span", { class: "chat-status" });
    const button = el("button", { type: "button", testid: "warning-read", text: "I understand" });
    button.addEventListener("click", async () => {
      try {
        await this.#send({ type: "members.acknowledge" });
        this.#warning.hidden = true;
        find("chat-input").focus();
      } catch (error) {
        status.textContent = `${words(/** @type {Refused} */ (error))}.`;
      }
    });
    this.#warning.replaceChildren(el("p", {}, el("b", { text: "The staff warns you: " }), text), button, status);
    this.#warning.hidden = false;
  }
}
