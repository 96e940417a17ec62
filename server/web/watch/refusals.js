/** Says in words why a command was refused. */
import { duration, number } from "../shared/dom.js";

/** @import { Refused } from "../liveroom.js" */
/** @typedef {Pick<Refused, "reason"> & Partial<Refused>} Why */

const TICK_MS = 250;
const READ_MS = 4000; // a shorter wait is shown for this long, so that people can read it
const UNKNOWN = ["timeout", "connection_lost", "wallet_unavailable"];

/** @type {Record<string, string>} */
const WORDS = {
  rate_limited: "That was a little fast",
  room_not_live: "The room is not live right now",
  unavailable: "The room cannot take this just now: try again",
  not_allowed: "You may not do this here",
  bad_command: "This could not be understood",
  muted: "You are muted in this room",
  unknown_event: "This message is gone",
  too_many_pins: "There are too many pins: take one off first",
  already_decided: "Somebody else has decided already",
  already_edited: "You have edited this message already",
  shielded: "The room is protected just now: your account is new",
  media_not_allowed: "Media may not come from this address",
  unknown_overlay: "This overlay link is gone",
  too_many_overlays: "There are too many overlay links: end one first",
  no_such_gift: "This broadcast has no such gift",
  unknown_goal: "This goal is gone",
  too_many_goals: "There are too many goals: remove one first",
  other_kind: "What a goal counts cannot change: make another goal",
  revoked: "Your access was withdrawn",
  warned: "Read the warning of the staff first",
  slow_mode: "Slow mode is on",
  blocked_words: "The host does not allow some of these words",
  followers_only: "Only followers can chat here",
  club_only: "Only the club can chat here",
  too_young: "You have not followed for long enough to chat",
  links_off: "Links are not allowed here",
  emotes_only: "Only emotes and emoji are allowed now",
  chat_off: "Chat is switched off",
  duplicate_text: "You have just said the same",
  unknown_gift: "This gift is not on offer any more",
  gifts_off: "Gifts are switched off in this room",
  likes_off: "Likes are switched off in this room",
  conflict: "This gift was already sent in another form",
  expired_id: "This gift waited too long: send it again",
  self_gift: "You cannot send gifts to yourself",
  receiver_not_eligible: "The host cannot receive gifts",
  region_not_allowed: "This gift is not on offer in your region",
  adults_only: "This gift is for adults only",
  wallet_frozen: "Your wallet is frozen",
  wallet_unavailable: "Gifts are unavailable for a moment",
  timeout: "No answer from the server",
  connection_lost: "The connection was lost: it may not have arrived",
  not_connected: "Not connected: it was not sent",
  queue_full: "Not connected, and too much is waiting: it was not sent",
  closed: "You are no longer in the room",
};

/**
 * Whether the command may have been carried out anyway. Then retry it only with the same id.
 * @param {Why} refused
 */
export const outcomeUnknown = ({ reason }) => UNKNOWN.includes(reason);

/**
 * One sentence. The caller counts down the time to wait.
 * @param {Why} refused
 */
export function words({ reason, message, need = 0, have = 0, resets_at_ms }) {
  if (reason === "insufficient_coins") return `Not enough coins: you need ${number(need - have)} more`;
  if (reason === "level_too_low") return `This gift needs level ${number(need)}`;
  if (reason === "message_needs_coins") return `A message needs a gift of ${number(need)} coins here`;
  if (reason === "spend_limit") {
    const resets = resets_at_ms ? `; it resets in ${duration(resets_at_ms - Date.now())}` : "";
    return `Your spend limit is reached${resets}`;
  }
  return WORDS[reason] ?? message ?? "That did not work";
}

/**
 * Shows a refusal in `element`, and counts down the time to wait.
 * @param {HTMLElement} element
 * @param {Why} refused
 * @param {() => void} onFree called when the command may be tried again
 * @returns {() => void} stops the countdown and empties `element`
 */
export function showRefusal(element, refused, onFree = () => {}) {
  const now = performance.now();
  const wait = refused.retry_after_ms ?? 0;
  const until = now + wait;
  const read = now + READ_MS;
  let free = false;
  const timer = setInterval(() => draw(), TICK_MS);
  const stop = () => {
    clearInterval(timer);
    element.textContent = "";
  };
  const draw = () => {
    const left = until - performance.now();
    element.textContent = left > 0 ? `${words(refused)}: again in ${duration(left)}` : `${words(refused)}.`;
    if (left > 0) return;
    if (!free) onFree();
    free = true;
    if (!wait) clearInterval(timer); // it stays until the next try
    else if (performance.now() >= read) stop();
  };
  draw();
  return stop;
}
