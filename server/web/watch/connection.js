/** Shows how the connection stands, in words. */
import { seconds } from "../shared/dom.js";

const CLOSED = { room_ended: "Ended", banned: "Banned", token_revoked: "Access withdrawn", token_needed: "No token", left: "Left" };

export class Connection {
  #timer;
  /** @param {HTMLElement} element gets data-state and data-reason */
  constructor(element) { this.element = element; }

  /** @param {import("../liveroom.js").State} state */
  show({ name, reason, retry_in_ms }) {
    clearInterval(this.#timer);
    this.element.dataset.state = name;
    this.element.dataset.reason = reason ?? "";
    if (name === "reconnecting") return this.#countDown(performance.now() + retry_in_ms);
    this.element.textContent = { connecting: "Connecting", live: "Connected", closed: CLOSED[reason] ?? "Disconnected" }[name];
  }

  #countDown(until) {
    const wait = document.createElement("span");
    wait.setAttribute("aria-hidden", "true"); // a screen reader hears once that we reconnect, not every second of it
    this.element.replaceChildren("Reconnecting", wait);
    const draw = () => {
      const left = until - performance.now();
      wait.textContent = left > 0 ? ` in ${seconds(left)} s` : " …";
    };
    this.#timer = setInterval(draw, 250);
    draw();
  }
}
