/** What staff's decisions change of who you are. */
/** @import { RoomEvent, You } from "../wire.js" */

/**
 * @param {You} you is changed
 * @param {RoomEvent} event
 * @returns {boolean} whether it was about you
 */
export function decided(you, event) {
  if (!("user_id" in event) || event.user_id !== you.user_id) return false;
  switch (event.type) {
    case "members.muted": Object.assign(you, { muted: true, muted_until_ms: event.until_ms }); return true;
    case "members.unmuted": Object.assign(you, { muted: false, muted_until_ms: null }); return true;
    case "members.promoted": if (you.role === "viewer") you.role = "moderator"; return true;
    case "members.demoted": if (you.role === "moderator") you.role = "viewer"; return true;
    default: return false;
  }
}
