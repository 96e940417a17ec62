/** Small helpers of the pages: elements, numbers, avatars. They insert text as text, never as HTML. */
/** @import { Named, ShownGift } from "../wire.js" */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined} Child */
/**
 * @typedef {object} Special what is not a plain attribute
 * @property {string} [class]
 * @property {string|number} [text] goes in as text
 * @property {string|null} [testid] its data-testid
 * @property {Record<string, string|number>} [data]
 */

/**
 * An element with attributes. Attributes that are null are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Special & Record<string, any>} [attributes]
 * @param {Child[]} children strings are inserted as text
 */
export function el(tag, { class: className, text, testid, data, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = String(text);
  if (testid) element.dataset.testid = testid;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, String(value));
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * A symbol of the page.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/**
 * The element with this data-testid.
 * @param {string} testid
 * @returns {HTMLElement}
 */
export const find = (testid) => select(`[data-testid="${testid}"]`, HTMLElement);

/**
 * The first element that matches. It must exist and be of this kind.
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
export function select(selector, kind) {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`this page has no ${kind.name} ${selector}`);
  return found;
}

const plain = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** @param {number} value */
export const number = (value) => plain.format(value);
/** @param {number} value */
export const compact = (value) => (value < 10_000 ? plain.format(value) : short.format(value));

/**
 * Shows a number that tests and scripts can read exactly.
 * @param {HTMLElement} element
 * @param {number} value
 */
export function setValue(element, value, format = compact) {
  element.dataset.value = String(value);
  element.textContent = format(value);
}

/** @param {number} ms */
export const seconds = (ms) => Math.max(1, Math.ceil(ms / 1000));

/** @param {number} ms */
export function duration(ms) {
  const s = seconds(ms);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.ceil(s / 60)} min`;
  return s < 172_800 ? `${Math.ceil(s / 3600)} h` : `${Math.ceil(s / 86_400)} days`;
}

/** @param {string} name */
export const initial = (name) => [...(name || "?").trim()][0]?.toUpperCase() ?? "?";

/**
 * The same colour for the same person everywhere.
 * @param {string} userId
 */
export function hue(userId) {
  let hash = 0;
  for (const char of userId) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return `hue-${hash % 8}`;
}

/** @param {Pick<Named, "name">} user whose name is empty after an anonymous gift */
export const nameOf = ({ name }) => name || "Somebody";

/** @param {Named} user */
export const avatar = ({ user_id, name }) =>
  el("span", { class: `avatar ${hue(user_id)}`, text: initial(name), "aria-hidden": "true" });

/** @type {Record<string, string>} by address: the same picture as a `data:` address */
let pictures = {};

/** Loads the pictures of the program's own gifts in one request. Until then, and for others, each is a request. */
export async function loadPictures() {
  try {
    const answer = await fetch("/web/pictures.json");
    if (answer.ok) pictures = await answer.json();
  } catch { /* then they come one by one */ }
}

/**
 * @param {Pick<ShownGift, "animation">} gift
 * @param {string} className
 */
export const picture = ({ animation: { url } }, className) =>
  el("img", { class: className, src: Object.hasOwn(pictures, url) ? pictures[url] : url, alt: "", draggable: "false" });

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
