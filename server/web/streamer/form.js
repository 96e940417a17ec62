/** What the overlays show, as a form. Each change is saved soon, and the preview follows what was saved. */
import { FONTS, KINDS, PLACES, THEMES, USUAL } from "../overlay/settings.js";
import { el, find } from "../shared/dom.js";
import { choiceField, numberField, rangeField, switchField } from "./fields.js";
import { Variants } from "./variants.js";

/** @import { Refused } from "../liveroom.js" */
/** @import { Command, Gift, OverlaySettings, Widget } from "../wire.js" */
/** @import { Field } from "./fields.js" */

const SAVE_AFTER_MS = 400;
const S = 1000;
/** @type {Record<string, string>} */
const WIDGET_NAMES = {
  alerts: "Alerts", goal: "Goal", board: "Top gifters", chat: "Chat", combo: "Streaks", viewers: "Viewers",
  ticker: "Big gifts", poll: "Poll",
};
/** @type {[string, string][]} */
export const SOUNDS = [["none", "No sound"], ["chime", "Chime"], ["pop", "Pop"], ["fanfare", "Fanfare"]];

/** @param {string} word */
const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1).replace("-", " ");
/** @param {string[]} values @returns {[string, string][]} */
const choices = (values) => values.map((value) => [value, capital(value)]);

/** @type {() => Record<string, Field>} */
const alertFields = () => ({
  min_coins: numberField({ name: "min_coins", label: "Least gift", min: 0, max: 1e9, unit: "coins" }),
  duration_ms: numberField({ name: "duration_ms", label: "Shown for", min: 500, max: 60 * S, scale: S, unit: "s",
    empty: true, note: "Empty: as long as the gift's own animation" }),
  delay_ms: numberField({ name: "delay_ms", label: "Pause between two", min: 0, max: 30 * S, scale: S, unit: "s" }),
  merge_s: numberField({ name: "merge_s", label: "Merge gifts of one sender within", min: 0, max: 60, unit: "s" }),
  age_s: numberField({ name: "age_s", label: "Drop small ones after", min: 10, max: 3600, unit: "s" }),
  priority: choiceField({ name: "priority", label: "When many wait",
    options: [["size", "Biggest first"], ["order", "In order"]] }),
  sound: choiceField({ name: "sound", label: "Sound", options: SOUNDS }),
  volume: rangeField({ name: "volume", label: "Volume", min: 0, max: 100 }),
  message: switchField({ name: "message", label: "Show the message" }),
});
/** @type {() => Record<string, Field>} */
const lookFields = () => ({
  theme: choiceField({ name: "theme", label: "Theme", options: choices(THEMES) }),
  font: choiceField({ name: "font", label: "Font", options: choices(FONTS) }),
  veil: rangeField({ name: "veil", label: "Veil of large alerts", min: 0, max: 100 }),
  big_coins: numberField({ name: "big_coins", label: "Big gifts from", min: 0, max: 1e9, unit: "coins" }),
});

export class Form {
  #send;
  #saved = find("saved");
  #fields = { ...alertFields(), ...lookFields() };
  #widgets = KINDS.filter((kind) => kind !== "poll").map(widgetRow); // there are no polls yet
  #variants = new Variants(() => this.#changed());
  /** @type {OverlaySettings} */
  #settings = USUAL;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  #saving = 0;

  /** @param {(command: Command) => Promise<object>} send */
  constructor(send) {
    this.#send = send;
    const form = find("settings");
    const [alerts, look] = [Object.keys(alertFields()), Object.keys(lookFields())];
    form.prepend(
      fieldset("Widgets", el("div", { class: "widgets" }, ...this.#widgets.map(({ element }) => element))),
      fieldset("Alerts", ...alerts.map((name) => this.#fields[name]?.element ?? "")),
      fieldset("Some gifts differently", this.#variants.element),
      fieldset("Look", ...look.map((name) => this.#fields[name]?.element ?? "")),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", ({ target }) => { if (!inLinks(target)) this.#changed(); });
    this.draw(USUAL);
  }

  /** @param {Gift[]} gifts */
  know(gifts) { this.#variants.know(gifts); }

  /** @param {OverlaySettings} settings */
  draw(settings) {
    if (this.#timer !== undefined || this.#saving) return; // newer changes are on their way
    this.#settings = settings;
    for (const [name, field] of Object.entries(this.#fields)) field.fill(settings[/** @type {"veil"} */ (name)]);
    for (const row of this.#widgets) row.fill(settings.widgets.find(({ kind }) => kind === row.kind));
    this.#variants.fill(settings.variants);
  }

  #changed() {
    clearTimeout(this.#timer);
    this.#say("saving", "Saving");
    this.#timer = setTimeout(() => this.#save(), SAVE_AFTER_MS);
  }
  async #save() {
    this.#timer = undefined;
    this.#saving++;
    const said = Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, field.read()]));
    const widgets = this.#widgets.flatMap((row) => row.read() ?? []);
    const changed = { ...this.#settings, ...said, widgets, variants: this.#variants.read() };
    const settings = /** @type {OverlaySettings} */ (changed);
    try {
      await this.#send({ type: "overlay.set", settings });
      this.#settings = settings;
      if (this.#timer === undefined) this.#say("saved", "All changes are saved.");
    } catch (error) {
      this.#say("refused", `Not saved. ${/** @type {Partial<Refused>} */ (error).message || "Try again."}`);
    }
    this.#saving--;
  }
  /**
   * @param {"saved"|"saving"|"refused"} state
   * @param {string} text
   */
  #say(state, text) {
    this.#saved.dataset.state = state;
    this.#saved.textContent = text;
  }
}

/** @param {EventTarget|null} target */
const inLinks = (target) => target instanceof HTMLElement && target.dataset.testid === "link-url";

/**
 * @param {string} name
 * @param {(Node|string)[]} children
 */
const fieldset = (name, ...children) => el("fieldset", {}, el("legend", { text: name }), ...children);

/** @param {string} kind */
function widgetRow(kind) {
  const name = WIDGET_NAMES[kind] ?? kind;
  const on = el("input", { type: "checkbox", testid: `set-widget-${kind}` });
  const place = el("select", { testid: `set-place-${kind}`, "aria-label": `${name}: place` },
    ...choices(PLACES).map(([value, text]) => el("option", { value, text })));
  const scale = el("input", { type: "number", min: 25, max: 300, step: 5, testid: `set-scale-${kind}`,
    "aria-label": `${name}: size in percent` });
  const element = el("div", { class: "row" }, el("label", {}, on, el("span", { text: name })), place, scale,
    el("i", { class: "unit", text: "%" }));
  return {
    kind, element,
    /** @returns {Widget|null} */
    read: () => {
      const percent = Math.round(Number(scale.value)) || 100;
      return on.checked ? { kind, place: place.value, scale: Math.min(300, Math.max(25, percent)) } : null;
    },
    /** @param {Widget|undefined} widget */
    fill: (widget) => {
      on.checked = Boolean(widget);
      place.value = widget?.place ?? (place.value || "center");
      if (scale !== document.activeElement) scale.value = String(widget?.scale ?? (Number(scale.value) || 100));
    },
  };
}
