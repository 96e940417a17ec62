/** A client in a worker: it posts the room's coins to its page, and stays connected while the page is busy. */
import { join } from "./node_modules/liveroom.js/liveroom.js";

/** @type {import("liveroom.js").RoomClient | undefined} */
let client;
globalThis.addEventListener("message", ({ data: { base, room, token } }) => {
  client?.close();
  client = join({ base, room, token, onRoom: ({ coins }) => globalThis.postMessage({ coins }) });
});
