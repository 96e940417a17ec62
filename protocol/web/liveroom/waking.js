/** When a page may have slept, or its network is back: browsers say so, others do not. */

const EVENTS = /** @type {const} */ (["online", "pageshow", "visibilitychange"]);

/** @param {() => void} heard */
export function onWaking(heard) {
  for (const name of EVENTS) target(name)?.addEventListener?.(name, heard);
  return () => { for (const name of EVENTS) target(name)?.removeEventListener?.(name, heard); };
}

/** @param {typeof EVENTS[number]} name */
const target = (name) => (name === "visibilitychange" ? globalThis.document : globalThis);
