/** Socket.IO with its Redis adapter, tuned as its documentation says: it sends the room what a bot sends. */
"use strict";

const { randomUUID } = require("node:crypto");
const { createServer } = require("node:http");
const { createShardedAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const [port, store] = process.argv.slice(2);

async function main() {
  const publishes = createClient({ socket: { path: store } });
  const subscribes = publishes.duplicate();
  await Promise.all([publishes.connect(), subscribes.connect()]);
  const http = createServer();
  const io = new Server(http, {
    adapter: createShardedAdapter(publishes, subscribes),
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
  });
  // "Memory usage" in its documentation: the first request of each session need not be kept.
  io.engine.on("connection", (socket) => {
    socket.request = null;
  });
  let seq = 0;
  io.on("connection", (socket) => {
    if (!socket.handshake.auth.bot) {
      socket.join("room");
    }
    socket.on("chat", (text) => {
      seq += 1;
      const user = { user_id: "bot", name: "Bot", role: "bot", badges: [] };
      io.to("room").emit("event", { type: "chat.sent", seq, at_ms: Date.now(), id: randomUUID(), user, text });
    });
  });
  http.listen(Number(port), "127.0.0.1", 4096);
}

main();
