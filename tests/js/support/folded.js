/** The room that the client has after a welcome and some events, told in frames of three. */
import { connecting } from "./joined.js";
import { FakeSocket } from "./socket.js";

/** @import { RoomEvent, Snapshot, Welcome } from "../../../protocol/web/wire.js" */
/** @typedef {{name: string, welcome: Welcome, events: RoomEvent[], room: Snapshot}} Vector */

/**
 * @param {Vector} vector
 * @returns {Promise<Snapshot>} as the server's snapshot has it: without lines of chat
 */
export async function folded({ welcome, events }) {
  const { client } = await connecting();
  FakeSocket.last.tell(welcome);
  for (let at = 0; at < events.length; at += 3) FakeSocket.last.tell(...events.slice(at, at + 3));
  client.close();
  if (!client.room) throw new Error("the client took no welcome");
  const { chat, ...room } = client.room;
  return room;
}
