/** Small helpers of the pages: elements, numbers, and how a person looks. Text always goes in as text. */

/** An element with attributes; `text` and string children are inserted as text, `testid` is its data-testid. */
export function el(tag, { class: className, text, testid, data, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (testid) element.dataset.testid = testid;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A symbol of icons.svg. */
export function icon(name, className = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/web/shared/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  if (className) svg.setAttribute("class", className);
  svg.append(use);
  return svg;
}

export const find = (testid) => document.querySelector(`[data-testid="${testid}"]`);

const plain = new Intl.NumberFormat("en"), short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const number = (value) => plain.format(value);
export const compact = (value) => (value < 10_000 ? plain.format(value) : short.format(value));

/** Shows a number that tests and scripts can read exactly. */
export function setValue(element, value, format = compact) {
  element.dataset.value = value;
  element.textContent = format(value);
}

export const seconds = (ms) => Math.max(1, Math.ceil(ms / 1000));
export function duration(ms) {
  const s = seconds(ms);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.ceil(s / 60)} min`;
  return s < 172_800 ? `${Math.ceil(s / 3600)} h` : `${Math.ceil(s / 86_400)} days`;
}

export const initial = (name) => [...(name || "?").trim()][0]?.toUpperCase() ?? "?";

/** The same colour for the same person everywhere. */
export function hue(userId) {
  let hash = 0;
  for (const char of userId ?? "") hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return `hue-${hash % 8}`;
}
export const avatar = ({ user_id, name }) => el("span", { class: `avatar ${hue(user_id)}`, text: initial(name), "aria-hidden": "true" });

export const picture = (gift, className) => el("img", { class: className, src: gift.animation.url, alt: "", draggable: "false" });

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
