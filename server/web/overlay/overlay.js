/** The overlay: one client that listens, and a queue of alerts that outlives reconnects and reloads. */
import { join } from "../liveroom.js";
import { AGE_MS, AlertQueue } from "../shared/alertqueue.js";
import { el, find, loadPictures, picture } from "../shared/dom.js";
import { AlertPlayer } from "../shared/playalerts.js";
import { TokenNeeded, openSession } from "../shared/session.js";
import { showProblem } from "./problems.js";
import { applySettings } from "./settings.js";

/** @import { RoomClient, State } from "../liveroom.js" */
/** @import { Saved } from "../shared/alertqueue.js" */
/** @import { Session } from "../shared/session.js" */
/** @import { Gift, GiftSent } from "../wire.js" */

const DOT_AFTER_MS = 10_000;
const SAVE_AFTER_MS = 500;

export class OverlayPage {
  #room;
  #layer = find("overlay");
  #dot = find("conn-state");
  /** @type {AlertQueue|null} */
  #queue = null;
  /** @type {RoomClient|null} */
  #client = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #dotTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saveTimer;

  /** @param {string} room */
  constructor(room) { this.#room = room; }

  async start() {
    applySettings(this.#layer, location.search);
    if (!this.#room) return showProblem("no_address");
    const saved = this.#restore();
    /** @type {Session} */
    let session;
    try {
      session = await openSession({ room: this.#room, role: "overlay", person: "overlay" });
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      const text = "A token is needed: add #token=… with an overlay token of this room to the address.";
      return document.body.append(el("p", { class: "token-needed", testid: "token-needed", text }));
    }
    const queue = this.#queue = new AlertQueue({ saved: saved?.queue });
    const player = new AlertPlayer(queue, this.#layer, {
      testid: "overlay-alert", onChange: () => this.#queueChanged(queue),
    });
    this.#client = join({
      room: this.#room, ...session, since: saved?.since,
      onState: (state) => this.#connectionChanged(state),
      onEvent: (event) => { if (event.type === "gifts.sent" && this.#isNews(event)) player.offer(event); },
    });
    preloadArt();
    addEventListener("pagehide", () => this.#save());
  }

  /** @param {GiftSent} event: a gift of an hour ago, replayed after an absence, would only confuse */
  #isNews({ replayed, at_ms }) {
    return !replayed || (this.#client?.serverNow() ?? 0) - at_ms <= AGE_MS;
  }

  get #key() { return `liveroom.overlay.${this.#room}`; }

  /**
   * What this tab knew before a reload. Session storage: an overlay opened tomorrow must not replay today's gifts.
   * @returns {{since: string|null, queue: Saved} | null}
   */
  #restore() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {AlertQueue} queue */
  #queueChanged(queue) {
    this.#layer.dataset.waiting = String(queue.waiting.length);
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_AFTER_MS); // a flood of gifts must not write for each one
  }

  /** Saves position and queue together: the reloaded page gets all later events replayed. */
  #save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    try {
      const since = this.#client?.since ?? null;
      sessionStorage.setItem(this.#key, JSON.stringify({ since, queue: this.#queue?.save() }));
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
