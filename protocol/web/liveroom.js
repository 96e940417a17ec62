/**
 * The browser client of Liveroom: joins a room, stays in it, sends commands and folds events into the room's state.
 *
 *   const client = join({ room: "demo", getToken, onRoom: draw, onEvent: animate, onState: showConnection });
 *   await client.sendGift({ gift: "rose", count: 5 });
 *
 * @typedef {"connecting"|"live"|"reconnecting"|"closed"} StateName
 * @typedef {{name: StateName, reason: string|null, code?: number, retry_in_ms?: number, opened?: boolean}} State
 *   `opened` is false when the server did not let us in this time: it refused, or could not be reached.
 * @typedef {{type: string, seq?: number, at_ms?: number, id?: string, replayed?: boolean} & Record<string, any>} Message
 * @typedef {object} Options
 * @property {string} [room] room id, with `base` (default: this page's origin); or the whole socket address as `url`
 * @property {string} [base]
 * @property {string} [url]
 * @property {string} [token] a fixed token; or `getToken`, which is asked again whenever the last token may be the trouble
 * @property {() => (string|Promise<string>)} [getToken]
 * @property {string} [since] position "epoch:seq" to resume from (see `client.since`)
 * @property {number} [timeoutMs] how long a command waits for its reply (10 s); a gift waits two minutes, over reconnects
 * @property {(state: State) => void} [onState] the connection changed
 * @property {(event: Message) => void} [onEvent] a room event, once; `replayed` ones too
 * @property {(room: object) => void} [onRoom] the folded room changed
 * @property {(gap: {from: number, to: number}) => void} [onGap] events were missed for good; the snapshot replaced the room
 * @property {(notice: Message) => void} [onNotice]
 * @property {(you: object) => void} [onYou] your coins, role or mute changed
 * @property {typeof WebSocket} [WebSocket]
 */
const BACKOFF_MIN_MS = 500, BACKOFF_MAX_MS = 20_000, OPEN_TIMEOUT_MS = 10_000, GIFT_TIMEOUT_MS = 120_000, HEARTBEAT_SLACK_MS = 5_000;
const STEADY_MS = 5_000; // a connection that lived this long was good: its loss starts the backoff anew
const TIMER_MAX_MS = 2 ** 31 - 1; // a longer one would fire at once
const CHAT_LIMIT = 200, GIFT_IDS_REMEMBERED = 5_000;
const REASONS = { 1001: "going_away", 4001: "draining", 4002: "slow_reader", 4003: "token_expired", 4004: "unresponsive",
  4005: "internal", 4500: "banned", 4501: "room_ended", 4502: "protocol_error", 4503: "token_revoked" };

/** When a token runs out, by its own word; NaN when it says nothing that we can read. */
function expiresMs(token) {
  try { return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp * 1000; } catch { return NaN; }
}

/** A command that was not carried out: `reason` is the server's, or `timeout`, `connection_lost`, `not_connected`, `closed`. */
export class Refused extends Error {
  constructor(reply) {
    super(reply.message ?? reply.reason);
    Object.assign(this, { name: "Refused", retry_after_ms: null }, reply);
  }
}

