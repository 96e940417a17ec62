/** Coins and streaks, as the room's events change them. */
/** @import { GiftComboEnded, GiftSent, OpenCombo } from "../../wire.js" */
/** @import { Folds } from "../room.js" */

/**
 * The id of a streak is its sender's own: another person's streak, or one of another gift, may have the same.
 * @param {OpenCombo} open
 * @param {GiftSent | GiftComboEnded} event
 */
const isSame = (open, { combo, from, gift }) =>
  open.id === combo?.id && open.from.user_id === from.user_id && open.gift.id === gift.id;

/** @type {Folds["begins"]} */
export const begins = () => ({ coins: 0, open_combos: [] });

/** @type {Folds["totals"]} */
export const totals = {
  "gifts.sent": (room, event) => {
    const { from, to, gift, coins, combo, test } = event;
    if (test) return;
    room.coins += coins;
    if (!combo) return;
    const old = room.open_combos.find((open) => isSame(open, event));
    const count = Math.max(combo.count, old?.count ?? 0);
    const streak = { id: combo.id, count, from, to, gift: { id: gift.id }, coins: coins + (old?.coins ?? 0) };
    room.open_combos = [...room.open_combos.filter((open) => open !== old), streak];
  },
  "gifts.refunded": (room, { coins }) => { room.coins = Math.max(0, room.coins - coins); },
  "gifts.combo_ended": (room, event) => {
    room.open_combos = room.open_combos.filter((open) => !isSame(open, event));
  },
};
