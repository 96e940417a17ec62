/** The chat: lines as they arrive, and marks where some are missing. */
import { find } from "../shared/dom.js";
import { streakOf } from "../shared/streak.js";
import { gave, hiddenMark, mark, said } from "./lines.js";

/** @import { ChatDeleted, GiftSent, RoomEvent } from "../wire.js" */
/** @import { GiftLine } from "./lines.js" */

const LINES_KEPT = 200;
const NEAR_BOTTOM_PX = 60;
const HIDDEN_TAB_MS = 500;

export class ChatList {
  #list = find("chat-list");
  #newer = find("chat-newer");
  /** @type {HTMLElement[]} */
  #waiting = [];
  #scheduled = false;
  #following = true;
  #laidOut = { scrollHeight: 0, clientHeight: 0 };
  /** @type {Map<string, GiftLine>} by streak */
  #streaks = new Map();
  /** @type {ReturnType<typeof hiddenMark> | null} */
  #lastHidden = null;

  constructor() {
    this.#newer.addEventListener("click", () => this.#toBottom());
    this.#list.addEventListener("scroll", () => this.#scrolled());
    new ResizeObserver(() => { if (this.#following) this.#toBottom(); }).observe(this.#list);
  }

  /** @param {RoomEvent} event ignored if the chat does not show its type */
  take(event) {
    if (event.type === "chat.sent") this.#add(said(event));
    if (event.type === "chat.deleted") this.#delete(event);
    if (event.type === "gifts.sent") this.#gift(event);
  }
  gap() { this.#add(mark("chat-gap", "Some messages were missed")); }
  /** @param {string} text */
  note(text) { this.#add(mark("chat-note", text)); }
  /**
   * Consecutive hidden lines share one mark.
   * @param {number} count
   */
  hidden(count) {
    if (!this.#lastHidden || this.#lastLine() !== this.#lastHidden.line) {
      this.#lastHidden = hiddenMark();
      this.#add(this.#lastHidden.line);
    }
    this.#lastHidden.add(count);
  }

  /**
   * Messages and quotes of them go, also those that wait for the next frame. Gifts stay.
   * @param {ChatDeleted} event
   */
  #delete({ ids, user_ids }) {
    /** @param {HTMLElement} line */
    const isGone = ({ dataset: { id = "", user = "" } }) => ids.includes(id) || user_ids.includes(user);
    /** @param {HTMLElement} line */
    const isGoneLine = (line) => line.dataset.testid === "chat-line" && isGone(line);
    this.#waiting = this.#waiting.filter((line) => !isGoneLine(line));
    for (const line of this.#list.querySelectorAll("li")) if (isGoneLine(line)) line.remove();
    for (const line of [...this.#waiting, this.#list]) {
      const quotes = /** @type {NodeListOf<HTMLElement>} */ (line.querySelectorAll(".reply"));
      for (const quote of quotes) if (isGone(quote)) quote.remove();
    }
    this.#remember();
  }

  /** @param {GiftSent} event */
  #gift(event) {
    const streak = streakOf(event);
    const known = this.#streaks.get(streak);
    if (known && (known.line.isConnected || this.#waiting.includes(known.line))) return known.update(event);
    const made = gave(event);
    this.#streaks.set(streak, made);
    const [oldest] = this.#streaks.keys();
    if (this.#streaks.size > LINES_KEPT && oldest !== undefined) this.#streaks.delete(oldest);
    this.#add(made.line);
  }

  #lastLine() { return this.#waiting.at(-1) ?? this.#list.lastElementChild; }
  /**
   * Inserts lines once per frame: a busy room must not cause a layout for every message.
   * @param {HTMLElement} line
   */
  #add(line) {
    this.#waiting.push(line);
    if (this.#waiting.length > LINES_KEPT) this.#waiting.shift();
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.hidden) setTimeout(() => this.#flush(), HIDDEN_TAB_MS); // no frames are drawn in a hidden tab
    else requestAnimationFrame(() => this.#flush());
  }
  #flush() {
    this.#scheduled = false;
    this.#list.append(...this.#waiting.splice(0));
    while (this.#list.childElementCount > LINES_KEPT) this.#list.firstElementChild?.remove();
    if (this.#following) this.#toBottom();
    else this.#newer.hidden = false;
    this.#remember();
  }
  /** Only the viewer stops the list from following. Where its size or content has changed, the browser moved it. */
  #scrolled() {
    const { scrollHeight, clientHeight } = this.#laidOut;
    const { scrollHeight: high, clientHeight: seen } = this.#list;
    if (this.#atBottom()) this.#following = true;
    else if (high === scrollHeight && seen === clientHeight) this.#following = false;
    if (this.#following) this.#newer.hidden = true;
    this.#remember();
  }
  #remember() {
    const { scrollHeight, clientHeight } = this.#list;
    this.#laidOut = { scrollHeight, clientHeight };
  }
  #atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
  }
  #toBottom() {
    this.#following = true;
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#newer.hidden = true;
    this.#remember();
  }
}
