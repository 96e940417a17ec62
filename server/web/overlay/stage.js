/** What an overlay shows: alerts and widgets, in a box of any size. The streamer's page has one as a preview. */
import { AlertQueue } from "../shared/alertqueue.js";
import { el } from "../shared/dom.js";
import { AlertPlayer } from "../shared/playalerts.js";
import { media } from "./media.js";
import { hasAlert, wantedFor } from "./plan.js";
import { PLACES, UNCHANGED, settled } from "./settings.js";
import { Sounds } from "./sound.js";
import { WIDGETS } from "./widgets.js";

/** @import { Room } from "../liveroom.js" */
/** @import { Alert, Saved } from "../shared/alertqueue.js" */
/** @import { Plan, Stage as AlertStage } from "../shared/playalerts.js" */
/** @import { AlertsControlled, Gift, GiftSent, OverlayChanged, RoomEvent } from "../wire.js" */
/** @import { Ack } from "./acks.js" */
/** @import { WidgetView } from "./widgets.js" */

const PAUSE_MS = 200;
const SECOND_MS = 1000;
/** @type {Gift["animation"]} */
const SAMPLE_ANIMATION = { kind: "burst", url: "/web/gifts/crown.svg", duration_ms: 4000 };
const SAMPLE = { id: "test", name: "Test gift", coins: 100, tier: 2, animation: SAMPLE_ANIMATION };

/** @typedef {Omit<OverlayChanged, "type">} Set */
/**
 * @typedef {object} Options
 * @property {string} [query] of the overlay's own address
 * @property {Saved} [saved] what the page knew before a reload
 * @property {Set} [set]
 * @property {(ack: Ack) => void} [onAck]
 * @property {() => void} [onChange] whenever the queue has changed
 * @property {boolean} [silent] no sound
 */

