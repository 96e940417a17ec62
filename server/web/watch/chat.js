/** The chat: lines as they come, marks where something is missing, and the composer that never loses a text. */
import { avatar, el, find, hue, picture } from "../shared/dom.js";
import { showRefusal } from "./refusals.js";

const LINES_KEPT = 200, NEAR_BOTTOM_PX = 60, HIDDEN_TAB_MS = 500;
const ROLES = { host: "Host", moderator: "Mod", bot: "Bot" };

export class ChatList {
  #waiting = []; #scheduled = false; #combos = new Map(); #lastHidden = null;

  constructor() {
    [this.list, this.newer] = [find("chat-list"), find("chat-newer")];
    this.newer.addEventListener("click", () => this.#toBottom());
    this.list.addEventListener("scroll", () => { if (this.#atBottom()) this.newer.hidden = true; });
    new ResizeObserver(() => { if (this.newer.hidden) this.#toBottom(); }).observe(this.list);
  }

  /** @param {object} event any room event; those that chat does not show are passed over */
  take(event) {
    if (event.type === "chat.sent") this.#add(said(event));
    if (event.type === "gifts.sent") this.#gift(event);
    if (event.type === "chat.deleted") this.#remove(event);
  }
  gap() { this.#add(mark("chat-gap", "Some messages were missed")); }
  note(text) { this.#add(mark("chat-note", text)); }
  /** Hidden lines in a row are one mark with a growing number. */
  hidden(count) {
    if (this.#lastHidden && this.#lastLine() === this.#lastHidden.element) this.#lastHidden.count += count;
    else {
      this.#lastHidden = { element: mark("chat-hidden", ""), count };
      this.#add(this.#lastHidden.element);
    }
    const { element, count: all } = this.#lastHidden;
    element.firstChild.textContent = `${all} ${all === 1 ? "message" : "messages"} hidden: the room is very busy`;
  }

  #gift(event) {
    const known = event.combo && this.#combos.get(event.combo.id);
    if (known && (known.line.isConnected || this.#waiting.includes(known.line))) return known.update(event);
    const made = gave(event);
    if (event.combo) this.#combos.set(event.combo.id, made);
    if (this.#combos.size > LINES_KEPT) this.#combos.delete(this.#combos.keys().next().value);
    this.#add(made.line);
  }
  /** Takes back messages; gifts of a muted person stay, they were paid. */
  #remove({ ids = [], user_ids = [] }) {
    const gone = ({ dataset }) => ids.includes(dataset.id) || (dataset.testid === "chat-line" && user_ids.includes(dataset.user));
    this.#waiting = this.#waiting.filter((line) => !gone(line));
    for (const line of [...this.list.children]) if (gone(line)) line.remove();
  }

  #lastLine() { return this.#waiting.at(-1) ?? this.list.lastElementChild; }
  /** Lines go in once per frame: a busy room must not lay out the page for every message. */
  #add(line) {
    this.#waiting.push(line);
    if (this.#waiting.length > LINES_KEPT) this.#waiting.shift();
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.hidden) setTimeout(() => this.#flush(), HIDDEN_TAB_MS); // no frames are drawn in a hidden tab
    else requestAnimationFrame(() => this.#flush());
  }
  #flush() {
    const follow = this.#atBottom();
    this.#scheduled = false;
    this.list.append(...this.#waiting.splice(0));
    while (this.list.childElementCount > LINES_KEPT) this.list.firstElementChild.remove();
    if (follow) this.#toBottom();
    else this.newer.hidden = false;
  }
  #atBottom() { return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_BOTTOM_PX; }
  #toBottom() {
    this.list.scrollTop = this.list.scrollHeight;
    this.newer.hidden = true;
  }
}

function said({ id, user, text }) {
  const role = ROLES[user.role];
  return el("li", { class: "line", testid: "chat-line", data: { id, user: user.user_id } },
    avatar(user), el("p", {},
      el("b", { class: `name ${hue(user.user_id)}`, text: user.name }),
      role ? el("span", { class: `role ${user.role}`, text: role }) : null,
      ...(user.badges ?? []).map((badge) => el("span", { class: "role badge", text: badge })), el("span", { class: "text", text })));
}

function gave(event) {
  const times = el("strong", { class: "times" }), message = el("span", { class: "text" });
  const data = { id: event.id, user: event.from.user_id, combo: event.combo?.id ?? "", count: 0 };
  const line = el("li", { class: `line gift tier-${event.gift.tier}`, testid: "chat-gift", data },
    picture(event.gift, "gift-art"), el("p", {}, el("b", { class: "name", text: event.from.name }),
      ` sent ${event.gift.name}${event.test ? " (test)" : ""} `, times, message));
  const update = ({ combo, count, message: text }) => {
    const total = Math.max(Number(line.dataset.count), combo?.count ?? count);
    line.dataset.count = total;
    times.textContent = total > 1 ? `×${total}` : "";
    if (text) message.textContent = text;
  };
  update(event);
  return { line, update };
}

const mark = (testid, text) => el("li", { class: `mark ${testid}`, testid }, el("span", { text }));

/** @param {(text: string) => Promise<object>} send */
export function startComposer(send) {
  const [input, button, status] = [find("chat-input"), find("chat-send"), find("chat-status")];
  let stop = () => {};
  input.form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const typed = input.value, text = typed.trim();
    if (!text || button.disabled) return;
    stop();
    button.disabled = true;
    try {
      await send(text);
      if (input.value === typed) input.value = ""; // what was typed meanwhile stays
      button.disabled = false;
    } catch (refused) {
      stop = showRefusal(status, refused, () => { button.disabled = false; });
    }
    input.focus();
  });
  input.addEventListener("input", () => { if (!button.disabled) stop(); });
}
