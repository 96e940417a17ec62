/** Says on the overlay why it gets no alerts: once, and not for the whole show, because the audience sees it, too. */
import { el } from "../shared/dom.js";

const SHOWN_MS = 30_000;
/** @type {Record<string, string>} by why we are not in the room */
const WORDS = {
  bad_token: "The token is not valid: add #token=… with a new overlay token of this room to the address.",
  token_missing: "A token is needed: add #token=… with an overlay token of this room to the address.",
  token_expired: "The token has expired: add #token=… with a new overlay token of this room to the address.",
  token_revoked: "This link was withdrawn: open the overlay by a new one.",
  wrong_room: "The token is for another room.",
  no_such_room: "There is no such room: check the address of this overlay.",
  no_address: "There is no room in this address: it has the form /overlay/room.",
  banned: "This overlay was removed from the room.",
  cannot_connect: "This overlay cannot connect from here: try https:// in its address.",
};

/** @param {string|null} reason */
export function showProblem(reason) {
  const text = WORDS[reason ?? ""];
  if (!text) return;
  for (const before of document.querySelectorAll(".overlay-problem")) before.remove();
  const shown = el("p", { class: "token-needed overlay-problem", testid: "overlay-problem", role: "alert", text });
  document.body.append(shown);
  setTimeout(() => shown.remove(), SHOWN_MS);
}
