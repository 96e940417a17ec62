/** Pins, as the room's events change them. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["begins"]} */
export const begins = () => ({ pins: [] });

/** @type {Folds["totals"]} */
export const totals = {
  "chat.pinned": (room, { pin }) => { room.pins = [...room.pins.filter(({ id }) => id !== pin.id), pin]; },
  "chat.unpinned": (room, event) => { room.pins = room.pins.filter(({ id }) => id !== event.pin); },
};
