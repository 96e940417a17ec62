/** Shows the state of the connection in words. */
import { seconds } from "../shared/dom.js";

/** @import { State } from "../liveroom.js" */

const TICK_MS = 250;
/** @type {Record<string, string>} */
const CLOSED = {
  room_ended: "Ended", banned: "Banned", token_revoked: "Access withdrawn", token_needed: "No token", left: "Left",
  token_missing: "No token", bad_token: "Not let in", wrong_room: "Not let in", no_such_room: "No such room",
  token_expired: "Access expired", no_address: "No room",
};

export class Connection {
  #element;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {HTMLElement} element gets data-state and data-reason */
  constructor(element) { this.#element = element; }

  /** @param {State} state */
  show({ name, reason, retry_in_ms = 0 }) {
    clearInterval(this.#timer);
    this.#element.dataset.state = name;
    this.#element.dataset.reason = reason ?? "";
    if (name === "reconnecting") return this.#countDown(performance.now() + retry_in_ms);
    const closed = CLOSED[reason ?? ""] ?? "Disconnected";
    this.#element.textContent = { connecting: "Connecting", live: "Connected", closed }[name];
  }

  /** @param {number} until */
  #countDown(until) {
    const wait = document.createElement("span");
    wait.setAttribute("aria-hidden", "true"); // a screen reader announces the reconnect once, not every second
    this.#element.replaceChildren("Reconnecting", wait);
    const draw = () => {
      const left = until - performance.now();
      wait.textContent = left > 0 ? ` in ${seconds(left)} s` : " …";
    };
    this.#timer = setInterval(draw, TICK_MS);
    draw();
  }
}
