/** The gift panel: catalogue, balance, number of gifts, and the button that sends them. */
import { el, icon, number, picture, reducedMotion, setValue } from "../shared/dom.js";
import { bump } from "../shared/giftshow.js";
import { Giving, STREAK_MS } from "./giving.js";
import { AskAbove } from "./askabove.js";
import { showRefusal } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { Gift, SendGiftOk } from "../wire.js" */
/** @import { Asked } from "./giving.js" */

const QUANTITIES = [1, 5, 10, 99];
const MESSAGE_CHARS = 200;

export class GiftPanel {
  #panel;
  #giving;
  /** @type {Map<Gift, HTMLButtonElement>} */
  #cards = new Map();
  #stopRefusal = () => {};
  #askAbove = new AskAbove((coins) => { this.#giving.askAbove = coins; });

  #balance = el("b", { testid: "balance", data: { value: 0 }, text: "–" });
  #shelf = el("div", { class: "shelf", role: "group", "aria-label": "Choose a gift" });
  #counts = el("div", { class: "counts", role: "group", "aria-label": "How many" },
    ...QUANTITIES.map((count) => this.#quantityButton(count)));
  #message = el("input", {
    testid: "gift-message", maxlength: MESSAGE_CHARS, placeholder: "Message (optional)", autocomplete: "off",
  });
  #label = el("span", { class: "send-label" });
  #streakTime = el("i", { class: "streak-time", "aria-hidden": "true" });
  #button = el("button", { class: "primary", type: "button", testid: "gift-send" }, this.#streakTime, this.#label);
  #status = el("p", { class: "gift-status", testid: "gift-status", role: "status" });
  #question = el("p", { class: "gift-status", testid: "gift-question", role: "status" });
  #close = el("button", {
    class: "icon-button gift-close", type: "button", testid: "gift-close", "aria-label": "Close gifts",
  }, icon("close"));

  /**
   * @param {HTMLElement} panel gets the events "given", "asked" and "refused"
   * @param {(gift: Asked) => Promise<SendGiftOk>} send
   */
  constructor(panel, send) {
    this.#panel = panel;
    this.#giving = new Giving(send, () => this.#draw());
    this.#giving.askAbove = this.#askAbove.coins;
    panel.addEventListener("keydown", heldKeySpendsNothing);
    this.#button.addEventListener("click", () => this.#give());
    panel.addEventListener("shut", () => this.#giving.withdraw()); // a later tap must not answer the question
    panel.replaceChildren(
      el("header", {}, el("h2", { text: "Gifts" }), this.#status, this.#question,
        el("p", { class: "balance" }, icon("coin"), el("span", { class: "sr", text: "Your coins" }), this.#balance),
        this.#close),
      this.#shelf,
      el("footer", {}, this.#counts,
        el("label", { class: "field" }, icon("note"), el("span", { class: "sr", text: "Message with the gift" }),
          this.#message),
        this.#askAbove.element, this.#button));
  }

  /** @param {Gift[]} gifts the catalogue */
  fill(gifts) {
    this.#cards = new Map(gifts.map((gift) => [gift, this.#card(gift)]));
    this.#shelf.replaceChildren(...this.#cards.values());
    this.#choose(gifts[0] ?? null);
  }
  /** @param {number|null} coins null while the wallet is away */
  setCoins(coins) {
    this.#giving.coins = coins;
    if (coins === null) this.#balance.textContent = "–";
    else setValue(this.#balance, coins, number);
    this.#draw();
  }
  /** @param {boolean} open whether gifts can be sent at all: connected, room live, gifts on */
  setOpen(open) {
    this.#giving.open = open;
    this.#draw();
  }

  /** @param {number} count */
  #quantityButton(count) {
    const pressed = String(count === 1);
    const button = el("button", { type: "button", testid: `quantity-${count}`, "aria-pressed": pressed, text: count });
    button.addEventListener("click", () => {
      this.#giving.quantity = count;
      for (const other of this.#counts.children) other.setAttribute("aria-pressed", String(other === button));
      this.#draw();
    });
    return button;
  }
  /** @param {Gift} gift */
  #card(gift) {
    const about = { type: "button", testid: `gift-${gift.id}`, "aria-pressed": "false" };
    const card = el("button", { class: `card tier-${gift.tier}`, ...about },
      picture(gift, "card-art"), el("span", { class: "card-name", text: gift.name }),
      price("price", gift.coins), el("span", { class: "sr", text: coinOrCoins(gift.coins) }));
    // A second tap sends again only if taps make a streak: a double click must not spend 10,000 coins.
    card.addEventListener("click", () => {
      if (this.#giving.chosen === gift && gift.streakable) this.#give();
      else this.#choose(gift);
    });
    return card;
  }
  /** @param {Gift|null} gift */
  #choose(gift) {
    this.#giving.chosen = gift;
    for (const [other, card] of this.#cards) card.setAttribute("aria-pressed", String(other === gift));
    this.#draw();
  }

  async #give() {
    const tap = this.#giving.tap(this.#message.value.trim());
    if (!tap) return this.#say(this.#giving.asking ? "asked" : "ignored");
    this.#message.value = "";
    this.#say("given");
    this.#stopRefusal();
    if (tap.streak) this.#runDown();
    try {
      if (await this.#giving.send(tap)) bump(this.#label);
    } catch (error) {
      if (!this.#message.value) this.#message.value = tap.asked.message;
      this.#stopRefusal = showRefusal(this.#status, /** @type {Refused} */ (error));
      this.#say("refused");
    }
  }
  /** @param {string} what */
  #say(what) { this.#panel.dispatchEvent(new Event(what)); }
  /** Shows for how long another tap continues the streak. */
  #runDown() {
    for (const animation of this.#streakTime.getAnimations()) animation.cancel();
    const [full, over] = ["scaleX(1)", reducedMotion() ? "scaleX(1)" : "scaleX(0)"];
    this.#streakTime.animate([{ transform: full, opacity: 1 }, { transform: over, opacity: 0.4 }], STREAK_MS);
  }

  #draw() {
    const { ready, short, cost, streak } = this.#giving;
    for (const [gift, card] of this.#cards) card.disabled = !this.#giving.affords(gift);
    // A list that scrolls must take the focus where nothing in it can.
    this.#shelf.tabIndex = [...this.#cards.values()].every(({ disabled }) => disabled) ? 0 : -1;
    this.#button.disabled = !ready;
    this.#button.dataset.combo = streak?.id ?? "";
    const { asking } = this.#giving;
    this.#button.dataset.asking = String(asking);
    this.#question.textContent = asking ? `Tap once more to spend ${number(cost)} coins` : "";
    if (short) this.#label.textContent = `${number(short)} ${coinOrCoins(short)} short`;
    else if (asking) this.#label.replaceChildren("Really send?", price("cost", cost));
    else if (streak?.count) this.#label.textContent = `Combo ×${number(streak.count)}`;
    else this.#label.replaceChildren("Send", price("cost", cost));
  }
}

/**
 * A key that is held down clicks thirty times a second.
 * @param {KeyboardEvent} event
 */
function heldKeySpendsNothing(event) {
  if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
}

/** @param {number} count */
const coinOrCoins = (count) => (count === 1 ? "coin" : "coins");

/**
 * @param {string} className
 * @param {number} coins
 */
const price = (className, coins) => el("span", { class: className }, icon("coin"), el("span", { text: number(coins) }));
