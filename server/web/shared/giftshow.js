/** Shows one gift large, by its animation's kind, until `leave` is called. */
import { el, nameOf, number, picture, reducedMotion } from "./dom.js";

/** @import { ShownGift } from "../wire.js" */
/** @import { Alert } from "./alertqueue.js" */

export const LEAVE_MS = 450;
/** @type {Record<string, {sparks: number, companions: number}>} */
const KINDS = {
  float: { sparks: 0, companions: 5 },
  burst: { sparks: 22, companions: 0 },
  ride: { sparks: 12, companions: 0 },
  fullscreen: { sparks: 44, companions: 0 },
};
/** @type {Record<number, string>} */
const KIND_OF_TIER = { 1: "float", 2: "burst", 3: "ride", 4: "fullscreen" };

/** @typedef {{update: () => void, leave: () => Promise<void>}} Show `update` after the alert has changed */
/** @typedef {{kind?: string|null, art?: HTMLElement|null, message?: boolean}} Look what is not as the gift says */

/**
 * The gift's tier decides how an unknown kind, from a newer server, is shown.
 * @param {Alert} alert
 */
export const kindOf = ({ gift, tier }) =>
  Object.hasOwn(KINDS, gift.animation.kind) ? gift.animation.kind : KIND_OF_TIER[tier] ?? "burst";

/**
 * @param {HTMLElement} layer filled by the show
 * @param {Alert} alert
 * @param {string} testid
 * @param {Look} look
 * @returns {Show}
 */
export function showGift(layer, alert, testid, look = {}) {
  const kind = look.kind && Object.hasOwn(KINDS, look.kind) ? look.kind : kindOf(alert);
  const amount = (!reducedMotion() && KINDS[kind]) || { sparks: 0, companions: 0 };
  const caption = makeCaption(alert, look.message ?? true);
  const tier = Math.min(4, Math.max(1, alert.tier));
  const data = { gift: alert.gift.id, kind, count: alert.count };
  const root = el("div", { class: `gift-show kind-${kind} tier-${tier}`, testid, data },
    el("div", { class: "veil" }),
    el("div", { class: "motion" },
      el("div", { class: "rays" }), el("div", { class: "halo" }),
      sparks(amount.sparks, kind), companions(amount.companions, alert.gift),
      look.art ?? picture(alert.gift, "art")),
    caption.element);
  layer.append(root);
  const update = () => {
    if (root.dataset.count === String(alert.count) && !caption.changed()) return;
    root.dataset.count = String(alert.count);
    caption.draw();
  };
  return { update, leave: () => leave(root) };
}

/**
 * Says how many gifts could not be shown.
 * @param {HTMLElement} layer
 * @param {number} count
 */
export function showMissed(layer, count) {
  const text = `and ${number(count)} more ${count === 1 ? "gift" : "gifts"}`;
  const root = el("div", { class: "gift-show tier-1" },
    el("div", { class: "caption" }, el("p", { class: "line", testid: "alerts-missed", text })));
  layer.append(root);
  return { leave: () => leave(root) };
}

/** @param {HTMLElement} root */
async function leave(root) {
  root.classList.add("leaving");
  await new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
  root.remove();
}

/**
 * @param {Alert} alert
 * @param {boolean} withMessage
 */
function makeCaption(alert, withMessage) {
  const who = el("b", { class: "who" });
  const what = el("span", { class: "what" });
  const times = el("strong", { class: "times" });
  const said = el("p", { class: "said" });
  const element = el("div", { class: "caption" },
    alert.test ? el("span", { class: "test", text: "Test" }) : null,
    el("p", { class: "line" }, who, what), times, said);
  const names = () =>
    alert.others.length ? `${nameOf(alert.from)} and ${alert.others.length} more` : nameOf(alert.from);
  const message = () => (withMessage && alert.message) || "";
  const changed = () => who.textContent !== names() || said.textContent !== message();
  const draw = () => {
    who.textContent = names();
    what.textContent = ` sent ${alert.gift.name}`;
    times.textContent = alert.count > 1 ? `×${alert.count}` : "";
    said.textContent = message();
    bump(times);
  };
  draw();
  return { element, draw, changed };
}

/**
 * Restarts the counter's little jump.
 * @param {HTMLElement} element
 */
export function bump(element) {
  element.classList.remove("bump");
  void element.offsetWidth; // without this reflow, the animation would not start again
  element.classList.add("bump");
}

/**
 * @param {number} count
 * @param {string} kind
 */
function sparks(count, kind) {
  const group = el("div", { class: "sparks" });
  for (let i = 0; i < count; i++) {
    const spark = el("i", { class: `spark shade-${i % 5}` });
    const angle = (i / count) * 2 * Math.PI + Math.random() * 0.3;
    const reach = kind === "fullscreen" ? 30 + Math.random() * 50 : 22 + Math.random() * 16;
    spark.style.setProperty("--x", `${(Math.cos(angle) * reach).toFixed(1)}cqmin`);
    spark.style.setProperty("--y", `${(Math.sin(angle) * reach).toFixed(1)}cqmin`);
    spark.style.setProperty("--wait", `${(Math.random() * (kind === "burst" ? 0.2 : 1.6)).toFixed(2)}s`);
    spark.style.setProperty("--size", `${(1.3 + Math.random() * 1.7).toFixed(2)}cqmin`);
    group.append(spark);
  }
  return group;
}

/**
 * @param {number} count
 * @param {ShownGift} gift
 */
function companions(count, gift) {
  const group = el("div", { class: "companions" });
  for (let i = 0; i < count; i++) {
    const small = picture(gift, "companion");
    small.style.setProperty("--x", `${((i - (count - 1) / 2) * 7).toFixed(1)}cqmin`);
    small.style.setProperty("--wait", `${(i * 0.23 % 0.9).toFixed(2)}s`);
    group.append(small);
  }
  return group;
}
