/** The gift panel: catalogue, balance, how many, and the taps that make a combo. */
import { el, find, icon, number, picture, reducedMotion, setValue } from "../shared/dom.js";
import { bump } from "../shared/giftshow.js";
import { uuid7 } from "../liveroom.js";
import { outcomeUnknown, showRefusal } from "./refusals.js";

const QUANTITIES = [1, 5, 10, 99];
const COMBO_WINDOW_MS = 3000;
const REST_MS = 700; // longer than a double click and than the first pause of a key that is held

export class GiftPanel {
  #gifts = []; #chosen = null; #quantity = 1; #coins = 0; #inFlight = 0; #open = true; #streak = null; #stopRefusal = () => {};
  #unsure = null; #last = { gift: null, at: 0 };

  /**
   * @param {HTMLElement} panel
   * @param {(gift: {id?: string, gift: string, count: number, combo?: string, message?: string}) => Promise<object>} send
   */
  constructor(panel, send) {
    Object.assign(this, { panel, send, cards: new Map() });
    this.balance = el("b", { testid: "balance", data: { value: 0 }, text: "0" });
    this.shelf = el("div", { class: "shelf", role: "group", "aria-label": "Choose a gift" });
    this.counts = el("div", { class: "counts", role: "group", "aria-label": "How many" },
      ...QUANTITIES.map((count) => this.#quantityButton(count)));
    this.message = el("input", { testid: "gift-message", maxlength: 200, placeholder: "Add a message (optional)", autocomplete: "off" });
    this.label = el("span", { class: "send-label" });
    this.streakTime = el("i", { class: "streak-time", "aria-hidden": "true" });
    this.button = el("button", { class: "primary", type: "button", testid: "gift-send" }, this.streakTime, this.label);
    this.status = el("p", { class: "gift-status", testid: "gift-status", role: "status" });
    this.button.addEventListener("click", () => this.#give());
    panel.replaceChildren(
      el("header", {}, el("h2", { text: "Gifts" }), this.status,
        el("p", { class: "balance" }, icon("coin"), el("span", { class: "sr", text: "Your coins" }), this.balance),
        el("button", { class: "icon-button gift-close", type: "button", testid: "gift-close", "aria-label": "Close gifts" },
          icon("close"))),
      this.shelf,
      el("footer", {}, this.counts,
        el("label", { class: "field" }, icon("note"), el("span", { class: "sr", text: "Message with the gift" }), this.message),
        this.button));
  }

  /** @param {object[]} gifts the catalogue */
  fill(gifts) {
    this.#gifts = gifts;
    this.shelf.replaceChildren(...gifts.map((gift) => this.#card(gift)));
    this.#choose(gifts[0]);
  }
  /** @param {number|null} coins null while the wallet is away: then a gift is worth a try, and its reply says what is left */
  setCoins(coins) {
    this.#coins = coins ?? Infinity;
    if (coins === null) this.balance.textContent = "–";
    else setValue(this.balance, coins, number);
    this.#draw();
  }
  /** @param {boolean} open whether gifts can be sent at all: connected, room live, gifts on */
  setOpen(open) {
    this.#open = open;
    this.#draw();
  }

  #quantityButton(count) {
    const button = el("button", { type: "button", testid: `quantity-${count}`, "aria-pressed": String(count === 1), text: count });
    button.addEventListener("click", () => {
      this.#quantity = count;
      for (const other of this.counts.children) other.setAttribute("aria-pressed", String(other === button));
      this.#draw();
    });
    return button;
  }
  #card(gift) {
    const label = `${gift.name}, ${number(gift.coins)} coins`;
    const card = el("button",
      { class: `card tier-${gift.tier}`, type: "button", testid: `gift-${gift.id}`, "aria-pressed": "false", "aria-label": label },
      picture(gift, "card-art"), el("span", { class: "card-name", text: gift.name }),
      el("span", { class: "price" }, icon("coin"), el("span", { text: number(gift.coins) })));
    // A second tap gives again only where taps make a combo: nobody should spend 10,000 coins by a double click.
    card.addEventListener("click", () => (this.#chosen === gift && gift.streakable ? this.#give() : this.#choose(gift)));
    this.cards.set(gift.id, card);
    return card;
  }
  #choose(gift) {
    this.#chosen = gift;
    for (const [id, card] of this.cards) card.setAttribute("aria-pressed", String(id === gift?.id));
    this.#draw();
  }

  async #give() {
    const gift = this.#chosen;
    if (this.button.disabled || this.#tooSoon(gift)) return;
    const asked = this.#ask(gift), cost = gift.coins * asked.count;
    const streak = gift.streakable ? this.#tap(gift, asked.combo) : null;
    this.message.value = "";
    this.#stopRefusal();
    this.#inFlight += cost;
    this.#draw();
    try {
      const reply = await this.send(asked);
      if (streak) this.#counted(streak, reply.combo?.count ?? streak.count + asked.count);
    } catch (refused) {
      if (outcomeUnknown(refused)) this.#unsure = { ...asked, id: refused.id };
      if (!this.message.value) this.message.value = asked.message;
      this.#stopRefusal = showRefusal(this.status, refused);
    } finally {
      this.#inFlight -= cost;
      this.#draw();
    }
  }
  /** What to send. The gift of which nobody knows whether it was paid goes out again as it was: then it is paid once. */
  #ask(gift) {
    const count = this.#quantity, message = this.message.value.trim(), unsure = this.#unsure;
    this.#unsure = null;
    if (unsure?.gift === gift.id && unsure.count === count && unsure.message === message) return unsure;
    const combo = !gift.streakable ? undefined : this.#streak?.gift === gift ? this.#streak.id : uuid7();
    return { gift: gift.id, count, combo, message };
  }
  /** Two taps at once mean one gift, where taps do not make a combo. */
  #tooSoon(gift) {
    const last = this.#last, at = performance.now();
    this.#last = { gift, at };
    return !gift.streakable && last.gift === gift && at - last.at < REST_MS;
  }
  /** The streak that this tap belongs to: taps of one gift, each within the window of the one before. */
  #tap(gift, id) {
    if (this.#streak?.id !== id) this.#streak = { id, gift, count: 0, timer: 0 };
    const streak = this.#streak;
    clearTimeout(streak.timer);
    streak.timer = setTimeout(() => {
      if (this.#streak === streak) this.#streak = null;
      this.#draw();
    }, COMBO_WINDOW_MS);
    this.streakTime.getAnimations().forEach((animation) => animation.cancel());
    const [full, over] = ["scaleX(1)", reducedMotion() ? "scaleX(1)" : "scaleX(0)"];
    this.streakTime.animate([{ transform: full, opacity: 1 }, { transform: over, opacity: 0.4 }], COMBO_WINDOW_MS);
    return streak;
  }
  #counted(streak, count) {
    streak.count = Math.max(streak.count, count);
    this.#draw();
    if (streak === this.#streak) bump(this.label);
  }

  #draw() {
    const left = this.#coins - this.#inFlight, gift = this.#chosen, cost = gift ? gift.coins * this.#quantity : 0;
    for (const { id, coins } of this.#gifts) this.cards.get(id).disabled = coins > left;
    const streak = this.#streak?.gift === gift ? this.#streak : null;
    this.button.disabled = !gift || !this.#open || cost > left;
    this.button.dataset.combo = streak?.id ?? "";
    if (gift && cost > left) this.label.textContent = `${number(cost - left)} coins short`;
    else if (streak?.count) this.label.textContent = `Combo ×${number(streak.count)}`;
    else this.label.replaceChildren("Send", el("span", { class: "cost" }, icon("coin"), el("span", { text: number(cost) })));
  }
}

/** On a phone the panel is a sheet that opens over the chat. */
export function startSheet(panel) {
  const opener = find("gift-open"), narrow = matchMedia("(max-width: 760px)");
  const set = (open) => {
    panel.classList.toggle("open", open);
    opener.setAttribute("aria-expanded", String(open));
    panel.inert = narrow.matches && !open; // what cannot be seen must not take the focus
    if (open) panel.querySelector(".card[aria-pressed=true]")?.focus();
  };
  const shut = () => { set(false); opener.focus(); };
  opener.addEventListener("click", () => set(!panel.classList.contains("open")));
  find("gift-close").addEventListener("click", shut);
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape" && panel.classList.contains("open")) shut(); });
  find("stage").addEventListener("pointerdown", () => { if (panel.classList.contains("open")) set(false); });
  narrow.addEventListener("change", () => set(false));
  set(false);
}
