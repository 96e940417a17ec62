/** Gifts whose alerts differ: of one kind, of a tier, or from so many coins on. The first row that fits counts. */
import { el } from "../shared/dom.js";
import { choiceField, numberField, textField } from "./fields.js";

/** @import { Gift, Variant } from "../wire.js" */
/** @import { Field } from "./fields.js" */

const MOST = 32;
const S = 1000;
/** @type {[string, string][]} */
const TIERS = [
  ["", "All gifts"], ["tier 1", "Tier 1"], ["tier 2", "Tier 2"], ["tier 3", "Tier 3"], ["tier 4", "Tier 4"],
];
/** @type {[string, string][]} */
const ANIMATIONS = [
  ["", "Its own"], ["float", "Float"], ["burst", "Burst"], ["ride", "Ride"], ["fullscreen", "Full screen"],
];
/** @type {[string, string][]} */
const SOUNDS = [["", "As for all"], ["none", "No sound"], ["chime", "Chime"], ["pop", "Pop"], ["fanfare", "Fanfare"]];
/** @type {[string, string][]} */
const SHOWN = [["", "As for all"], ["message", "With message"], ["quiet", "Without message"], ["none", "No alert"]];

/** @type {Record<string, boolean>} */
const MESSAGE = { message: true, quiet: false };

export class Variants {
  #onChange;
  /** @type {[string, string][]} */
  #gifts = [];
  /** @type {{element: HTMLElement, read: () => Variant}[]} */
  #rows = [];
  #list = el("div", { class: "variants", testid: "variants" });
  #add = el("button", { type: "button", testid: "variant-add", text: "Add a rule" });
  element = el("div", {}, this.#list, this.#add);

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#add.addEventListener("click", () => {
      this.fill([...this.read(), {}]);
      this.#rows.at(-1)?.element.querySelector("select")?.focus();
      this.#onChange();
    });
  }

  /** @param {Gift[]} gifts */
  know(gifts) {
    this.#gifts = gifts.map(({ id, name }) => [`gift ${id}`, name]);
    this.fill(this.read());
  }
  read() { return this.#rows.map((row) => row.read()); }
  /** @param {Variant[]} variants */
  fill(variants) {
    if (JSON.stringify(variants) === JSON.stringify(this.read()) && this.#rows.length) return this.#count();
    this.#rows = variants.map((variant) => this.#row(variant));
    this.#list.replaceChildren(...this.#rows.map(({ element }) => element));
    this.#count();
  }
  #count() { this.#add.disabled = this.#rows.length >= MOST; }

  /** @param {Variant} variant */
  #row(variant) {
    const { fields, read } = variantFields(variant, [...TIERS, ...this.#gifts]);
    const remove = el("button", { type: "button", testid: "variant-remove", text: "Remove" });
    const element = el("div", { class: "variant", testid: "variant", role: "group", "aria-label": "Rule" },
      ...fields.map((field) => field.element), remove);
    const row = { element, read };
    remove.addEventListener("click", () => {
      this.#rows = this.#rows.filter((other) => other !== row);
      element.remove();
      this.#count();
      this.#onChange();
    });
    return row;
  }
}

/**
 * @param {Variant} variant
 * @param {[string, string][]} of
 */
function variantFields(variant, of) {
  const which = choiceField({ name: "which", label: "Which gifts", options: of });
  const least = numberField({ name: "least", label: "From", min: 0, max: 1e9, unit: "coins" });
  const shown = choiceField({ name: "shown", label: "Show", options: SHOWN });
  const ms = numberField({ name: "ms", label: "Shown for", min: 500, max: 60 * S, scale: S, unit: "s", empty: true });
  const animation = choiceField({ name: "animation", label: "Animation", options: ANIMATIONS });
  const sound = choiceField({ name: "sound", label: "Sound", options: SOUNDS });
  const volume = numberField({ name: "volume", label: "Volume", min: 0, max: 100, unit: "%", empty: true });
  const media = textField({ name: "media", label: "Own picture or film" });
  which.fill(variant.gift ? `gift ${variant.gift}` : variant.tier ? `tier ${variant.tier}` : "");
  least.fill(variant.min_coins ?? 0);
  shown.fill(shownOf(variant));
  ms.fill(variant.duration_ms ?? null);
  animation.fill(variant.animation ?? "");
  sound.fill(variant.sound ?? "");
  volume.fill(variant.volume ?? null);
  media.fill(variant.media ?? "");
  /** @type {Field[]} */
  const fields = [which, least, shown, ms, animation, sound, volume, media];
  /** @returns {Variant} only what is not as for all */
  const read = () => {
    const [kind, id] = String(which.read()).split(" ");
    const show = shown.read();
    /** @type {Record<string, unknown>} */
    const said = {
      gift: kind === "gift" ? id : null, tier: kind === "tier" ? Number(id) : null, min_coins: least.read() || null,
      show: show === "none" ? false : null, duration_ms: ms.read(), animation: animation.read(), media: media.read(),
      sound: sound.read(), volume: volume.read(), message: MESSAGE[String(show)] ?? null,
    };
    return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null && value !== ""));
  };
  return { fields, read };
}

/** @param {Variant} variant */
function shownOf({ show, message }) {
  if (show === false) return "none";
  return message === undefined ? "" : message ? "message" : "quiet";
}
