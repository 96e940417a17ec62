/** A client with the server's end of its socket, and what the client reports. */
import { join } from "../../../protocol/web/liveroom.js";
import { settled } from "./clock.js";
import { AsWebSocket, FakeSocket } from "./socket.js";
import { welcome } from "./wire.js";

/** @import { Options } from "../../../protocol/web/liveroom.js" */
/** @import { Welcome } from "../../../protocol/web/wire.js" */

/**
 * Joins the room `demo`, without an answer yet.
 * @param {Options} [options]
 */
export async function connecting(options) {
  FakeSocket.opened = [];
  /** @type {Record<"states"|"events"|"gaps"|"notices"|"coins", any[]> & {rooms: number}} */
  const told = { states: [], events: [], gaps: [], notices: [], coins: [], rooms: 0 };
  const client = join({
    room: "demo", base: "http://127.0.0.1:8000", token: "t", WebSocket: AsWebSocket,
    onState: (state) => told.states.push(state),
    onEvent: (event) => told.events.push(event),
    onGap: (gap) => told.gaps.push(gap),
    onNotice: (notice) => told.notices.push(notice),
    onYou: (you) => told.coins.push(you.coins),
    onRoom: () => { told.rooms++; },
    ...options,
  });
  await settled();
  return { client, told };
}

/**
 * Joins, and gets a welcome.
 * @param {Options} [options]
 * @param {Partial<Welcome>} [fields]
 */
export async function joined(options, fields) {
  const made = await connecting(options);
  FakeSocket.last.tell(welcome(fields));
  return made;
}
