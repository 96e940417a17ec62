/**
 * The browser client of Liveroom: joins a room, stays in it, sends commands and folds events into the room's state.
 *
 *   const client = join({ room: "demo", getToken, onRoom: draw, onEvent: animate, onState: showConnection });
 *   await client.sendGift({ gift: "rose", count: 5 });
 */
import { codeOfRefusal, roomAddress, socketAddress, whereTo } from "./liveroom/address.js";
import { BACKOFF_MIN_MS, Backoff } from "./liveroom/backoff.js";
import { isFinal, reasonOf, retryAfterMs } from "./liveroom/closes.js";
import { addLine } from "./liveroom/folds/chat.js";
import { Handled } from "./liveroom/handled.js";
import { NextBroadcast } from "./liveroom/nextbroadcast.js";
import { frameOf } from "./liveroom/reading.js";
import { Ready } from "./liveroom/ready.js";
import { Refused } from "./liveroom/refused.js";
import { fold } from "./liveroom/room.js";
import { Balance, Position, SeenChats, SeenGifts } from "./liveroom/seen.js";
import { tell } from "./liveroom/tell.js";
import { Timers } from "./liveroom/timers.js";
import { Tokens } from "./liveroom/tokens.js";
import { Unanswered } from "./liveroom/unanswered.js";
import { uuid7 } from "./liveroom/uuid7.js";
import { onWaking } from "./liveroom/waking.js";
import { decided } from "./liveroom/you.js";

/** @import { ChatSent, Command, Gap, Message, Notice, Replies, RoomEvent, SendGift } from "./wire.js" */
/** @import { GiftSent, Snapshot, Welcome, You } from "./wire.js" */
/**
 * @typedef {"connecting"|"live"|"reconnecting"|"closed"} StateName
 * @typedef {object} State
 * @property {StateName} name
 * @property {string|null} reason why it is not live: the name of a close code, or `no_token`, `not_let_in`, ...
 *   After `closed` with `room_ended` it joins the next broadcast by itself, unless you call `close`.
 * @property {number} [code] the close code
 * @property {number} [retry_in_ms] while `reconnecting`: when the next try is
 * @property {boolean} [opened] false when the server did not let us in this time: it refused, or could not be reached
 */
/** @typedef {ChatSent | Notice | (Gap & {type: "gap"})} ChatLine a message, or a mark where some are missing */
/** @typedef {Snapshot & {chat: ChatLine[]}} Room the snapshot with every event since, and the last 200 lines of chat */
/**
 * @typedef {object} Options
 * @property {string} [room] room id, with `base` (default: this page's origin; a path in it is kept); or the whole
 *   socket address as `url`
 * @property {string} [base]
 * @property {string} [url]
 * @property {string} [token] a fixed token; or `getToken`, which is called again when the last token may be the cause
 * @property {() => (string|Promise<string>)} [getToken]
 * @property {string|null} [since] position "epoch:seq" to resume from (see `client.since`)
 * @property {number} [chats] how many of the newest chats, <= 50, to get `replayed` on joining and after a gap
 * @property {number} [timeoutMs] how long a command waits for its reply (10 s); a gift waits two minutes
 * @property {(state: State) => void} [onState] the connection changed
 * @property {(event: RoomEvent) => unknown} [onEvent] a room event, once; `replayed` ones too. `client.since` moves
 *   when it has returned, or when the promise that it gave is settled
 * @property {(room: Room) => void} [onRoom] the folded room changed
 * @property {(gap: Gap) => void} [onGap] events were missed for good; the snapshot replaced the room
 * @property {(notice: Notice) => void} [onNotice]
 * @property {(message: Message) => void} [onMessage] what this socket alone was told, such as a warning of the staff
 * @property {(you: You) => void} [onYou] your coins, role or mute changed
 * @property {typeof WebSocket} [WebSocket] the class to connect with, instead of the browser's own
 */
const OPEN_TIMEOUT_MS = 10_000;
const REPLY_TIMEOUT_MS = 10_000;
const GIFT_TIMEOUT_MS = 120_000;
const SLACK_MS = 5_000; // after a heartbeat's time of silence; then again for an answer
const LIKES_AT_ONCE = 50;

export { Refused, uuid7 };

/** @param {Options} options a mistake in them throws a TypeError */
export const join = (options) => new RoomClient(options).open();

export class RoomClient {
  /** @type {Room|null} */
  room = null;
  /** @type {You|null} who the server says you are, with your `coins` */
  you = null;
  /** @type {State} */
  state = { name: "connecting", reason: null };

