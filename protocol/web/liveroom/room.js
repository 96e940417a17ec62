/** Folds events into a room. Each feature says what its events change: see folds/. */
import { FOLDS } from "./folds.js";

/** @import { Room } from "../liveroom.js" */
/** @import { RoomEvent } from "../wire.js" */

/** @typedef {{[T in RoomEvent["type"]]?: (room: Room, event: Extract<RoomEvent, {type: T}>) => void}} Handlers */
/**
 * @typedef {object} Folds what a module of folds/ exports
 * @property {(room: Room) => Partial<Room>} [begins] the fields to reset when the next broadcast begins
 * @property {Handlers} [totals] changes to what a snapshot holds. Only events after it are folded; otherwise a
 *   replayed gift would count twice
 * @property {Handlers} [lines] changes to what no snapshot holds. Replayed events are folded, too
 */

/**
 * @param {Room} room
 * @param {RoomEvent} event
 * @param {boolean} counted whether the snapshot has counted it
 */
export function fold(room, event, counted) {
  if (!counted && event.type === "room.updated" && (event.broadcast_id ?? room.broadcast_id) !== room.broadcast_id) {
    Object.assign(room, ...FOLDS.map(({ begins }) => begins?.(room)));
  }
  for (const { totals, lines } of FOLDS) {
    if (!counted) handlerOf(totals, event)?.(room, event);
    handlerOf(lines, event)?.(room, event);
  }
}

/**
 * @param {Handlers | undefined} handlers
 * @param {RoomEvent} event
 */
function handlerOf(handlers, { type }) {
  return /** @type {((room: Room, event: RoomEvent) => void) | undefined} */ (handlers?.[type]);
}
