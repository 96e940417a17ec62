/** Shows one gift large, by its animation's kind, until it is told to leave. Shared by the watch page and the overlay. */
import { el, picture, reducedMotion } from "./dom.js";

const LEAVE_MS = 450;
const SPARKS = { float: 0, burst: 22, ride: 12, fullscreen: 44 };
const COMPANIONS = { float: 5, burst: 0, ride: 0, fullscreen: 0 };
const KIND_OF_TIER = { 1: "float", 2: "burst", 3: "ride", 4: "fullscreen" };

/**
 * @param {HTMLElement} layer filled by the show
 * @param {import("./alertqueue.js").Alert} alert
 * @returns {{update: () => void, leave: () => Promise<void>}} `update` after the alert changed
 */
export function showGift(layer, alert, testid = "show") {
  const kind = alert.gift.animation.kind in SPARKS ? alert.gift.animation.kind : KIND_OF_TIER[alert.tier] ?? "burst";
  const calm = reducedMotion();
  const caption = makeCaption(alert);
  const data = { gift: alert.gift.id, kind, count: alert.count };
  const root = el("div", { class: `gift-show kind-${kind} tier-${Math.min(4, Math.max(1, alert.tier))}`, testid, data },
    el("div", { class: "veil" }, el("div", { class: "rays" })),
    el("div", { class: "motion" },
      el("div", { class: "halo" }), sparks(calm ? 0 : SPARKS[kind], kind), companions(calm ? 0 : COMPANIONS[kind], alert.gift),
      picture(alert.gift, "art")),
    caption.element);
  layer.append(root);
  const update = () => {
    if (root.dataset.count === String(alert.count) && !caption.changed(alert)) return;
    root.dataset.count = alert.count;
    caption.draw(alert);
  };
  const leave = async () => {
    root.classList.add("leaving");
    await new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
    root.remove();
  };
  return { update, leave };
}
showGift.LEAVE_MS = LEAVE_MS;

function makeCaption(alert) {
  const who = el("b", { class: "who" }), what = el("span", { class: "what" });
  const times = el("strong", { class: "times" }), said = el("p", { class: "said" });
  const element = el("div", { class: "caption" },
    alert.test ? el("span", { class: "test", text: "Test" }) : null, el("p", { class: "line" }, who, what), times, said);
  const names = ({ from, others }) => (others.length ? `${from.name} and ${others.length} more` : from.name);
  const changed = (now) => who.textContent !== names(now) || said.textContent !== (now.message ?? "");
  const draw = (now) => {
    who.textContent = names(now);
    what.textContent = ` sent ${now.gift.name}`;
    times.textContent = now.count > 1 ? `×${now.count}` : "";
    said.textContent = now.message ?? "";
    bump(times);
  };
  draw(alert);
  return { element, draw, changed };
}

/** Restarts the counter's little jump. */
export function bump(element) {
  element.classList.remove("bump");
  void element.offsetWidth; // without a reflow in between, the animation would not start again
  element.classList.add("bump");
}

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
