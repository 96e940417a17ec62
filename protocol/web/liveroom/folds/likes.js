/** The sum of likes, as the room's events change it. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["begins"]} */
export const begins = () => ({ likes: 0 });

/** @type {Folds["totals"]} */
export const totals = {
  "likes.counted": (room, { total }) => { room.likes = total; },
};
