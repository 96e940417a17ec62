/** How many watch, as the room's events change it. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["begins"]} people who are here stay */
export const begins = ({ viewers: { now } }) => ({ viewers: { now, peak: now, unique: now } });

/** @type {Folds["totals"]} */
export const totals = {
  "viewers.counted": (room, { now, peak, unique }) => { room.viewers = { now, peak, unique }; },
};
