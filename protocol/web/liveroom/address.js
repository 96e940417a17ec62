/** Where a client connects: worked out from its options before anything is sent, so that a mistake fails at once. */

const NOT_IN_A_PAGE = "outside of a page, give `base` (https://live.example) or `url`";
const NO_CLASS = "there is no WebSocket here: give the class as `WebSocket`, for example that of the package ws";
const MAY_BE_PROTOCOL = /^[\w.-]+$/; // as every JWT
/** @type {Record<string, string>} */
const SCHEMES = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" };

/**
 * The socket address without token and position. A path in `base` is kept.
 * @param {{url?: string, base?: string, room?: string, WebSocket?: unknown}} options
 * @returns {string} throws a TypeError that says what is wrong
 */
export function socketAddress({ url, base = globalThis.location?.origin, room, WebSocket = globalThis.WebSocket }) {
  if (!WebSocket) throw new TypeError(NO_CLASS);
  if (url) return parsed(url).href;
  if (!base) throw new TypeError(NOT_IN_A_PAGE);
  if (!room) throw new TypeError("give a `room` to join");
  const address = parsed(base);
  address.search = "";
  address.pathname = `${address.pathname.replace(/\/+$/, "")}/v1/rooms/${encodeURIComponent(room)}/ws`;
  return address.href;
}

/**
 * The socket address of one attempt, and its subprotocols. A token as a subprotocol stands in no address, and so in no
 * log.
 * @param {string} socket
 * @param {string|null|undefined} token
 * @param {string|null} since
 * @param {number} [chats] how many of the newest to get on joining, and after a gap
 * @returns {[address: string, protocols: string[]]}
 */
export function whereTo(socket, token, since, chats) {
  const address = new URL(socket);
  const protocols = ["liveroom.v1.json"];
  if (token && MAY_BE_PROTOCOL.test(token)) protocols.push(`liveroom.token.${token}`);
  else if (token) address.searchParams.set("token", token);
  if (since) address.searchParams.set("since", since);
  if (chats) address.searchParams.set("chats", String(chats));
  address.searchParams.set("refusals", "close"); // a page cannot read the status of a refused upgrade
  return [address.href, protocols];
}

/**
 * The room over HTTP.
 * @param {string} socket
 */
export function roomAddress(socket) {
  const address = new URL(socket);
  address.protocol = address.protocol.replace("ws", "http");
  return address.origin + address.pathname.replace(/\/ws$/, "");
}

/** @param {string} text */
function parsed(text) {
  try {
    const address = new URL(text);
    const scheme = SCHEMES[address.protocol];
    if (scheme && address.host) return Object.assign(address, { protocol: scheme, hash: "" });
  } catch { /* the same words for both */ }
  throw new TypeError(`not an address: ${text} (it begins with https://, or wss://)`);
}

/**
 * The close code for an upgrade that was refused over HTTP. A browser hides the status; the package ws shows it.
 * @param {{message?: string}} error
 * @returns {number|null}
 */
export function codeOfRefusal({ message = "" }) {
  const [, status = ""] = /server response: (\d{3})/.exec(message) ?? [];
  return { 401: 4511, 403: 4512, 404: 4513 }[status] ?? null;
}
