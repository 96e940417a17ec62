/** The watch page: connects one client, and passes its events to the parts of the page. */
import { Refused, join } from "../liveroom.js";
import { AlertQueue } from "../shared/alertqueue.js";
import { duration, el, find, loadPictures, picture, select } from "../shared/dom.js";
import { AlertPlayer } from "../shared/playalerts.js";
import { TokenNeeded, openSession, whyNotLetIn } from "../shared/session.js";
import { Board } from "./board.js";
import { ChatList } from "./chat.js";
import { startComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { floatUp } from "./floaters.js";
import { GiftPanel } from "./giftpanel.js";
import { Goals } from "./goals.js";
import { Likes } from "./likes.js";
import { Decided } from "./decided.js";
import { Pins } from "./pins.js";
import { startSheet } from "./sheet.js";
import { Staff } from "./staff.js";
import { Stage } from "./stage.js";
import { Tray } from "./tray.js";

/** @import { Room, RoomClient, State } from "../liveroom.js" */
/** @import { Session } from "../shared/session.js" */
/** @import { Gift, GiftSent, Message, Notice, RoomEvent, You } from "../wire.js" */

const FRESH_MS = 15_000; // a replayed gift older than this appears in the chat, but is not played
const CHATS_ON_JOINING = 50;
const FLOATS_PER_GIFT = 6;
const FLOATS_APART_MS = 110;
const SHUT_OUT = ["not_let_in", "no_such_room", "token_expired", "unavailable", "too_many_connections"];

export class WatchPage {
  #room;
  /** @type {RoomClient|null} */
  #client = null;
  #filled = false;
  /** @type {number|null} */
  #mutedUntil = null;

  #connection = new Connection(find("conn-state"));
  #stage = new Stage();
  #board = new Board(find("board"));
  #goals = new Goals(find("goals"), find("goal-list"));
  #pins = new Pins(find("pins"));
  #chat = new ChatList();
  #tray = new Tray(find("gift-tray"));
  #panel = new GiftPanel(find("gift-panel"), async (gift) => this.#joined.sendGift(gift));
  #likes = new Likes(async (count) => this.#joined.sendLikes(count));
  #staff = new Staff(async (command) => this.#joined.send(command));
  #decided = new Decided(async (command) => this.#joined.send(command), (text) => this.#chat.note(text));
  #alerts = new AlertPlayer(new AlertQueue({ limit: 30, longAt: 2 }), find("gift-show"));

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
    startComposer(async (text) => this.#joined.sendChat(text, { waits: false })); // it stays in its field
    startSheet(find("gift-panel"));
    this.#panel.setOpen(false);
  }

  async start() {
    if (!this.#room) return this.#stayOut("no_address");
    /** @type {Session} */
    let session;
    try {
      session = await openSession({ room: this.#room, role: "viewer", person: "alice" });
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      return this.#stayOut("token_needed");
    }
    if (session.person) showUserSwitch(session.person);
    this.#client = join({
      room: this.#room, ...session, chats: CHATS_ON_JOINING,
      onState: (state) => this.#connectionChanged(state),
      onRoom: (room) => this.#roomChanged(room),
      onYou: (you) => this.#youChanged(you),
      onEvent: (event) => this.#happened(event),
      onGap: () => this.#chat.gap(),
      onNotice: (notice) => this.#noticed(notice),
      onMessage: (message) => this.#told(message),
    });
    this.#fillPanel();
  }

  /** @param {string} reason */
  #stayOut(reason) {
    this.#connection.show({ name: "closed", reason });
    this.#stage.close(reason);
  }

  get #joined() {
    if (!this.#client) throw new Refused({ reason: "not_connected" });
    return this.#client;
  }

  /** @param {State} state */
  async #connectionChanged(state) {
    this.#connection.show(state);
    this.#drawOpen();
    if (state.name === "live") {
      this.#stage.close(null);
      this.#staff.forget();
      this.#decided.forget();
      return this.#fillPanel();
    }
    if (state.name === "closed") return this.#stage.close(state.reason);
    if (state.name !== "reconnecting" || state.opened) return;
    // Viewers who were in the room see that it reconnects. Others, and those with an expired token, see the curtain.
    const unsaid = state.reason === "not_let_in" && !this.#joined.room;
    const reason = unsaid ? await whyNotLetIn(this.#room) : state.reason;
    if (SHUT_OUT.includes(reason ?? "") && this.#joined.state.name === "reconnecting") this.#stage.close(reason);
  }

  /** @param {Room} room */
  #roomChanged(room) {
    this.#stage.draw(room);
    this.#board.draw(room.top);
    this.#goals.draw(room.goals);
    this.#pins.draw(room.pins);
    this.#drawOpen();
  }

  #drawOpen() {
    const { state, room } = this.#client ?? {};
    this.#panel.setOpen(state?.name === "live" && room?.status === "live" && room.settings.gifts);
  }

  /** Loads the catalogue once. If the node was away, it tries again with the next connection. */
  async #fillPanel() {
    if (this.#filled) return;
    this.#filled = true;
    const [gifts] = await Promise.all([catalogue(), loadPictures()]);
    if (gifts) this.#panel.fill(gifts);
    else this.#filled = false;
  }

  /** @param {You} you */
  #youChanged({ name, coins, muted, muted_until_ms, role }) {
    select("[data-testid=you] b", HTMLElement).textContent = name;
    find("you").hidden = false;
    this.#panel.setCoins(coins);
    this.#staff.be(role);
    this.#decided.mute({ muted, muted_until_ms }, this.#joined.serverNow());
    const left = (muted_until_ms ?? 0) - this.#joined.serverNow();
    if (left > 0 && muted_until_ms !== this.#mutedUntil) this.#chat.note(`You are muted for ${duration(left)}`);
    this.#mutedUntil = muted_until_ms;
  }

  /** @param {Notice} notice */
  #noticed({ kind, count = 0 }) {
    if (kind === "hidden") this.#chat.hidden(count);
  }

  /** @param {Message} message */
  #told(message) {
    this.#staff.take(message);
    this.#decided.take(message, this.#joined.you?.role);
  }

  /** @param {RoomEvent} event */
  #happened(event) {
    this.#chat.take(event);
    if (event.type === "goals.reached" && !event.replayed) this.#reached(event.id);
    if (event.type === "likes.counted" && !event.replayed) this.#likes.counted(event);
    if (event.type !== "gifts.sent") return;
    if (!event.replayed || this.#joined.serverNow() - event.at_ms < FRESH_MS) this.#showGift(event);
  }

  /** @param {string} id */
  #reached(id) {
    const goal = this.#joined.room?.goals.find((each) => each.id === id);
    if (goal) this.#chat.note(`Goal reached: ${goal.title}`);
  }

  /** @param {GiftSent} event */
  #showGift(event) {
    this.#tray.show(event);
    if (event.gift.tier > 1) return this.#alerts.offer(event);
    for (let i = 0; i < Math.min(FLOATS_PER_GIFT, event.count); i++) {
      floatUp(find("gift-show"), picture(event.gift, "floater"), {
        ms: event.gift.animation.duration_ms, wait: i * FLOATS_APART_MS,
        x: Math.random() * 0.2 * innerWidth, rise: 260 + Math.random() * 140, sway: 16 + Math.random() * 40,
      });
    }
  }
}

/**
 * The gifts on offer, or null while the node is away.
 * @returns {Promise<Gift[]|null>}
 */
async function catalogue() {
  try {
    const answer = await fetch("/v1/gifts");
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** @param {string} person */
function showUserSwitch(person) {
  const place = find("user-switch");
  place.hidden = false;
  place.append(...["alice", "bob"].map((user) => {
    const current = user === person ? "true" : null;
    return el("a", { href: `?user=${user}`, text: user, testid: `user-${user}`, "aria-current": current });
  }));
}
