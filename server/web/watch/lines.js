/** The lines of the chat: messages, gifts, and marks where some are missing. */
import { avatar, el, hue, nameOf, picture } from "../shared/dom.js";
import { countOf } from "../shared/streak.js";

/** @import { ChatSent, Fragment, GiftSent, ReplyTo } from "../wire.js" */

/** @type {Record<string, string>} */
const ROLES = { host: "Host", moderator: "Mod", bot: "Bot" };

/**
 * A mention, an emote (its code where the picture cannot be loaded), or text.
 * @param {Fragment} fragment
 */
function part({ type, text, emote }) {
  if (type === "mention") return el("b", { class: "mention", text });
  if (type === "emote" && emote) return el("img", { class: "emote", src: emote.url, alt: text, title: text });
  return text;
}

const BADGES = new Map([["host", ""], ["mod", ""], ["top", "#"], ["level", "Lv "], ["club", "Club "]]);

/**
 * A badge as people read it; nothing for those that the role says already.
 * @param {string} badge
 */
function inWords(badge) {
  const [kind = "", number = ""] = badge.split(":");
  const word = BADGES.get(kind);
  return word === undefined ? badge : number && word + number;
}

/** @param {ReplyTo} quoted */
const quote = ({ id, user, text }) =>
  el("span", { class: "reply", data: { id, user: user.user_id }, text: `${user.name}: ${text}` });

/** @param {ChatSent} event */
export function said({ id, user, text, hidden, reply_to: to, fragments }) {
  const role = ROLES[user.role ?? ""];
  return el("li", { class: "line", testid: "chat-line", data: { id, user: user.user_id } },
    avatar(user), el("p", {},
      to ? quote(to) : null,
      el("b", { class: `name ${hue(user.user_id)}`, text: user.name }),
      hidden ? el("span", { class: "role", text: "Hidden" }) : null,
      role ? el("span", { class: `role is-${user.role}`, text: role }) : null,
      ...user.badges.map(inWords).filter(Boolean).map((words) => el("span", { class: "role badge", text: words })),
      el("span", { class: "text" }, ...(fragments ?? []).map(part), fragments ? null : text)),
    el("button", { class: "line-menu", type: "button", testid: "line-menu", text: "⋯", "aria-haspopup": "menu",
      "aria-expanded": "false", "aria-label": `Moderate ${user.name}` }));
}

/** @typedef {{line: HTMLElement, update: (event: GiftSent) => void}} GiftLine `update` with the streak's next gift */

/**
 * @param {GiftSent} event
 * @returns {GiftLine}
 */
export function gave(event) {
  const times = el("strong", { class: "times" });
  const message = el("span", { class: "text" });
  const data = { id: event.id, user: event.from.user_id, combo: event.combo?.id ?? "", count: 0 };
  const line = el("li", { class: `line gift tier-${event.gift.tier}`, testid: "chat-gift", data },
    picture(event.gift, "gift-art"), el("p", {}, el("b", { class: "name", text: nameOf(event.from) }),
      ` sent ${event.gift.name}${event.test ? " (test)" : ""} `, times, message));
  /** @param {GiftSent} now */
  const update = (now) => {
    const total = Math.max(Number(line.dataset.count), countOf(now));
    line.dataset.count = String(total);
    times.textContent = total > 1 ? `×${total}` : "";
    if (now.message) message.textContent = now.message;
  };
  update(event);
  return { line, update };
}

/**
 * @param {string} testid
 * @param {string} text
 */
export const mark = (testid, text) => el("li", { class: `mark ${testid}`, testid }, el("span", { text }));

/** A mark for hidden lines, with a growing number. */
export function hiddenMark() {
  const words = el("span");
  let all = 0;
  /** @param {number} count */
  const add = (count) => {
    all += count;
    words.textContent = `${all} ${all === 1 ? "message" : "messages"} hidden: the room is very busy`;
  };
  return { line: el("li", { class: "mark chat-hidden", testid: "chat-hidden" }, words), add };
}
