/** Plays the alerts of a queue one after the other, each for its animation's time. */
import { LEAVE_MS, showGift, showMissed } from "./giftshow.js";

/** @import { GiftSent } from "../wire.js" */
/** @import { Alert, AlertQueue } from "./alertqueue.js" */
/** @import { Show } from "./giftshow.js" */

const LAST_COUNT_MS = 1500; // a combo that grew at the end stays long enough to read it ...
const LONGEST = 3; // ... but while others wait, at most so many times its own time
const PAUSE_MS = 200;
const SHORTEST_MS = 800; // nobody could read less
const MISSED_MS = 2500;

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class AlertPlayer {
  #queue;
  #layer;
  #testid;
  #onChange;
  /** @type {Show|null} */
  #show = null;
  #startedAt = 0;
  #endsAt = 0;
  #playing = false;

  /**
   * @param {AlertQueue} queue
   * @param {HTMLElement} layer
   * @param {{testid?: string, onChange?: () => void}} options `onChange` whenever the queue has changed
   */
  constructor(queue, layer, { testid = "show", onChange = () => {} } = {}) {
    this.#queue = queue;
    this.#layer = layer;
    this.#testid = testid;
    this.#onChange = onChange;
    this.#play();
  }

  /** @param {GiftSent} event */
  offer(event) {
    if (this.#queue.offer(event) === "updated") this.#prolong();
    this.#onChange();
    if (!this.#playing) this.#play();
  }

  async #play() {
    this.#playing = true;
    do {
      for (let alert = this.#queue.next(); alert; alert = this.#queue.next()) {
        await this.#playOne(alert);
        this.#onChange();
      }
      const missed = this.#queue.takeMissed();
      if (missed) await this.#endWith(missed);
    } while (this.#queue.waiting.length);
    this.#playing = false;
  }

  /** @param {Alert} alert */
  async #playOne(alert) {
    this.#onChange();
    this.#startedAt = performance.now();
    const ms = Math.max(SHORTEST_MS, alert.gift.animation.duration_ms * this.#queue.pace);
    this.#endsAt = this.#startedAt + ms - LEAVE_MS;
    const show = this.#show = showGift(this.#layer, alert, this.#testid);
    while (performance.now() < this.#endsAt) await sleep(this.#endsAt - performance.now());
    this.#queue.current = null; // from here on, more of this combo is a new alert
    await show.leave();
    await sleep(PAUSE_MS);
  }

  /** @param {number} missed how many alerts could not be shown */
  async #endWith(missed) {
    const show = showMissed(this.#layer, missed);
    await sleep(MISSED_MS - LEAVE_MS);
    await show.leave();
  }

  #prolong() {
    const ms = this.#queue.current?.gift.animation.duration_ms ?? 0;
    const most = this.#queue.waiting.length ? ms * LONGEST : Infinity;
    const wanted = Math.max(ms, performance.now() - this.#startedAt + LAST_COUNT_MS);
    this.#endsAt = this.#startedAt + Math.min(wanted, most) - LEAVE_MS;
    this.#show?.update();
  }
}
