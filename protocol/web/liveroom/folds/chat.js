/** The newest lines of the chat, as the room's events change them. */
/** @import { ChatLine, Room } from "../../liveroom.js" */
/** @import { Folds } from "../room.js" */

const LINES_KEPT = 200;

/**
 * A message, or a mark where some are missing.
 * @param {Room} room
 * @param {ChatLine} line
 */
export function addLine({ chat }, line) {
  chat.push(line);
  if (chat.length > LINES_KEPT) chat.splice(0, chat.length - LINES_KEPT);
}

/** @type {Folds["lines"]} */
export const lines = {
  "chat.sent": addLine,
  "chat.deleted": (room, { ids, user_ids }) => {
    room.chat = room.chat.filter((line) => line.type !== "chat.sent"
      || !(ids.includes(line.id) || user_ids.includes(line.user.user_id)));
  },
};
