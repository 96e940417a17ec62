/** The newest big gifts, each for a minute. It does not scroll: what moves all the time is painted all the time. */
import { el, hue, nameOf, number, picture } from "../../shared/dom.js";
import { countOf, streakOf } from "../../shared/streak.js";
import { hide, write } from "./write.js";

/** @import { GiftSent, OverlaySettings, RoomEvent } from "../../wire.js" */

const SHOWN = 4;
const SHOWN_MS = 60_000;

export class TickerWidget {
  #list = el("ol", {});
  element = el("section", { class: "widget ticker", testid: "overlay-ticker", hidden: "" }, this.#list);
  /** By streak. @type {Map<string, {row: HTMLElement, timer: ReturnType<typeof setTimeout>}>} */
  #shown = new Map();

  /**
   * @param {RoomEvent} event
   * @param {OverlaySettings} settings
   */
  event(event, settings) {
    if (event.type !== "gifts.sent" || event.replayed) return;
    if (event.gift.coins * countOf(event) < settings.big_coins) return;
    const key = streakOf(event);
    const row = this.#shown.get(key)?.row ?? made(event);
    const count = countOf(event);
    if (row.lastElementChild && count > 1) write(row.lastElementChild, `×${number(count)}`);
    this.#remove(key);
    this.#shown.set(key, { row, timer: setTimeout(() => this.#remove(key), SHOWN_MS) });
    this.#list.prepend(row);
    const [oldest] = this.#shown.keys();
    if (this.#shown.size > SHOWN && oldest !== undefined) this.#remove(oldest);
    hide(this.element, false);
  }
  end() { for (const { timer } of this.#shown.values()) clearTimeout(timer); }

  /** @param {string} key */
  #remove(key) {
    const found = this.#shown.get(key);
    if (!found) return;
    clearTimeout(found.timer);
    found.row.remove();
    this.#shown.delete(key);
    hide(this.element, this.#shown.size === 0);
  }
}

/** @param {GiftSent} event */
const made = ({ from, gift }) => el("li", { testid: "overlay-big", data: { gift: gift.id } },
  picture(gift, "gift-art"), el("b", { class: `name ${hue(from.user_id)}`, text: nameOf(from) }),
  el("span", { text: gift.name }), el("strong", { class: "times" }));
