/** Gives roses from Node: `node give.mjs https://live.example demo TOKEN 5`. */
import { join } from "liveroom.js";

const [base, room, token, count] = process.argv.slice(2);
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket; // Node 22 has one of its own

const client = await join({ base, room, token, WebSocket }).ready();
try {
  const { id, coins } = await client.sendGift({ gift: "rose", count: Number(count), message: "Hello!" });
  console.log(`gave ${id}, ${coins} coins left`);
} catch (refused) {
  console.error(`not given: ${refused.reason}`); // such as insufficient_coins; refused.id is the gift's
  process.exitCode = 1;
}
client.close();
