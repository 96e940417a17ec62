/** Folds events into a room. What an event changes is each feature's own: see folds/. */
import { FOLDS } from "./folds.js";

/** @import { Room } from "../liveroom.js" */
/** @import { RoomEvent } from "../wire.js" */

/** @typedef {{[T in RoomEvent["type"]]?: (room: Room, event: Extract<RoomEvent, {type: T}>) => void}} Handlers */
/**
 * @typedef {object} Folds what a module of folds/ exports
 * @property {(room: Room) => Partial<Room>} [begins] what is of one broadcast, as the next one begins
 * @property {Handlers} [totals] changes of what a snapshot holds: only events after it are folded, or a replayed gift
 *   would be counted twice
 * @property {Handlers} [lines] changes of what no snapshot holds: replayed events are folded as well
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
