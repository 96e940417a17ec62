/** The widgets beside the alerts, by their kind. Each draws only what has changed: a quiet overlay paints nothing. */
import { BoardWidget } from "./widgets/board.js";
import { ChatWidget } from "./widgets/chat.js";
import { ComboWidget } from "./widgets/combo.js";
import { GoalWidget } from "./widgets/goal.js";
import { PollWidget } from "./widgets/poll.js";
import { TickerWidget } from "./widgets/ticker.js";
import { ViewersWidget } from "./widgets/viewers.js";

/** @import { Room } from "../liveroom.js" */
/** @import { OverlaySettings, RoomEvent } from "../wire.js" */

/**
 * @typedef {object} WidgetView
 * @property {HTMLElement} element
 * @property {(room: Room, settings: OverlaySettings) => void} [draw] the room has changed
 * @property {(event: RoomEvent, settings: OverlaySettings) => void} [event]
 * @property {() => void} [end]
 */

/** @type {Record<string, new () => WidgetView>} */
export const WIDGETS = {
  goal: GoalWidget, board: BoardWidget, chat: ChatWidget, combo: ComboWidget, viewers: ViewersWidget,
  ticker: TickerWidget, poll: PollWidget,
};
