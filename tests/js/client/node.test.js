/** The client outside of a page: under Node, with the package ws, over real sockets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { WebSocket } from "ws";

import { join } from "../../../protocol/web/liveroom.js";

/** @import { Server } from "node:http" */
/** @import { Options, State } from "../../../protocol/web/liveroom.js" */

/** @param {Server} server */
async function listening(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return `http://127.0.0.1:${port}`;
}

/**
 * Joins, and waits until the client is neither connecting nor live.
 * @param {Options} options
 * @returns {Promise<State>}
 */
const givenUp = (options) => new Promise((resolve) => {
  const client = join({ room: "demo", token: "t", WebSocket, ...options, onState: (state) => {
    if (state.name !== "reconnecting" && state.name !== "closed") return;
    queueMicrotask(() => client.close());
    resolve(state);
  } });
});

/**
 * A server that refuses every upgrade in this way.
 * @param {number} status
 */
async function refusing(status) {
  const server = createServer();
  /** @type {string[]} */
  const asked = [];
  server.on("upgrade", ({ url = "" }, socket) => {
    asked.push(url);
    socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
  });
  return { server, asked, base: await listening(server) };
}

test("a refused connection is an ordinary reason to come back, and does not end the process", async () => {
  const server = createServer();
  const base = await listening(server);
  server.close();
  await once(server, "close");
  const { name, reason, opened } = await givenUp({ base });
  assert.deepEqual([name, reason, opened], ["reconnecting", "not_let_in", false]);
});

for (const [status, reason] of /** @type {const} */ ([
  [401, "bad_token"], [403, "wrong_room"], [404, "no_such_room"],
])) {
  test(`a refusal with ${status} before the upgrade is final`, async () => {
    const { server, asked, base } = await refusing(status);
    const state = await givenUp({ base });
    assert.deepEqual([state.name, state.reason, asked.length], ["closed", reason, 1]);
    server.close();
  });
}

test("a new token is asked for once after a 401, if there is one; a 503 is no end", async () => {
  const { server, asked, base } = await refusing(401);
  let given = 0;
  const getToken = async () => `t${++given}`;
  const state = await new Promise((resolve) => {
    join({ room: "demo", base, getToken, WebSocket, onState: (now) => { if (now.name === "closed") resolve(now); } });
  });
  assert.deepEqual([state.reason, asked.length, given], ["bad_token", 2, 2]);
  server.close();
  const away = await refusing(503);
  assert.equal((await givenUp({ base: away.base })).name, "reconnecting");
  away.server.close();
});

test("a path of the base is kept, its query is not", async () => {
  const { server, asked, base } = await refusing(404);
  await givenUp({ base: `${base}/live/eu?x=1`, room: "a/b" });
  await givenUp({ base: `${base}/live/eu/` });
  assert.deepEqual(asked, ["a%2Fb", "demo"].map((room) => `/live/eu/v1/rooms/${room}/ws?refusals=close`));
  server.close();
});

test("an address that cannot be one is an error of the call that gave it", () => {
  for (const [options, words] of /** @type {[Options, RegExp][]} */ ([
    [{ base: "nonsense" }, /not an address: nonsense/], [{ base: "ftp://x.example" }, /not an address: ftp/],
    [{ url: "/v1/rooms/demo/ws" }, /not an address: \/v1/], [{}, /outside of a page.*base/],
    [{ room: "", base: "http://127.0.0.1:1" }, /room/],
  ])) assert.throws(() => join({ room: "demo", WebSocket, ...options }), { name: "TypeError", message: words });
  const none = /** @type {any} */ (null);
  assert.throws(() => join({ room: "demo", base: "http://127.0.0.1:1", WebSocket: none }),
    { name: "TypeError", message: /WebSocket/ });
});
