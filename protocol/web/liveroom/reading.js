/** Reads what others wrote, and may have written badly. */
/** @import { Message, RoomEvent } from "../wire.js" */

/**
 * @param {string} data
 * @returns {(Message | RoomEvent)[] | null} null unless it is a frame of the protocol
 */
export function frameOf(data) {
  try {
    const frame = JSON.parse(data);
    return Array.isArray(frame) && frame.every((message) => message?.type) ? frame : null;
  } catch {
    return null;
  }
}

/**
 * When a token expires, by its own claim; NaN if we cannot read it.
 * @param {string} token
 * @returns {number}
 */
export function expiresMs(token) {
  try {
    return JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"))).exp * 1000;
  } catch {
    return NaN;
  }
}
