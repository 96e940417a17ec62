/** The server's end of a client's socket, without a network. */
/** @import { Message, RoomEvent } from "../../../protocol/web/wire.js" */

export class FakeSocket {
  /** @type {FakeSocket[]} every one that was opened, newest last */
  static opened = [];
  /** The newest one. */
  static get last() {
    const last = FakeSocket.opened.at(-1);
    if (!last) throw new Error("no socket was opened");
    return last;
  }

  /** @type {any[]} the commands that came */
  sent = [];
  /** @type {number|undefined} */
  closedWith;
  /** @type {(event: {data: string}) => void} */
  onmessage = () => {};
  /** @type {(event: {code: number, reason?: string}) => void} */
  onclose = () => {};

  /**
   * @param {string} address
   * @param {string[]} protocols
   */
  constructor(address, protocols) {
    this.address = new URL(address);
    this.protocols = protocols;
    FakeSocket.opened.push(this);
  }
  /** The token that the client showed, in whichever way. */
  get token() {
    const offered = this.protocols.find((name) => name.startsWith("liveroom.token."));
    return offered?.slice("liveroom.token.".length) ?? this.address.searchParams.get("token");
  }
  /** @param {string} text */
  send(text) { this.sent.push(JSON.parse(text)); }
  /** @param {number} code */
  close(code) { this.closedWith = code; }

  /** @param {(Message | RoomEvent | Record<string, unknown>)[]} messages one frame */
  tell(...messages) { this.onmessage({ data: JSON.stringify(messages) }); }
  /**
   * @param {number} code
   * @param {string} [reason]
   */
  end(code, reason = "") { this.onclose({ code, reason }); }
  /**
   * Answers the newest command.
   * @param {Record<string, unknown>} fields
   */
  answer(fields) { this.tell({ type: "ok", ref: this.sent.at(-1).ref, ...fields }); }
}

/** @type {any} to be given to a client: of a real socket it has what the client uses */
export const AsWebSocket = FakeSocket;
