/** The overlay: one client that listens, and a stage whose queue outlives reconnects and reloads. */
import { join } from "../liveroom.js";
import { AGE_MS } from "../shared/alertqueue.js";
import { el, find, loadPictures, picture, select } from "../shared/dom.js";
import { TokenNeeded } from "../shared/session.js";
import { Acks } from "./acks.js";
import { enter } from "./entering.js";
import { showProblem } from "./problems.js";
import { Stage } from "./stage.js";

/** @import { RoomClient, State } from "../liveroom.js" */
/** @import { Saved } from "../shared/alertqueue.js" */
/** @import { Session } from "../shared/session.js" */
/** @import { Gift, GiftSent, Message } from "../wire.js" */
/** @import { Ack } from "./acks.js" */
/** @import { Set } from "./stage.js" */

const DOT_AFTER_MS = 10_000;
const SAVE_AFTER_MS = 500;
const RELOADS_EVERY_MS = 600_000; // programs stop to draw a page that is loaded again and again

export class OverlayPage {
  #room;
  #layer = find("overlay");
  #dot = find("conn-state");
  /** @type {Stage|null} */
  #stage = null;
  /** @type {RoomClient|null} */
  #client = null;
  #acks = new Acks((ack) => this.#send(ack));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #dotTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saveTimer;

  /** @param {string} room */
  constructor(room) { this.#room = room; }

  async start() {
    const saved = this.#restore();
    this.#stage = new Stage(select(".stage", HTMLElement), this.#layer, {
      query: location.search, saved: saved?.queue, ...(saved?.set && { set: saved.set }),
      onAck: (ack) => this.#acks.say(ack), onChange: () => this.#queueChanged(),
    });
    if (!this.#room) return showProblem("no_address");
    /** @type {Session} */
    let session;
    try {
      session = await enter(this.#room, () => this.#linkEnded());
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      const text = `A key is needed: open the overlay by a link from the streamer's page, /streamer/${this.#room}`;
      return document.body.append(el("p", { class: "token-needed", testid: "token-needed", text }));
    }
    const stage = this.#stage;
    this.#client = join({
      room: this.#room, ...session, since: saved?.since, chats: 10,
      onState: (state) => this.#connectionChanged(state),
      onRoom: (room) => stage.draw(room),
      onEvent: (event) => stage.happened(event, event.type !== "gifts.sent" || this.#isNews(event)),
      onMessage: (message) => this.#told(message),
    });
    preloadArt();
    addEventListener("pagehide", () => this.#save());
  }

  /** @param {GiftSent} event: a gift of an hour ago, replayed after an absence, would only confuse */
  #isNews({ replayed, at_ms }) {
    return !replayed || (this.#client?.serverNow() ?? 0) - at_ms <= AGE_MS;
  }

  /** @param {Message} message */
  #told(message) {
    if (message.type === "overlay.changed") this.#stage?.apply(message);
    if (message.type !== "alerts.controlled") return;
    if (message.verb === "reload") this.#reload(); else this.#stage?.control(message);
  }
  /** The server asks for it when this page answers nothing. It happens at most so often, and to the same address. */
  #reload() {
    const key = `${this.#key}.reloaded`;
    try {
      if (Date.now() - Number(localStorage.getItem(key)) < RELOADS_EVERY_MS) return;
      localStorage.setItem(key, String(Date.now()));
    } catch {
      return; // without a memory nobody knows when the last one was
    }
    this.#save();
    location.reload();
  }
  /** @param {Ack} ack */
  #send(ack) {
    const client = this.#client;
    if (client?.state.name !== "live") return null;
    return client.send({ type: "alerts.ack", ...ack, queued: this.#stage?.waiting ?? 0 });
  }
  #linkEnded() {
    this.#client?.close();
    showProblem("token_revoked");
  }

  get #key() { return `liveroom.overlay.${this.#room}`; }

  /**
   * What this tab knew before a reload. Session storage: an overlay opened tomorrow must not replay today's gifts.
   * @returns {{since: string|null, queue: Saved, set?: Set} | null}
   */
  #restore() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key) ?? "null");
    } catch {
      return null;
    }
  }

  #queueChanged() {
    this.#layer.dataset.waiting = String(this.#stage?.waiting ?? 0);
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_AFTER_MS); // a flood of gifts must not write for each one
  }

  /** Saves position and queue together: the reloaded page gets all later events replayed. */
  #save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    const stage = this.#stage;
    if (!stage || !this.#client) return;
    try {
      const since = this.#client.since;
      sessionStorage.setItem(this.#key, JSON.stringify({ since, queue: stage.save(), set: stage.set }));
    } catch { /* a full or forbidden storage costs the memory over reloads, not the alerts */ }
  }

  /** @param {State} state */
  #connectionChanged({ name, reason }) {
    this.#dot.dataset.state = name;
    this.#dot.dataset.reason = reason ?? "";
    if (name === "closed") showProblem(reason);
    if (name === "live") {
      clearTimeout(this.#dotTimer);
      this.#dotTimer = undefined;
      this.#dot.dataset.shown = "false";
      this.#acks.flush();
    } else {
      this.#dotTimer ??= setTimeout(() => { this.#dot.dataset.shown = "true"; }, DOT_AFTER_MS);
    }
  }
}

/** Loads every picture once, so that the first gift of a show has its own at once. */
async function preloadArt() {
  try {
    const [answer] = await Promise.all([fetch("/v1/gifts"), loadPictures()]);
    /** @type {Gift[]} */
    const gifts = answer.ok ? await answer.json() : [];
    for (const gift of gifts) picture(gift, "art");
  } catch { /* the pictures then come with their gifts */ }
}
