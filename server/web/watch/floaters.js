/** Lets small things rise and fade: hearts from the like button, cheap gifts over the room. */
import { reducedMotion } from "../shared/dom.js";

const AT_ONCE = 36; // more would only slow the page down

/** @typedef {{ms: number, rise: number, sway: number, x?: number, wait?: number}} Path in pixels */

/**
 * @param {HTMLElement} layer
 * @param {HTMLElement|SVGElement} thing positioned by its class; removed when it has faded
 * @param {Path} path
 */
export function floatUp(layer, thing, path) {
  if (layer.childElementCount >= AT_ONCE || document.hidden) return;
  layer.append(thing);
  const frames = reducedMotion() ? standing(path) : rising(path);
  const { ms: duration, wait: delay = 0 } = path;
  const animation = thing.animate(frames, { duration, delay, easing: "ease-out", fill: "both" });
  animation.onfinish = animation.oncancel = () => thing.remove();
}

/** @param {Path} path */
function standing({ rise, x = 0 }) {
  const transform = `translate(${x}px, ${-rise / 3}px)`;
  return [{ opacity: 0, transform }, { opacity: 1, transform, offset: 0.2 }, { opacity: 0, transform }];
}

/** @param {Path} path */
function rising({ rise, sway, x = 0 }) {
  const side = Math.random() < 0.5 ? -1 : 1;
  /**
   * @param {number} dx
   * @param {number} dy
   * @param {number} scale
   * @param {number} turn
   */
  const at = (dx, dy, scale, turn) =>
    `translate(${x + side * dx}px, ${-dy}px) scale(${scale}) rotate(${side * turn}deg)`;
  return [
    { opacity: 0, transform: at(0, 0, 0.3, 0) },
    { opacity: 1, transform: at(sway * 0.5, rise * 0.2, 1.1, 8), offset: 0.15 },
    { opacity: 1, transform: at(-sway * 0.6, rise * 0.6, 1, -8), offset: 0.6 },
    { opacity: 0, transform: at(sway, rise, 0.8, 12) },
  ];
}
