/** What staff sees: a menu on each message, and the messages that wait for a decision. */
import { el, find, hue, number } from "../shared/dom.js";
import { words } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { ChatHeld, Command, Message } from "../wire.js" */

const MUTE_S = 600;
const STAFF = ["host", "moderator"];

export class Staff {
  #send;
  #chat = find("chat-list");
  #held = find("held");
  #rows = el("ul", { "aria-label": "Held messages" });
  #title = el("h3", { text: "" });
  /** @type {HTMLElement|null} */
  #menu = null;

  /** @param {(command: Command) => Promise<object>} send */
  constructor(send) {
    this.#send = send;
    this.#held.append(this.#title, this.#rows);
    this.#chat.addEventListener("click", ({ target }) => {
      if (target instanceof HTMLElement && target.dataset.testid === "line-menu") this.#open(target);
    });
    document.addEventListener("pointerdown", ({ target }) => {
      if (this.#menu && !this.#menu.parentElement?.contains(/** @type {Node} */ (target))) this.#shut(false);
    });
  }

  /**
   * The viewer's role in the room.
   * @param {string} [role]
   */
  be(role = "") {
    const on = STAFF.includes(role);
    this.#chat.classList.toggle("is-staff", on);
    if (!on) this.forget();
  }
  /** What waits comes again after each welcome. */
  forget() {
    this.#rows.replaceChildren();
    this.#count();
    this.#shut(false);
  }
  /** @param {Message} message */
  take(message) {
    if (message.type === "chat.held") this.#hold(message);
    if (message.type === "chat.resolved") {
      this.#row(message.id)?.remove();
      this.#count();
    }
  }

  // Held messages

  /** @param {ChatHeld} held */
  #hold({ id, user, text, reason }) {
    if (this.#row(id)) return;
    const answer = (/** @type {"approve"|"deny"} */ verb, /** @type {string} */ label) => {
      const button = el("button", { type: "button", testid: `held-${verb}`, text: label,
        "aria-label": `${label} the message of ${user.name}` });
      button.addEventListener("click", () => this.#decide(id, verb));
      return button;
    };
    this.#rows.append(el("li", { testid: "held-line", data: { id } },
      el("p", {}, el("b", { class: `name ${hue(user.user_id)}`, text: user.name }), el("span", { class: "text", text }),
        el("span", { class: "role", text: reason.replaceAll("_", " ") })),
      answer("approve", "Approve"), answer("deny", "Deny")));
    this.#count();
  }
  /**
   * @param {string} id
   * @param {"approve"|"deny"} verb
   */
  async #decide(id, verb) {
    await this.#try({ type: `chat.${verb}`, id });
    const next = this.#rows.querySelector("button");
    if (document.activeElement === document.body) (next ?? this.#chat).focus();
  }
  /** @param {string} id */
  #row(id) {
    return [...this.#rows.children].find((row) => row instanceof HTMLElement && row.dataset.id === id);
  }
  #count() {
    const count = this.#rows.childElementCount;
    this.#held.hidden = !count;
    this.#title.textContent = `${number(count)} ${count === 1 ? "message waits" : "messages wait"} for you`;
  }

  // The menu of a message

  /** @param {HTMLElement} button */
  #open(button) {
    const line = button.closest("li");
    const again = this.#menu?.parentElement === line;
    this.#shut(false);
    if (!line || again) return;
    const { id = "", user = "" } = line.dataset;
    /** @type {[string, string, () => Command][]} */
    const acts = [
      ["delete", "Delete", () => ({ type: "chat.delete", ids: [id] })],
      ["mute", "Mute for 10 min", () => ({ type: "members.mute", user_id: user, seconds: MUTE_S })],
      ["hide", "Hide", () => ({ type: "members.hide", user_id: user })],
      ["ban", "Ban", () => ({ type: "members.ban", user_id: user })],
    ];
    const menu = el("div", { class: "line-acts", role: "menu", "aria-label": "Moderate", testid: "line-acts" },
      ...acts.map(([name, label, command]) => this.#item(name, label, () => this.#act(command()))),
      this.#item("warn", "Warn …", () => this.#askWarning(user)));
    menu.addEventListener("keydown", (event) => this.#pressed(event));
    button.setAttribute("aria-expanded", "true");
    line.append(menu);
    this.#menu = menu;
    menu.querySelector("button")?.focus();
    menu.scrollIntoView({ block: "nearest" });
  }
  /**
   * @param {string} name
   * @param {string} label
   * @param {() => void} chosen
   */
  #item(name, label, chosen) {
    const item = el("button", { type: "button", role: "menuitem", testid: `act-${name}`, text: label });
    item.addEventListener("click", chosen);
    return item;
  }
  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const items = [...this.#menu?.querySelectorAll("[role=menuitem]") ?? []];
    const at = items.indexOf(/** @type {Element} */ (document.activeElement));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.#shut(true);
    else if (step && at >= 0) /** @type {HTMLElement} */ (items.at((at + step) % items.length)).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  /** @param {string} user */
  #askWarning(user) {
    const text = el("input", { testid: "warn-text", maxlength: 500, required: "", "aria-label": "What to tell them" });
    const form = el("form", { class: "warn" }, text, el("button", { testid: "warn-send", text: "Warn" }));
    form.addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#act({ type: "members.warn", user_id: user, text: text.value });
    });
    this.#menu?.removeAttribute("role");
    this.#menu?.replaceChildren(form);
    text.focus();
  }
  /** @param {Command} command */
  async #act(command) {
    this.#shut(true);
    await this.#try(command);
  }
  /** @param {Command} command */
  async #try(command) {
    const status = find("chat-status");
    status.textContent = "";
    try {
      await this.#send(command);
    } catch (error) {
      status.textContent = `${words(/** @type {Refused} */ (error))}.`;
    }
  }
  /** @param {boolean} back whether the focus goes back to the message's button */
  #shut(back) {
    const button = this.#menu?.parentElement?.querySelector("[data-testid=line-menu]");
    this.#menu?.remove();
    this.#menu = null;
    button?.setAttribute("aria-expanded", "false");
    if (back && button instanceof HTMLElement) button.focus();
  }
}
