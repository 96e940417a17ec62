/** The sum of the claps, as the room's events change it. */
/** @import { Folds } from "../room.js" */

const WELCOME = 3;
const PER_GIFT = 5;

/** @type {Folds["begins"]} */
export const begins = () => ({ applause: WELCOME });

/** @type {Folds["totals"]} */
export const totals = {
  "applause.counted": (room, { total }) => { room.applause = total; },
  "gifts.sent": (room) => { room.applause += PER_GIFT; },
};
