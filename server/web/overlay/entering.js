/** How the overlay enters: with the key of its link, which gets it short tokens; else as every page does. */
import { openSession } from "../shared/session.js";

/** @import { Session } from "../shared/session.js" */

/** The link is no longer good. */
export class LinkEnded extends Error {}

/**
 * @param {string} room
 * @param {(why: LinkEnded) => void} onEnded called once, when the key gets no more tokens
 * @returns {Promise<Session>}
 */
export async function enter(room, onEnded) {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return openSession({ room, role: "overlay", person: "overlay" });
  return { getToken: () => tokenFor(room, key, onEnded) };
}

/**
 * @param {string} room
 * @param {string} key
 * @param {(why: LinkEnded) => void} onEnded
 * @returns {Promise<string>}
 */
async function tokenFor(room, key, onEnded) {
  const address = `/v1/rooms/${encodeURIComponent(room)}/overlays/token`;
  const answer = await fetch(address, { method: "POST", headers: { Authorization: `Bearer ${key}` } });
  if (answer.ok) return (await answer.json()).token;
  if (answer.status === 403 || answer.status === 404) onEnded(new LinkEnded());
  throw new Error(`no token: ${answer.status}`);
}
