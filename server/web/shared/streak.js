/** The gifts of a streak are shown as one. */
/** @import { GiftSent } from "../wire.js" */

/**
 * A key that all gifts of a streak share. A streak's id alone is not enough: another sender may use the same one.
 * @param {Pick<GiftSent, "id" | "combo" | "from" | "gift">} event
 */
export const streakOf = ({ id, combo, from, gift }) => (combo ? `${from.user_id} ${gift.id} ${combo.id}` : id);

/**
 * The number of gifts in a streak after this event; without a streak, the event's own number.
 * @param {Pick<GiftSent, "combo" | "count">} event
 */
export const countOf = ({ combo, count }) => combo?.count ?? count;
