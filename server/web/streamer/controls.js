/** The buttons that control the alerts of all overlays, and how the overlays are. */
import { duration, el, find } from "../shared/dom.js";

/** @import { AlertsStatus, Command, ControlAlerts, OverlayChanged } from "../wire.js" */

/** @type {[string, string, string][]} verb, label, and what it does */
const BUTTONS = [
  ["pause", "Pause", "No other alert begins until you go on"],
  ["mute", "Mute", "Alerts make no sound"],
  ["skip", "Skip", "End the alert that plays"],
  ["next", "Next", "Show the next alert now"],
  ["replay", "Replay", "Show the last alert again"],
  ["clear", "Clear", "Drop all alerts that wait"],
  ["test", "Test", "Show a test alert"],
  ["reset", "Reset", "Start the alerts again if they hang"],
];
const ON = { pause: { verb: "resume", label: "Resume" }, mute: { verb: "unmute", label: "Unmute" } };

export class Controls {
  #send;
  #status = find("overlays");
  /** @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();

  /** @param {(command: Command) => Promise<object>} send */
  constructor(send) {
    this.#send = send;
    for (const [verb, label, title] of BUTTONS) {
      const button = el("button", { type: "button", class: "control", testid: `control-${verb}`, text: label, title });
      button.addEventListener("click", () => this.#press(verb, button));
      this.#buttons.set(verb, button);
    }
    find("controls").append(...this.#buttons.values());
  }

  /**
   * @param {string} verb
   * @param {HTMLButtonElement} button
   */
  async #press(verb, button) {
    const on = button.getAttribute("aria-pressed") === "true";
    const said = on ? ON[/** @type {"pause"|"mute"} */ (verb)].verb : verb;
    button.disabled = true;
    try {
      await this.#send({ type: "alerts.control", verb: /** @type {ControlAlerts["verb"]} */ (said) });
    } catch {
      this.#status.textContent = "That did not arrive. Try again.";
    }
    button.disabled = false;
    button.focus();
  }

  /** @param {OverlayChanged} set */
  draw({ paused, muted }) {
    this.#toggle("pause", paused);
    this.#toggle("mute", muted);
  }
  /**
   * @param {"pause"|"mute"} verb
   * @param {boolean} on
   */
  #toggle(verb, on) {
    const button = this.#buttons.get(verb);
    button?.setAttribute("aria-pressed", String(on));
    if (button) button.textContent = on ? ON[verb].label : verb === "pause" ? "Pause" : "Mute";
  }

  /** @param {AlertsStatus} status */
  status({ overlays, silent_ms, queued, playing }) {
    Object.assign(this.#status.dataset, { overlays, queued, silent: silent_ms });
    const many = overlays === 1 ? "1 overlay is open" : `${overlays} overlays are open`;
    const parts = [overlays ? many : "No overlay is open: make a link, and open it in your streaming program"];
    if (queued) parts.push(`${queued} ${queued === 1 ? "alert waits" : "alerts wait"}`);
    if (playing) parts.push("one plays");
    if (silent_ms) parts.push(`one does not answer for ${duration(silent_ms)}`);
    this.#status.textContent = `${parts.join(", ")}.`;
  }
}
