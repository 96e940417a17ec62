/** Starts the watch page: one client, and what each part of the page does with the room's events. */
import { AlertQueue } from "../shared/alertqueue.js";
import { Board } from "./board.js";
import { ChatList, startComposer } from "./chat.js";
import { Connection } from "./connection.js";
import { duration, el, find, picture } from "../shared/dom.js";
import { floatUp } from "./floaters.js";
import { GiftPanel, startSheet } from "./giftpanel.js";
import { Likes } from "./likes.js";
import { join } from "../liveroom.js";
import { AlertPlayer } from "../shared/playalerts.js";
import { TokenNeeded, openSession, roomId, whyNotLetIn } from "../shared/session.js";
import { Stage } from "./stage.js";
import { Tray } from "./tray.js";

const FRESH_MS = 15_000; // a replayed gift older than this is told in the chat, but not played any more
const FLOATS_PER_GIFT = 6;
const SHUT_OUT = ["not_let_in", "no_such_room", "token_expired"];

class WatchPage {
  constructor() {
    this.connection = new Connection(find("conn-state"));
    this.stage = new Stage();
    this.board = new Board(find("board"));
    this.chat = new ChatList();
    this.tray = new Tray(find("gift-tray"));
    this.panel = new GiftPanel(find("gift-panel"), (gift) => this.client.sendGift(gift));
    this.likes = new Likes((count) => this.client.sendLikes(count));
    this.alerts = new AlertPlayer(new AlertQueue({ limit: 30, longAt: 2 }), find("gift-show"));
    startComposer((text) => this.client.sendChat(text));
    startSheet(find("gift-panel"));
    this.panel.setOpen(false);
  }

  async start() {
    let session;
    try {
      session = await openSession({ role: "viewer", person: "alice" });
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      this.connection.show({ name: "closed", reason: "token_needed" });
      return this.stage.close("token_needed");
    }
    if (session.person) showUserSwitch(session.person);
    this.client = join({
      room: roomId, ...session,
      onState: (state) => this.connectionChanged(state),
      onRoom: (room) => this.roomChanged(room),
      onYou: (you) => this.youChanged(you),
      onEvent: (event) => this.happened(event),
      onGap: () => this.chat.gap(),
      onNotice: ({ kind, count }) => { if (kind === "hidden") this.chat.hidden(count); },
    });
    this.fillPanel();
  }

  async connectionChanged(state) {
    this.connection.show(state);
    this.drawOpen(state);
    if (state.name === "live") {
      this.stage.close(null);
      return this.fillPanel();
    }
    if (state.name === "closed") return this.stage.close(state.reason);
    if (state.name !== "reconnecting" || state.opened) return;
    // Who was in the room sees that it reconnects; the curtain is for who never got in, and for a token that ran out.
    const reason = this.client.room ? state.reason : await whyNotLetIn();
    if (SHUT_OUT.includes(reason) && this.client.state.name === "reconnecting") this.stage.close(reason);
  }

  roomChanged(room) {
    this.stage.draw(room);
    this.board.draw(room.top);
    this.drawOpen(this.client.state);
  }

  drawOpen({ name }) {
    const room = this.client?.room;
    this.panel.setOpen(name === "live" && room?.status === "live" && room.settings?.gifts !== false);
  }

  /** Once; when the node was away, again with the next connection. */
  async fillPanel() {
    if (this.filled) return;
    this.filled = true;
    const gifts = await catalogue();
    if (gifts) this.panel.fill(gifts);
    else this.filled = false;
  }

  youChanged({ coins, muted_until_ms }) {
    this.panel.setCoins(coins);
    const left = (muted_until_ms ?? 0) - this.client.serverNow();
    if (left > 0 && muted_until_ms !== this.mutedUntil) this.chat.note(`You are muted for ${duration(left)}`);
    this.mutedUntil = muted_until_ms;
  }

  happened(event) {
    this.chat.take(event);
    if (event.type === "likes.counted" && !event.replayed) this.likes.counted(event);
    if (event.type === "gifts.sent" && (!event.replayed || this.client.serverNow() - event.at_ms < FRESH_MS)) this.showGift(event);
  }

  showGift(event) {
    this.tray.show(event);
    if (event.gift.tier > 1) return this.alerts.offer(event);
    for (let i = 0; i < Math.min(FLOATS_PER_GIFT, event.count); i++) {
      floatUp(find("gift-show"), picture(event.gift, "floater"), {
        ms: event.gift.animation.duration_ms, wait: i * 110,
        x: Math.random() * 0.2 * innerWidth, rise: 260 + Math.random() * 140, sway: 16 + Math.random() * 40,
      });
    }
  }
}

/** The gifts on offer, or null while the node is away. */
async function catalogue() {
  try {
    const answer = await fetch("/v1/gifts");
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function showUserSwitch(person) {
  const place = find("user-switch");
  place.hidden = false;
  place.append(...["alice", "bob"].map((user) =>
    el("a", { href: `?user=${user}`, text: user, testid: `user-${user}`, "aria-current": user === person ? "true" : null })));
}

new WatchPage().start();
