/** How the streamer wants the overlay: as the room has it, and `?widgets=alerts,goal&scale=0.8` in its own address. */
/** @import { OverlayChanged, OverlaySettings, Widget } from "../wire.js" */

/** @typedef {Widget["place"]} Place */

export const PLACES = [
  "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right",
];
export const KINDS = ["alerts", "goal", "board", "chat", "combo", "viewers", "ticker", "poll"];
export const THEMES = ["dark", "light", "clear"];
export const FONTS = ["sans", "rounded", "serif", "mono", "hand"];
const SCALE_MIN = 0.25;
const SCALE_MAX = 3;

/** @type {OverlaySettings} until the room's are known */
export const USUAL = {
  widgets: [{ kind: "alerts", place: "center", scale: 100 }], theme: "dark", font: "sans", veil: 100, min_coins: 0,
  big_coins: 100, duration_ms: null, sound: "none", volume: 60, message: true, delay_ms: 0, age_s: 180, merge_s: 10,
  priority: "size", variants: [],
};
/** @type {Omit<OverlayChanged, "type">} */
export const UNCHANGED = { version: 0, settings: USUAL, paused: false, muted: false, cleared_ms: 0 };

/**
 * One of these values, or nothing.
 * @param {string[]} values
 * @param {string|null} value
 */
const oneOf = (values, value) => (value !== null && values.includes(value) ? value : null);

/**
 * The settings with what this overlay's address says. What cannot be understood changes nothing: a typo must not cost
 * a show its alerts. `position` and `scale` are for all its widgets.
 * @param {OverlaySettings} settings
 * @param {string} query
 * @returns {OverlaySettings}
 */
export function settled(settings, query) {
  const said = new URLSearchParams(query);
  const kinds = (said.get("widgets") ?? "").split(",").filter((kind) => KINDS.includes(kind));
  const place = oneOf(PLACES, said.get("position"));
  const scale = parseFloat(said.get("scale") ?? "");
  const percent = scale ? Math.round(100 * Math.min(SCALE_MAX, Math.max(SCALE_MIN, scale))) : null;
  const known = (/** @type {string} */ kind) =>
    settings.widgets.find((widget) => widget.kind === kind) ?? { kind, place: "center", scale: 100 };
  const wanted = kinds.length === 0 ? settings.widgets : kinds.map(known);
  return {
    ...settings,
    widgets: wanted.map((widget) => ({ ...widget, place: place ?? widget.place, scale: percent ?? widget.scale })),
    theme: oneOf(THEMES, said.get("theme")) ?? settings.theme,
    font: oneOf(FONTS, said.get("font")) ?? settings.font,
    veil: percentOf(said.get("veil")) ?? settings.veil,
  };
}

/** @param {string|null} text */
function percentOf(text) {
  const number = parseInt(text ?? "", 10);
  return number >= 0 && number <= 100 ? number : null;
}
