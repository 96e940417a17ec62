/** Plays the alerts of a queue one after the other, each for its animation's time. */
import { showGift } from "./giftshow.js";

const LAST_COUNT_MS = 1500; // a combo that grew at the end stays long enough to be read ...
const LONGEST = 3; // ... but while others wait, no longer than so many times its own time
const PAUSE_MS = 200;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class AlertPlayer {
  #show = null; #startedAt = 0; #endsAt = 0; #playing = false;

  /**
   * @param {import("./alertqueue.js").AlertQueue} queue
   * @param {HTMLElement} layer
   * @param {{testid?: string, onChange?: () => void}} options `onChange` whenever the queue has changed
   */
  constructor(queue, layer, { testid, onChange = () => {} } = {}) {
    Object.assign(this, { queue, layer, testid, onChange });
    this.#play();
  }

  /** @param {object} event a `gifts.sent` */
  offer(event) {
    if (this.queue.offer(event) === "updated") this.#prolong();
    this.onChange();
    if (!this.#playing) this.#play();
  }

  async #play() {
    this.#playing = true;
    for (let alert = this.queue.next(); alert; alert = this.queue.next()) {
      await this.#playOne(alert);
      this.onChange();
    }
    this.#playing = false;
  }

  async #playOne(alert) {
    this.onChange();
    this.#startedAt = performance.now();
    this.#endsAt = this.#startedAt + alert.gift.animation.duration_ms - showGift.LEAVE_MS;
    this.#show = showGift(this.layer, alert, this.testid);
    while (performance.now() < this.#endsAt) await sleep(this.#endsAt - performance.now());
    this.queue.current = null; // from here on, more of this combo is a new alert
    await this.#show.leave();
    await sleep(PAUSE_MS);
  }

  #prolong() {
    const ms = this.queue.current.gift.animation.duration_ms;
    const most = this.queue.waiting.length ? ms * LONGEST : Infinity;
    const wanted = Math.max(ms, performance.now() - this.#startedAt + LAST_COUNT_MS);
    this.#endsAt = this.#startedAt + Math.min(wanted, most) - showGift.LEAVE_MS;
    this.#show.update();
  }
}