/** A UUIDv7 (RFC 9562): its first 48 bits are the time, by which the server knows an id that is too old. */
export function uuid7(atMs = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 5, rest = Math.floor(atMs); i >= 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256;
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** @param {Options} options */
export const join = (options) => new RoomClient(options).open();

const EMPTY = { coins: 0, likes: 0, top: [], goals: [], pins: [], open_combos: [], viewers: { now: 0, peak: 0, unique: 0 } };
const replace = (list, item) => [...list.filter((known) => known.id !== item.id), item];
const becomes = (status) => (room) => { room.status = status; };

/** What is not in a snapshot, so that replayed events add to it as well. */
const LINES = {
  "chat.sent": (room, event) => addLine(room, event),
  "chat.deleted": (room, { ids = [], user_ids = [] }) => {
    room.chat = room.chat.filter((line) => !ids.includes(line.id) && !user_ids.includes(line.user?.user_id));
  },
};

/** What a snapshot holds: only events after it may change these, or a replayed gift would be counted twice. */
const TOTALS = {
  "gifts.sent": (room, { from, gift, coins, combo, test }) => {
    if (!test) room.coins += coins;
    if (combo) room.open_combos = replace(room.open_combos, { ...combo, from, gift });
  },
  "gifts.combo_ended": (room, { combo }) => { room.open_combos = room.open_combos.filter(({ id }) => id !== combo.id); },
  "likes.counted": (room, { total }) => { room.likes = total; },
  "viewers.counted": (room, { now, peak, unique }) => { room.viewers = { now, peak, unique }; },
  "board.changed": (room, { top }) => { room.top = top; },
  "goals.progressed": (room, { goal }) => { room.goals = replace(room.goals, goal); },
  "room.updated": (room, { type, seq, at_ms, id, replayed, settings, ...changed }) => {
    if (changed.broadcast_id && changed.broadcast_id !== room.broadcast_id) {
      const now = room.viewers?.now ?? 0; // whoever is here stays; the totals are of one broadcast
      Object.assign(room, EMPTY, { viewers: { now, peak: now, unique: now } });
    }
    Object.assign(room, changed, settings && { settings: { ...room.settings, ...settings } });
  },
  "room.paused": becomes("paused"), "room.resumed": becomes("live"), "room.ended": becomes("ended"), "room.suspended": becomes("suspended"),
};

function addLine(room, line) {
  room.chat.push(line);
  if (room.chat.length > CHAT_LIMIT) room.chat.splice(0, room.chat.length - CHAT_LIMIT);
}

export class RoomClient {
  /** @type {object|null} snapshot + events: viewers, likes, coins, top, status, ..., and `chat`: the last 200 lines and gap marks */
  room = null;
  /** @type {object|null} who the server says you are, with your `coins` */
  you = null;
  /** @type {State} */
  state = { name: "connecting", reason: null };
  /** What this client saw itself: the sum of coins over distinct gift ids, whatever was repeated on the way. */
  seen = { gifts: 0, coins: 0 };

  #options; #socket = null; #token = null; #pending = new Map(); #refs = 0; #giftIds = new Set(); #walletEntry = null;
  #epoch = null; #seq = 0; #snapshotSeq = 0; #resumed = false;
  #attempt = 0; #liveSince = 0; #comeBackAt = 0; #heartbeatMs = 25_000; #clockOffsetMs = 0; #timers = {};

  constructor(options) {
    this.#options = { timeoutMs: 10_000, ...options };
    const [epoch, seq] = (options.since ?? "").split(/:(?=\d+$)/);
    if (seq) [this.#epoch, this.#seq, this.#resumed] = [epoch, Number(seq), true];
  }

  open() {
    globalThis.addEventListener?.("online", this.#hurry);
    this.#setState({ name: "connecting", reason: null });
    this.#connect();
    return this;
  }
  /** Leaves for good; what still waits for a reply is refused with `closed`. */
  close() { this.#finish("left", 1000); }
  /** The position to resume from, or null before the first welcome. While a replay runs, it is where the replay got to. */
  get since() {
    return this.#epoch && `${this.#epoch}:${this.#resumed ? this.#seq : Math.max(this.#seq, this.#snapshotSeq)}`;
  }
  serverNow() { return Date.now() + this.#clockOffsetMs; }

  // Commands: each gives a promise of the reply, or throws Refused.

  sendChat(text) { return this.send({ type: "chat.send", text }); }
  sendLikes(count) { return this.send({ type: "likes.send", count: Math.min(50, Math.max(1, count)) }); }
  async ping() {
    const reply = await this.send({ type: "ping" });
    this.#clockOffsetMs = reply.server_time_ms - Date.now();
    return reply;
  }
  /**
   * Sends a gift exactly once: when the reply is lost, the same id goes out again after the reconnect and the server answers
   * `duplicate`. Every error carries the `id`. After `timeout`, `closed` and `wallet_unavailable` the outcome is unknown: to try
   * again, call with that `id` and the same gift, count, combo and message.
   */
  async sendGift({ gift, count = 1, to, combo, message, id }) {
    if (!this.room) throw new Refused({ reason: "not_connected" });
    const command = { type: "gifts.send", id: id ?? uuid7(this.serverNow()), gift, count };
    for (const [name, value] of Object.entries({ to, combo, message })) if (value) command[name] = value;
    const reply = await this.send(command, { again: true, timeoutMs: GIFT_TIMEOUT_MS })
      .catch((refused) => { throw Object.assign(refused, { id: command.id }); });
    // Without its ledger entry a reply cannot be ordered against wallet.changed, which then knows better.
    if (!reply.duplicate && (reply.entry || !this.#walletEntry)) this.#setCoins(reply);
    return reply;
  }
  /** Any command. `again` says that it may be repeated safely: it waits for a connection, and outlives one. */
  send(command, { again = false, timeoutMs = this.#options.timeoutMs } = {}) {
    const live = this.state.name === "live";
    if (!live && (!again || this.state.name === "closed")) {
      return Promise.reject(new Refused({ reason: this.state.name === "closed" ? "closed" : "not_connected" }));
    }
    const ref = `c${++this.#refs}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle({ ref, reason: "timeout" }), timeoutMs);
      this.#pending.set(ref, { command: { ...command, ref }, again, resolve, reject, timer });
      if (live) this.#socket.send(JSON.stringify({ ...command, ref }));
    });
  }
  #settle({ type, ...reply }) {
    const waiting = this.#pending.get(reply.ref);
    if (!waiting) return;
    this.#pending.delete(reply.ref);
    clearTimeout(waiting.timer);
    if (type === "ok") waiting.resolve(reply);
    else waiting.reject(new Refused(reply));
  }

  // The connection: connecting -> live -> reconnecting -> live ... -> closed

  #setState(state) {
    this.state = state;
    this.#tell("onState", state);
  }
  /** A listener that fails must not cost the rest of a frame. */
  #tell(listener, value) {
    try { this.#options[listener]?.(value); } catch (error) { console.error(error); }
  }
  #after(name, ms, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, ms);
  }

  async #connect() {
    const { token, getToken, WebSocket = globalThis.WebSocket } = this.#options;
    try { this.#token ??= getToken ? await getToken() : token; } catch { return this.#comeBack("no_token"); }
    if (this.state.name === "closed" || this.#socket) return;
    const socket = this.#socket = new WebSocket(this.#address(), "liveroom.v1.json");
    socket.onmessage = ({ data }) => { if (socket === this.#socket) this.#receive(JSON.parse(data)); };
    socket.onclose = ({ code }) => { if (socket === this.#socket) this.#lost(code); };
    this.#after("silence", OPEN_TIMEOUT_MS, () => this.#lost(4004));
  }
  #address() {
    const { url, base = globalThis.location?.origin, room } = this.#options;
    const address = new URL(url ?? `/v1/rooms/${encodeURIComponent(room)}/ws`, base);
    address.protocol = address.protocol.replace("http", "ws");
    if (this.#token) address.searchParams.set("token", this.#token);
    if (this.since) address.searchParams.set("since", this.since);
    return address.href;
  }

  /** What `getToken` gave is exchanged for a new one before it runs out, on the same socket. */
  #keepFresh() {
    const { getToken } = this.#options;
    const leftMs = expiresMs(this.#token) - this.serverNow();
    if (!getToken || !leftMs) return;
    this.#after("refresh", Math.min(TIMER_MAX_MS, Math.max(BACKOFF_MIN_MS, leftMs - Math.min(60_000, leftMs / 5))), async () => {
      try {
        const token = await getToken();
        await this.send({ type: "session.refresh", token });
        this.#token = token;
        this.#keepFresh();
      } catch { /* then the socket is closed with 4003, and we come back with another token */ }
    });
  }

  #lost(code) {
    if (code === 1000 || (code >= 4500 && code <= 4999)) return this.#finish(REASONS[code] ?? "ended_by_server", code);
    const opened = this.state.name === "live";
    // A browser does not say why an upgrade was refused; an old token is the one reason that we can mend.
    if (this.#options.getToken && (code === 4003 || !opened)) this.#token = null;
    if (opened && performance.now() - this.#liveSince > STEADY_MS) this.#attempt = 0;
    this.#comeBack(REASONS[code] ?? (opened ? "connection_lost" : this.state.reason ?? "not_let_in"), code, opened);
  }
  #comeBack(reason, code, opened = false) {
    this.#dropSocket(4004);
    for (const [ref, { again }] of [...this.#pending]) if (!again) this.#settle({ ref, reason: "connection_lost" });
    // Full jitter: a thousand clients that lost the same node must not come back in step.
    const jitter = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++);
    const retry_in_ms = Math.round(this.#comeBackAt ? Math.max(0, this.#comeBackAt - performance.now()) : jitter);
    this.#comeBackAt = 0;
    this.#after("retry", retry_in_ms, () => this.#connect());
    this.#setState({ name: "reconnecting", reason, code, retry_in_ms, opened });
  }
  #hurry = () => {
    if (this.state.name === "reconnecting" && !this.#socket) this.#after("retry", Math.random() * BACKOFF_MIN_MS, () => this.#connect());
  };
  #dropSocket(code) {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null; // first, so that its late frames and its close are nobody's any more
    socket?.close(code);
  }
  #finish(reason, code) {
    if (this.state.name === "closed") return;
    globalThis.removeEventListener?.("online", this.#hurry);
    this.#dropSocket(1000);
    this.#setState({ name: "closed", reason, code });
    for (const ref of [...this.#pending.keys()]) this.#settle({ ref, reason: "closed" });
  }

  // Messages

  #receive(frame) {
    // TCP may take minutes to notice a dead link; the server's heartbeats make silence mean something.
    this.#after("silence", this.#heartbeatMs * 2 + HEARTBEAT_SLACK_MS, () => this.#lost(4004));
    for (const message of frame) this.#handle(message);
    if (this.room && frame.some(({ type }) => type !== "heartbeat")) this.#tell("onRoom", this.room);
  }
  #handle(message) {
    if (message.type === "welcome") this.#welcome(message); // replies and the welcome may have a seq too: the type decides
    else if (message.type === "ok" || message.type === "refused") this.#settle(message);
    else if (message.type === "wallet.changed") this.#setCoins(message);
    else if (message.type === "notice") {
      if (message.kind === "draining") this.#drain(message.reconnect_in_ms);
      if (message.kind === "hidden") addLine(this.room, message);
      this.#tell("onNotice", message);
    } else if (message.seq !== undefined) this.#handleEvent(message);
  }
  #welcome({ epoch, seq, resumed, gap, you, room, heartbeat_s, server_time_ms }) {
    const chat = this.room?.chat ?? [];
    if (gap) chat.push({ type: "gap", ...gap });
    [this.room, this.you] = [{ ...EMPTY, ...room, chat }, you];
    // Anything that comes after a resume is new to us; after a fresh join or a new epoch so is everything, even below the snapshot.
    if (epoch !== this.#epoch || !resumed) this.#seq = epoch === this.#epoch && gap ? Math.min(gap.to, seq) : 0;
    [this.#epoch, this.#snapshotSeq, this.#resumed] = [epoch, seq, resumed];
    this.#heartbeatMs = heartbeat_s * 1000;
    this.#clockOffsetMs = server_time_ms - Date.now();
    this.#liveSince = performance.now();
    for (const { command, again } of this.#pending.values()) if (again) this.#socket.send(JSON.stringify(command));
    this.#keepFresh();
    this.#setState({ name: "live", reason: null });
    this.#tell("onYou", you);
    if (gap) this.#tell("onGap", gap);
  }
  #handleEvent(event) {
    if (event.seq <= this.#seq) return;
    this.#seq = event.seq;
    if (event.seq > this.#snapshotSeq) TOTALS[event.type]?.(this.room, event);
    if (event.type === "gifts.sent" && !this.#countGift(event)) return; // told again after a gap: no second line or animation
    LINES[event.type]?.(this.room, event);
    if (event.user_id === this.you.user_id && /^members\.(un)?muted$/.test(event.type)) {
      this.you.muted_until_ms = event.type === "members.muted" ? event.until_ms : null;
      this.#tell("onYou", this.you);
    }
    this.#tell("onEvent", event);
  }
  /** False for a gift that was seen before, even under another seq or epoch. */
  #countGift({ id, coins, test }) {
    if (this.#giftIds.has(id)) return false;
    this.#giftIds.add(id);
    if (this.#giftIds.size > GIFT_IDS_REMEMBERED) this.#giftIds.delete(this.#giftIds.values().next().value);
    if (!test) this.seen = { gifts: this.seen.gifts + 1, coins: this.seen.coins + coins };
    return true;
  }
  /** Balances may overtake each other between nodes: the ledger entry "<epoch>-<n>" says which one is newer. */
  #setCoins({ coins, entry }) {
    const [epoch, n] = entry?.split("-").map(Number) ?? [];
    const last = this.#walletEntry;
    if (entry && last && (epoch < last.epoch || (epoch === last.epoch && n < last.n))) return;
    if (entry) this.#walletEntry = { epoch, n };
    if (!this.you || this.you.coins === coins) return;
    this.you.coins = coins;
    this.#tell("onYou", this.you);
  }
  #drain(reconnectInMs) {
    this.#comeBackAt = performance.now() + reconnectInMs;
    this.#after("drain", reconnectInMs, () => this.#lost(4001));
  }
}
