/** Calls what the application gave us to call. */

/**
 * A listener that fails must not cost the rest of a frame.
 * @template T
 * @param {((value: T) => unknown) | undefined} listener
 * @param {T} value
 * @returns {unknown} what the listener gave
 */
export function tell(listener, value) {
  try {
    return listener?.(value);
  } catch (error) {
    console.error(error);
  }
}