export class Stage {
  #root;
  #layer;
  #corners;
  #query;
  #onAck;
  #onChange;
  #silent;
  #set;
  #settings;
  #sounds = new Sounds();
  #queue;
  #player;
  /** @type {WidgetView[]} */
  #widgets = [];
  #shownAs = ""; // the settings of the widgets that stand
  /** @type {Room|null} */
  #room = null;
  #tests = 0;

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} layer for the alerts
   * @param {Options} options
   */
  constructor(root, layer, { query = "", saved, set = UNCHANGED, silent = false, ...told } = {}) {
    this.#root = root;
    this.#layer = layer;
    this.#query = query;
    this.#onAck = told.onAck ?? (() => {});
    this.#onChange = told.onChange ?? (() => {});
    this.#silent = silent;
    this.#set = set;
    this.#settings = settled(set.settings, query);
    this.#corners = new Map(PLACES.map((place) => [place, el("div", { class: "corner", data: { place } })]));
    root.append(...this.#corners.values());
    const onDropped = (/** @type {Alert} */ alert) => this.#acked(alert, alert.tries > 1 ? "failed" : "skipped");
    this.#queue = new AlertQueue({ saved, onDropped });
    this.#player = this.#newPlayer();
    this.apply(set);
  }

  get waiting() { return this.#queue.waiting.length; }
  get set() { return this.#set; }
  save() { return this.#queue.save(); }

  /** @param {Set} set */
  apply(set) {
    this.#set = set;
    const settings = this.#settings = settled(set.settings, this.#query);
    this.#queue.setRules({
      ageMs: settings.age_s * SECOND_MS, mergeMs: settings.merge_s * SECOND_MS, bySize: settings.priority !== "order",
    });
    this.#queue.clear(set.cleared_ms);
    this.#sounds.mute(set.muted || this.#silent);
    if (set.paused) this.#player.pause(); else this.#player.resume();
    const alerts = settings.widgets.find(({ kind }) => kind === "alerts");
    this.#layer.dataset.position = alerts?.place ?? "center";
    this.#layer.style.setProperty("--scale", String((alerts?.scale ?? 100) / 100));
    this.#root.style.setProperty("--veil", String(settings.veil / 100));
    Object.assign(this.#root.dataset, { theme: settings.theme, font: settings.font });
    Object.assign(this.#root.dataset, { paused: set.paused, muted: set.muted });
    this.#arrange();
    this.#onChange();
  }

  #arrange() {
    const as = JSON.stringify(this.#settings.widgets);
    if (as === this.#shownAs) return this.#draw();
    this.#shownAs = as;
    for (const widget of this.#widgets) {
      widget.end?.();
      widget.element.remove();
    }
    this.#widgets = this.#settings.widgets.flatMap(({ kind, place, scale }) => {
      const Widget = WIDGETS[kind]; // none for alerts, and for what a newer server has
      if (!Widget) return [];
      const widget = new Widget();
      widget.element.style.setProperty("--scale", String(scale / 100));
      this.#corners.get(place)?.append(widget.element);
      return [widget];
    });
    this.#draw();
  }
  #draw() { if (this.#room) for (const { draw } of this.#bound()) draw?.(this.#room, this.#settings); }
  #bound() {
    return this.#widgets.map((widget) => ({ draw: widget.draw?.bind(widget), event: widget.event?.bind(widget) }));
  }

  /** @param {Room} room */
  draw(room) {
    this.#room = room;
    this.#draw();
  }
  /**
   * @param {RoomEvent} event
   * @param {boolean} isNews whether it may still have an alert
   */
  happened(event, isNews = true) {
    for (const { event: tell } of this.#bound()) tell?.(event, this.#settings);
    if (event.type === "gifts.sent") this.#gave(event, isNews);
  }
  /**
   * @param {GiftSent} event
   * @param {boolean} isNews
   */
  #gave(event, isNews) {
    const wanted = isNews && event.at_ms > this.#set.cleared_ms && hasAlert(this.#settings, event);
    this.#onAck({ id: event.id, stage: wanted ? "received" : "skipped" });
    if (wanted) this.#player.offer(event);
  }

  /** @param {Pick<AlertsControlled, "verb"|"id">} control */
  control({ verb, id }) {
    switch (verb) {
      case "pause": return this.apply({ ...this.#set, paused: true });
      case "resume": return this.apply({ ...this.#set, paused: false });
      case "mute": return this.apply({ ...this.#set, muted: true });
      case "unmute": return this.apply({ ...this.#set, muted: false });
      case "skip": return this.#player.skip(id);
      case "next": return this.#player.next();
      case "replay": return this.#replay(id);
      case "clear": return this.#clear();
      case "test": return this.#test();
      case "reset": return this.#reset();
      default: // of a newer server
    }
  }
  /** @param {string|null} id */
  #replay(id) {
    if (!this.#queue.replay(id)) return;
    this.#onChange();
    this.#player.wake();
  }
  #clear() {
    this.#queue.clear();
    this.#player.skip();
    this.#onChange();
  }
  #test() {
    this.#tests++;
    const who = { user_id: "test", name: "Test", role: null, badges: [] };
    this.#player.offer({
      type: "gifts.sent", id: `test ${this.#tests}`, seq: 0, at_ms: Infinity, from: who, to: who, gift: SAMPLE,
      count: 1, coins: 100, diamonds: 0, message: "This is how an alert looks.", test: true, combo: null,
    });
  }
  /** Begins again with a new player and new widgets; the alert being shown comes again. */
  #reset() {
    this.#player.stop();
    this.#sounds.stop();
    this.#layer.replaceChildren();
    this.#shownAs = "";
    this.#player = this.#newPlayer();
    this.apply(this.#set);
  }

  #newPlayer() {
    return new AlertPlayer(this.#queue, this.#layer, {
      testid: "overlay-alert", paused: this.#set.paused, onChange: () => this.#onChange(),
      plan: (alert) => this.#plan(alert), onStage: (alert, stage) => this.#acked(alert, stage),
    });
  }
  /**
   * @param {Alert} alert
   * @returns {Plan | Promise<Plan>} a speech made on the server will be its `speech`
   */
  #plan(alert) {
    const wanted = wantedFor(this.#settings, alert.gift, alert.count);
    this.#sounds.play(wanted.sound, wanted.volume);
    const plan = {
      kind: wanted.kind, message: wanted.message, pauseMs: Math.max(PAUSE_MS, this.#settings.delay_ms),
      ...(wanted.ms && { ms: wanted.ms }),
    };
    return wanted.media ? artOf(wanted.media).then((art) => ({ ...plan, art })) : plan;
  }
  /**
   * @param {Alert} alert
   * @param {AlertStage} stage
   */
  #acked({ ids, test }, stage) {
    const [id, ...also] = ids;
    if (id && !(test && id.startsWith("test "))) this.#onAck({ id, stage, also: stage === "started" ? [] : also });
    if (stage === "skipped") this.#sounds.stop();
  }
}

/**
 * A streamer's own picture or film; null if it is neither, and then the gift's own picture is shown.
 * @param {string} address
 */
async function artOf(address) {
  if (address.startsWith("/web/")) return el("img", { class: "art", src: address, alt: "", draggable: "false" });
  const file = await media(address);
  if (file?.sort === "image") return el("img", { class: "art", src: file.url, alt: "", draggable: "false" });
  if (file?.sort !== "video") return null;
  const film = el("video", { class: "art", src: file.url, autoplay: "", loop: "", playsinline: "" });
  film.muted = true; // the sound of an alert is its `sound`: one volume, and one mute
  return film;
}
