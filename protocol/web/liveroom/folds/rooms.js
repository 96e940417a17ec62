/** The room's own state, as its events change it. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["totals"]} */
export const totals = {
  "room.updated": (room, { type, id, seq, at_ms, replayed, settings, ...changed }) => {
    Object.assign(room, changed, settings && { settings: { ...room.settings, ...settings } });
  },
  "room.paused": (room, { status }) => { room.status = status; },
  "room.resumed": (room, { status }) => { room.status = status; },
  "room.ended": (room, { status }) => { room.status = status; },
  "room.suspended": (room, { status }) => { room.status = status; },
  "room.deleted": (room, { status }) => { room.status = status; },
};
