/** Messages of a server, with the protocol's types: a test gives only the fields that matter to it. */
import { START_MS } from "./clock.js";

/** @import { BoardChanged, ChatDeleted, ChatSent, Gift, GiftComboEnded } from "../../../protocol/web/wire.js" */
/** @import { GiftRefunded, GiftSent, LikesCounted, RoomUpdated } from "../../../protocol/web/wire.js" */
/** @import { ShownGift, ShownSettings, Snapshot, User } from "../../../protocol/web/wire.js" */
/** @import { ViewersCounted, Welcome, You } from "../../../protocol/web/wire.js" */

let made = 0;
/** @returns {{id: string, seq: number, at_ms: number}} */
const head = () => {
  made++;
  return { id: `event-${made}`, seq: made, at_ms: START_MS };
};

/** @param {string} name */
const capital = (name) => name.replace(/^./, (first) => first.toUpperCase());

/**
 * @param {string} userId
 * @param {Partial<User>} [fields]
 * @returns {User}
 */
export const person = (userId, fields) =>
  ({ user_id: userId, name: capital(userId), role: "viewer", badges: [], ...fields });

/**
 * @param {string} id
 * @param {number} tier
 * @param {Partial<ShownGift>} [fields]
 * @returns {ShownGift}
 */
export const shown = (id = "rose", tier = 1, fields) => {
  const animation = { kind: "burst", url: `/web/gifts/${id}.svg`, duration_ms: 2000 };
  return { id, name: capital(id), coins: 1, tier, animation, ...fields };
};

/**
 * @param {string} id
 * @param {number} coins
 * @param {boolean} streakable
 * @param {number} tier
 * @returns {Gift}
 */
export const onOffer = (id, coins, streakable = true, tier = 1) =>
  ({ ...shown(id, tier), coins, diamonds: coins, streakable, pin_s: 0, regions: [], min_level: 0, adult: false });

/**
 * @param {Partial<GiftSent>} [fields]
 * @returns {GiftSent}
 */
export const gift = (fields) => ({
  type: "gifts.sent", ...head(), from: person("alice"), to: person("creator", { role: "host" }), gift: shown(),
  count: 1, coins: 1, diamonds: 1, message: null, test: false, combo: null, ...fields,
});

/**
 * @param {Partial<GiftComboEnded>} [fields]
 * @returns {GiftComboEnded}
 */
export const comboEnded = (fields) => ({
  type: "gifts.combo_ended", ...head(), combo: { id: "tap", count: 1 }, from: person("alice"), to: person("creator"),
  gift: { id: "rose" }, coins: 1, ...fields,
});

/**
 * @param {Partial<GiftRefunded>} [fields]
 * @returns {GiftRefunded}
 */
export const refunded = (fields) => ({
  type: "gifts.refunded", ...head(), gift_id: "a", coins: 1, diamonds: 1, reason: "refund", ...fields,
});

/**
 * @param {Partial<ChatSent>} [fields]
 * @returns {ChatSent}
 */
export const chat = (fields) => ({ type: "chat.sent", ...head(), user: person("bob"), text: "hello", ...fields });

/**
 * @param {Partial<ChatDeleted>} [fields]
 * @returns {ChatDeleted}
 */
export const deleted = (fields) =>
  ({ type: "chat.deleted", ...head(), ids: [], user_ids: [], by: { user_id: "creator", name: "Creator" }, ...fields });

/**
 * @param {Partial<LikesCounted>} [fields]
 * @returns {LikesCounted}
 */
export const likes = (fields) => ({ type: "likes.counted", ...head(), added: 1, total: 1, top: [], ...fields });

/**
 * @param {Partial<ViewersCounted>} [fields]
 * @returns {ViewersCounted}
 */
export const viewers = (fields) =>
  ({ type: "viewers.counted", ...head(), now: 1, peak: 1, unique: 1, joined: [], ...fields });

/**
 * @param {Partial<BoardChanged>} [fields]
 * @returns {BoardChanged}
 */
export const board = (fields) => ({ type: "board.changed", ...head(), top: [], ...fields });

/**
 * @param {Partial<RoomUpdated>} [fields]
 * @returns {RoomUpdated}
 */
export const updated = (fields) => ({ type: "room.updated", ...head(), ...fields });

/**
 * @param {Partial<ShownSettings>} [fields]
 * @returns {ShownSettings}
 */
export const settings = (fields) => ({
  chat: true, gifts: true, slow_mode_s: 0, unique_chat_s: 0, chat_for: "everyone", followers_min_age_s: 0,
  links: true, emotes_only: false, gift_min_coins_message: 0, likes: true, joins: true,
  spotlight_level: 9, shield: false,
  ...fields,
});

/**
 * @param {Partial<Snapshot>} [fields]
 * @returns {Snapshot}
 */
export const snapshot = (fields) => ({
  room_id: "demo", broadcast_id: "first", title: "Welcome", status: "live", started_at_ms: START_MS,
  host: { user_id: "creator", name: "Creator" },
  settings: settings(),
  category: "", hashtags: [], language: "", starts_at_ms: null,
  viewers: { now: 2, peak: 3, unique: 5 }, likes: 0, coins: 0, top: [], goals: [], pins: [], open_combos: [], ...fields,
});

/**
 * @param {Partial<You>} [fields]
 * @returns {You}
 */
export const you = (fields) =>
  ({ user_id: "alice", name: "Alice", role: "viewer", coins: 1000, muted_until_ms: null, member_id: "m",
    muted: false, ...fields });

/**
 * @param {Partial<Welcome>} [fields]
 * @returns {Welcome}
 */
export const welcome = (fields) => ({
  type: "welcome", protocol: 1, epoch: "e1", seq: 0, resumed: false, gap: null, you: you(), room: snapshot(),
  heartbeat_s: 25, server_time_ms: START_MS, replays: 0, ...fields,
});
