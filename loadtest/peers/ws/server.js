/** A room on ws, as its documentation broadcasts: each event at once, or all of a tick in one frame. */
"use strict";

const { randomUUID } = require("node:crypto");
const { WebSocket, WebSocketServer } = require("ws");

const [port, botPath, tickMs] = process.argv.slice(2);
const server = new WebSocketServer({ port: Number(port), host: "127.0.0.1", backlog: 4096, perMessageDeflate: false });
const viewers = new Set();
const user = { user_id: "bot", name: "Bot", role: "bot", badges: [] };
let seq = 0;
let waiting = [];

function flush() {
  if (waiting.length === 0) {
    return;
  }
  const frame = JSON.stringify(waiting);
  waiting = [];
  for (const viewer of viewers) {
    if (viewer.readyState === WebSocket.OPEN) {
      viewer.send(frame);
    }
  }
}

function say(command) {
  const { text } = JSON.parse(command);
  seq += 1;
  waiting.push({ type: "chat.sent", seq, at_ms: Date.now(), id: randomUUID(), user, text });
  if (tickMs === "0") {
    flush();
  }
}

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === botPath) {
    socket.on("message", (command) => {
      say(command);
      socket.send('[{"type":"ok","ref":"1"}]');
    });
    return;
  }
  viewers.add(socket);
  socket.on("close", () => viewers.delete(socket));
});

if (tickMs !== "0") {
  setInterval(flush, Number(tickMs));
}
