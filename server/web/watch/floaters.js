/** Lets small things rise and fade: hearts from the like button, cheap gifts over the room. */
import { reducedMotion } from "../shared/dom.js";

const AT_ONCE = 36; // more would only cost frames

/**
 * @param {HTMLElement} layer
 * @param {HTMLElement|SVGElement} thing positioned by its class; removed when it has faded
 * @param {{ms: number, rise: number, sway: number, x?: number, wait?: number}} path in pixels
 */
export function floatUp(layer, thing, { ms, rise, sway, x = 0, wait = 0 }) {
  if (layer.childElementCount >= AT_ONCE || document.hidden) return;
  layer.append(thing);
  const side = Math.random() < 0.5 ? -1 : 1;
  const at = (dx, dy, scale, turn) => `translate(${x + side * dx}px, ${-dy}px) scale(${scale}) rotate(${side * turn}deg)`;
  const still = at(0, rise / 3, 1, 0);
  const frames = reducedMotion()
    ? [{ opacity: 0, transform: still }, { opacity: 1, transform: still, offset: 0.2 }, { opacity: 0, transform: still }]
    : [
      { opacity: 0, transform: at(0, 0, 0.3, 0) },
      { opacity: 1, transform: at(sway * 0.5, rise * 0.2, 1.1, 8), offset: 0.15 },
      { opacity: 1, transform: at(-sway * 0.6, rise * 0.6, 1, -8), offset: 0.6 },
      { opacity: 0, transform: at(sway, rise, 0.8, 12) },
    ];
  const animation = thing.animate(frames, { duration: ms, delay: wait, easing: "ease-out", fill: "both" });
  animation.onfinish = animation.oncancel = () => thing.remove();
}
