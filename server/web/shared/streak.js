/** Which gifts are shown as one: those of a streak. */
/** @import { GiftSent } from "../wire.js" */

/**
 * The same for all gifts of a streak. Its id is its sender's own: another person's streak may have the same.
 * @param {Pick<GiftSent, "id" | "combo" | "from" | "gift">} event
 */
export const streakOf = ({ id, combo, from, gift }) => (combo ? `${from.user_id} ${gift.id} ${combo.id}` : id);

/**
 * How many gifts a streak has by this event, or how many the event is.
 * @param {Pick<GiftSent, "combo" | "count">} event
 */
export const countOf = ({ combo, count }) => combo?.count ?? count;
