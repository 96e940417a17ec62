/** Starts the overlay: one client that listens, and a queue of alerts that outlives reconnects and reloads. */
import { AlertQueue } from "../shared/alertqueue.js";
import { el, find } from "../shared/dom.js";
import { join } from "../liveroom.js";
import { AlertPlayer } from "../shared/playalerts.js";
import { TokenNeeded, openSession, roomId } from "../shared/session.js";

const DOT_AFTER_MS = 10_000, SAVE_AFTER_MS = 500;
const SAVED = `liveroom.overlay.${roomId}`;

/** What this tab knew before a reload. Session storage, so that an overlay opened tomorrow does not replay today's gifts. */
function restore() {
  try {
    return JSON.parse(sessionStorage.getItem(SAVED));
  } catch {
    return null;
  }
}

class OverlayPage {
  #dotTimer = null; #saveTimer = null;

  async start() {
    const saved = restore();
    let session;
    try {
      session = await openSession({ role: "overlay", person: "overlay" });
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      const text = "A token is needed: add #token=… with an overlay token of this room to the address.";
      return document.body.append(el("p", { class: "token-needed", testid: "token-needed", text }));
    }
    this.queue = new AlertQueue({ saved: saved?.queue });
    this.player = new AlertPlayer(this.queue, find("overlay"), { testid: "overlay-alert", onChange: () => this.queueChanged() });
    this.client = join({
      room: roomId, ...session, since: saved?.since,
      onState: (state) => this.connectionChanged(state),
      onEvent: (event) => { if (event.type === "gifts.sent") this.player.offer(event); },
    });
    addEventListener("pagehide", () => this.save());
  }

  queueChanged() {
    find("overlay").dataset.waiting = this.queue.waiting.length;
    this.#saveTimer ??= setTimeout(() => this.save(), SAVE_AFTER_MS); // a flood of gifts must not write for each of them
  }

  /** Position and queue of one moment: what came after it is replayed to the reloaded page. */
  save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    try {
      sessionStorage.setItem(SAVED, JSON.stringify({ since: this.client?.since ?? restore()?.since, queue: this.queue.save() }));
    } catch { /* a full or forbidden storage costs the memory over reloads, not the alerts */ }
  }

  connectionChanged({ name, reason }) {
    const dot = find("conn-state");
    dot.dataset.state = name;
    dot.dataset.reason = reason ?? "";
    if (name !== "live") {
      this.#dotTimer ??= setTimeout(() => { dot.dataset.shown = "true"; }, DOT_AFTER_MS);
      return;
    }
    clearTimeout(this.#dotTimer);
    this.#dotTimer = null;
    dot.dataset.shown = "false";
  }
}

new OverlayPage().start();
