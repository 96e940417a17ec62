/** The board of gifters, as the room's events change it. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["begins"]} */
export const begins = () => ({ top: [] });

/** @type {Folds["totals"]} */
export const totals = {
  "board.changed": (room, { top }) => { room.top = top; },
};