  /** @type {Options} */
  #options;
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {Tokens} */
  #tokens;
  #unanswered = new Unanswered();
  /** @type {Position} */
  #position;
  /** @type {Handled} */
  #handled;
  #balance = new Balance();
  #seen = new SeenGifts();
  #chats = new SeenChats();
  #backoff = new Backoff();
  #liveSince = 0;
  #comeBackAt = 0;
  #heartbeatMs = 25_000;
  #address;
  #heardAt = 0; // by the computer's clock, which goes on while it sleeps
  #clockOffsetMs = Date.now() - performance.now(); // the computer's clock may be set; this one only runs
  #ready = new Ready();
  #timers = new Timers();
  #deaf = () => {};
  #next = new NextBroadcast(() => roomAddress(this.#address), () => this.open());

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#address = socketAddress(options);
    this.#tokens = new Tokens(options);
    this.#position = new Position(options.since);
    this.#handled = new Handled(this.#position.since);
  }

  open() {
    this.#deaf();
    this.#deaf = onWaking(() => this.#woken());
    this.#setState({ name: "connecting", reason: null });
    this.#connect();
    return this;
  }
  /**
   * Waits until the client is live.
   * @returns {Promise<RoomClient>} itself; fails with a Refused whose `reason` says why it is out for good
   */
  async ready() {
    await this.#ready.when(this.state);
    return this;
  }
  /** Leaves for good, and forgets the token. Commands without a reply are refused with `closed`. */
  close() {
    this.#next.stop();
    this.#finish("left", 1000);
    this.#tokens.forget();
  }
  /** The position to resume from: behind the last event that was handled. Null before the first welcome. */
  get since() { return this.#handled.since; }
  /** Gifts and coins that this client saw, each gift id counted once, and how many of these coins were taken back. */
  get seen() {
    const { gifts, coins, refunded } = this.#seen;
    return { gifts, coins, refunded };
  }
  serverNow() { return Math.round(performance.now() + this.#clockOffsetMs); }

  // Commands: each gives a promise of the reply, or throws Refused.

  /** @param {string} text @param {{waits?: boolean}} [options] */
  sendChat(text, options) { return this.send({ type: "chat.send", text }, options); }
  /** @param {number} count taps, of which up to 50 count */
  sendLikes(count) {
    return this.send({ type: "likes.send", count: Math.min(LIKES_AT_ONCE, Math.max(1, count)) }, { waits: false });
  }
  async ping() {
    const reply = await this.send({ type: "ping" });
    this.#clockOffsetMs = reply.server_time_ms - performance.now();
    return reply;
  }
  /**
   * Sends a gift exactly once: when the reply is lost, the same id goes out again after the reconnect and the server
   * answers `duplicate`. Every error carries the `id`. After `timeout`, `closed` and `wallet_unavailable` the outcome
   * is unknown: to try again, call with that `id` and the same gift, count, combo and message.
   * @param {Partial<SendGift> & {gift: string}} gift
   */
  async sendGift({ gift, count = 1, to, combo, message, anonymous, id = uuid7(this.serverNow()) }) {
    if (!this.room) throw new Refused({ reason: "not_connected" });
    /** @type {SendGift} */
    const command = { type: "gifts.send", id, gift, count, ...(to && { to }), ...(combo && { combo }),
      ...(message && { message }), ...(anonymous && { anonymous }) };
    const reply = await this.send(command, { again: true, timeoutMs: GIFT_TIMEOUT_MS })
      .catch((/** @type {Refused} */ refused) => { throw Object.assign(refused, { id }); });
    if (!reply.duplicate) this.#setCoins(reply); // a duplicate's reply has the old balance
    return reply;
  }
  /**
   * Any command. After the first welcome it waits for a connection while there is none, behind at most 50 others.
   * @template {Command} C
   * @param {C} command
   * @param {{again?: boolean, waits?: boolean, timeoutMs?: number}} [options] `again`: it may be repeated safely, so it
   *   survives the loss of its connection. `waits`: false if it is worth nothing later
   * @returns {Promise<Replies[C["type"]]>}
   */
  send(command, { again = false, waits = true, timeoutMs = this.#options.timeoutMs ?? REPLY_TIMEOUT_MS } = {}) {
    const { name } = this.state;
    const said = name === "live";
    if (!said && (!this.room || !waits || name === "closed")) {
      return Promise.reject(new Refused({ reason: name === "closed" ? "closed" : "not_connected" }));
    }
    const asked = this.#unanswered.add(command, { again, said, timeoutMs });
    if (said) this.#say(asked.command);
    return asked.reply;
  }
  /** @param {Command} command */
  #say(command) { this.#socket?.send(JSON.stringify(command)); }

  // The connection: connecting -> live -> reconnecting -> live ... -> closed

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.#ready.changed(state);
    tell(this.#options.onState, state);
  }
  async #connect() {
    const { chats, WebSocket = globalThis.WebSocket } = this.#options;
    let token;
    try {
      token = await this.#tokens.current();
    } catch {
      return this.state.name === "closed" ? undefined : this.#comeBack("no_token");
    }
    if (this.state.name === "closed" || this.#socket) return;
    try {
      this.#listen(new WebSocket(...whereTo(this.#address, token, this.#position.since, chats)));
    } catch (error) { // such as ws:// from a page of https://: another try would not help
      console.error(error);
      return this.#finish("cannot_connect", 1006);
    }
    this.#timers.after("silence", OPEN_TIMEOUT_MS, () => this.#lost(4004));
  }
  /** @param {WebSocket} socket */
  #listen(socket) {
    this.#socket = socket;
    /** @type {number|null} */
    let refusal = null;
    socket.onmessage = ({ data }) => { if (socket === this.#socket) this.#receive(data); };
    // Under Node an error that nobody hears ends the process.
    socket.onerror = (error) => { refusal = codeOfRefusal(/** @type {ErrorEvent} */ (error)); };
    socket.onclose = ({ code, reason }) => { if (socket === this.#socket) this.#lost(refusal ?? code, reason); };
  }

  /** Replaces the token of `getToken` before it expires, on the same socket: each connection has one such chain. */
  #keepFresh(socket = this.#socket) {
    const inMs = this.#tokens.refreshInMs(this.serverNow());
    if (inMs) this.#timers.after("refresh", inMs, () => this.#refresh(socket));
  }
  /** @param {WebSocket|null} socket */
  async #refresh(socket) {
    try {
      const token = await this.#tokens.newer() ?? "";
      if (socket !== this.#socket) return; // another connection came with a token of its own, or nobody is here
      await this.send({ type: "session.refresh", token });
      this.#tokens.take(token);
      if (socket === this.#socket) this.#keepFresh();
    } catch { /* the server then closes the socket with 4003, and we reconnect with a new token */ }
  }

  /**
   * @param {number} code
   * @param {string} [text]
   */
  #lost(code, text) {
    if (this.#tokens.renews(code)) return this.#comeBack("bad_token", code);
    const opened = this.state.name === "live";
    if (isFinal(code) || this.#neverLetIn(code, opened)) return this.#end(code);
    // Where a server or proxy does not say why it refused, an old token is the only cause that we can fix.
    if (code === 4003 || !opened) this.#tokens.forget();
    if (opened) this.#backoff.lived(performance.now() - this.#liveSince);
    const awayMs = retryAfterMs(text);
    if (awayMs) this.#comeBackAt = performance.now() + awayMs + this.#backoff.nextMs();
    this.#comeBack(reasonOf(code) ?? (opened ? "connection_lost" : this.state.reason ?? "not_let_in"), code, opened);
  }
  /** A fixed token has expired: there will be no newer one. @param {number} code @param {boolean} opened */
  #neverLetIn(code, opened) { return code === 4003 && !opened && !this.#tokens.renewable; }
  /** @param {number} code */
  #end(code) {
    this.#finish(reasonOf(code) ?? "ended_by_server", code);
    if (code === 4501) this.#next.wait();
  }
  /**
   * @param {string} reason
   * @param {number} [code]
   * @param {boolean} [opened]
   */
  #comeBack(reason, code, opened = false) {
    this.#dropSocket(4004);
    this.#unanswered.lose();
    const backoffMs = this.#backoff.nextMs();
    const retry_in_ms = this.#comeBackAt ? Math.max(0, Math.round(this.#comeBackAt - performance.now())) : backoffMs;
    this.#comeBackAt = 0;
    this.#timers.after("retry", retry_in_ms, () => this.#connect());
    this.#setState({ name: "reconnecting", reason, code, retry_in_ms, opened });
  }
  /** The network is back, or the computer: a long pause is cut short, and a connection may be dead. */
  #woken() {
    if (this.state.name === "live" && Date.now() - this.#heardAt > this.#heartbeatMs + SLACK_MS) this.#askForLife();
    if (this.state.name !== "reconnecting" || this.#socket) return;
    this.#timers.after("retry", Math.random() * BACKOFF_MIN_MS, () => this.#connect());
  }
  /** A silent server is asked, also for its clock, before it is given up: perhaps we slept, and it did not. */
  #askForLife() {
    this.#timers.after("silence", SLACK_MS, () => this.#lost(4004));
    this.ping().catch(() => { /* the silence goes on, or the connection is lost */ });
  }
  /** @param {number} code */
  #dropSocket(code) {
    this.#timers.clear();
    const socket = this.#socket;
    this.#socket = null; // first, so that its late frames and its close are ignored
    socket?.close(code);
  }
  /**
   * @param {string} reason
   * @param {number} code
   */
  #finish(reason, code) {
    if (this.state.name === "closed") return;
    this.#deaf();
    this.#dropSocket(1000);
    this.#setState({ name: "closed", reason, code });
    this.#unanswered.close();
  }

  // Messages

  /** @param {string} data */
  #receive(data) {
    const frame = frameOf(data);
    if (!frame) return this.#lost(1006);
    this.#heardAt = Date.now();
    const socket = this.#socket;
    for (const message of frame) if (socket === this.#socket) this.#handle(message); // a handler may leave
    if (socket !== this.#socket) return;
    // TCP may take minutes to notice a dead link; with the server's heartbeats, silence means a dead link.
    this.#timers.after("silence", this.#heartbeatMs + SLACK_MS, () => this.#askForLife());
    if (this.room && frame.some(({ type }) => type !== "heartbeat")) tell(this.#options.onRoom, this.room);
  }
  /** @param {Message | RoomEvent} message */
  #handle(message) { // replies and the welcome may have a seq, too: the type decides
    switch (message.type) {
      case "welcome": return this.#welcome(message);
      case "ok": case "refused": return this.#unanswered.settle(message);
      case "wallet.changed": return this.#setCoins(message);
      case "notice": return this.#notice(message);
      case "heartbeat": return;
      default: if ("seq" in message) this.#happened(message); else this.#aside(message);
    }
  }
  /** @param {Welcome} welcome */
  #welcome({ epoch, seq, resumed, gap, replays, you, room, heartbeat_s, server_time_ms }) {
    this.room = { ...room, chat: this.room?.chat ?? [] };
    if (gap) addLine(this.room, { type: "gap", ...gap });
    this.you = you;
    this.#position.enter({ epoch, seq, resumed, gap, replays });
    this.#heartbeatMs = heartbeat_s * 1000;
    this.#clockOffsetMs = server_time_ms - performance.now();
    this.#liveSince = performance.now();
    this.#tokens.accepted();
    for (const command of this.#unanswered.say()) this.#say(command);
    this.#keepFresh();
    this.#setState({ name: "live", reason: null });
    tell(this.#options.onYou, you);
    if (gap) tell(this.#options.onGap, gap);
    this.#handled.after(this.#position.since);
  }
  /** @param {Notice} notice */
  #notice(notice) {
    if (notice.kind === "draining") {
      const { reconnect_in_ms = 0 } = notice;
      this.#comeBackAt = performance.now() + reconnect_in_ms;
      this.#timers.after("drain", reconnect_in_ms, () => this.#lost(4001));
    }
    if (notice.kind === "hidden" && this.room) addLine(this.room, notice);
    tell(this.#options.onNotice, notice);
  }
  /** @param {RoomEvent} event */
  #happened(event) {
    if (!this.room || !this.#position.reach(event.seq, event.replayed)) return;
    const since = this.#position.since; // of now: a handler that takes long may see others begin
    this.#handled.after(since, this.#chats.isNews(event) && this.#fold(event));
  }
  /** @param {RoomEvent} event @returns {unknown} what its handler gave */
  #fold(event) {
    const room = /** @type {Room} */ (this.room);
    const counted = this.#position.isInSnapshot(event.seq);
    // The computer may have slept, and this clock with it: the server's is at least where its newest event is.
    if (!event.replayed) this.#clockOffsetMs = Math.max(this.#clockOffsetMs, event.at_ms - performance.now());
    fold(room, event, counted);
    if (!counted && this.you && decided(this.you, event)) tell(this.#options.onYou, this.you);
    if (!this.#seen.isNews(event)) return undefined; // sent again after a gap: not shown again
    return tell(this.#options.onEvent, event);
  }
  /**
   * What has no place in the room's order. A chat message and a gift may: a hidden sender's, and a test.
   * @param {Message | ChatSent | GiftSent} message
   */
  #aside(message) {
    if (!this.room) return;
    if (message.type === "chat.sent" || message.type === "gifts.sent") {
      fold(this.room, message, true);
      tell(this.#options.onEvent, message);
    } else tell(this.#options.onMessage, message);
  }
  /** @param {{coins: number, entry: string|null}} balance */
  #setCoins({ coins, entry }) {
    if (!this.you || !this.#balance.take(entry, this.you.coins !== null) || this.you.coins === coins) return;
    this.you.coins = coins;
    tell(this.#options.onYou, this.you);
  }
}
