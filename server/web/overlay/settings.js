/** How the streamer wants the alerts: `?position=top-left&scale=0.8` in the address of the overlay. */

const PLACES = ["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"];
const SCALE_MIN = 0.25;
const SCALE_MAX = 3;

/**
 * What cannot be understood changes nothing: a typo must not cost a show its alerts.
 * @param {HTMLElement} layer
 * @param {string} query
 */
export function applySettings(layer, query) {
  const settings = new URLSearchParams(query);
  const position = settings.get("position") ?? "";
  const scale = parseFloat(settings.get("scale") ?? "");
  layer.dataset.position = PLACES.includes(position) ? position : "center";
  if (scale) layer.style.setProperty("--scale", String(Math.min(SCALE_MAX, Math.max(SCALE_MIN, scale))));
}
