/** The streamer's page: one client as the host, a preview drawn as the overlay, and what the host may change. */
import { join } from "../liveroom.js";
import { Stage } from "../overlay/stage.js";
import { el, find, loadPictures, select } from "../shared/dom.js";
import { TokenNeeded, openSession } from "../shared/session.js";
import { Controls } from "./controls.js";
import { Form } from "./form.js";
import { Links } from "./links.js";

/** @import { RoomClient, State } from "../liveroom.js" */
/** @import { Session } from "../shared/session.js" */
/** @import { Command, Message } from "../wire.js" */

const WORDS = {
  connecting: "Connecting", live: "Connected", reconnecting: "Connecting again", closed: "Not connected",
};
const WIDTH = 1920; // of the source in the streaming program: the preview is the same picture, smaller

export class StreamerPage {
  #room;
  /** @type {RoomClient|null} */
  #client = null;
  #stage = new Stage(select(".preview .stage", HTMLElement), select(".preview .show", HTMLElement), { silent: true });
  #controls = new Controls((command) => this.#send(command));
  #form = new Form((command) => this.#send(command));

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
    const preview = find("preview");
    new ResizeObserver(() => preview.style.setProperty("--fit", String(preview.clientWidth / WIDTH))).observe(preview);
  }

  async start() {
    /** @type {Session} */
    let session;
    try {
      session = await openSession({ room: this.#room, role: "host", person: "creator" });
    } catch (error) {
      if (!(error instanceof TokenNeeded)) throw error;
      return this.#refused();
    }
    const token = async () => session.token ?? await session.getToken?.() ?? "";
    new Links(select("form.settings", HTMLElement), this.#room, token).start();
    this.#client = join({
      room: this.#room, ...session, chats: 10,
      onState: (state) => this.#connectionChanged(state),
      onYou: ({ role }) => { if (role !== "host") this.#refused(); },
      onRoom: (room) => {
        this.#stage.draw(room);
        find("room-title").textContent = room.title;
      },
      onEvent: (event) => this.#stage.happened(event, !event.replayed),
      onMessage: (message) => this.#told(message),
    });
    loadPictures();
    const answer = await fetch("/v1/gifts").catch(() => null);
    if (answer?.ok) this.#form.know(await answer.json());
  }

  #refused() {
    const text = "Only the host may change the overlays: add #token=… with a host token of this room to the address.";
    if (!document.querySelector(".token-needed")) {
      find("settings").before(el("p", { class: "token-needed", testid: "token-needed", role: "alert", text }));
    }
  }
  /** @param {Message} message */
  #told(message) {
    switch (message.type) {
      case "overlay.changed":
        this.#stage.apply(message);
        this.#controls.draw(message);
        this.#form.draw(message.settings);
        break;
      case "alerts.status": this.#controls.status(message); break;
      case "alerts.controlled": this.#stage.control(message); break;
      default:
    }
  }
  /**
   * @param {Command} command
   * @returns {Promise<object>}
   */
  #send(command) { return this.#client?.send(command) ?? Promise.reject(new Error("not connected")); }

  /** @param {State} state */
  #connectionChanged({ name, reason }) {
    const shown = find("conn-state");
    Object.assign(shown.dataset, { state: name, reason: reason ?? "" });
    shown.textContent = WORDS[name];
    if (name === "closed") this.#refused();
  }
}
