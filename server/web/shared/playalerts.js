/** Plays the alerts of a queue one after the other, each for its animation's time or as a plan says. */
import { LEAVE_MS, showGift, showMissed } from "./giftshow.js";

/** @import { GiftSent } from "../wire.js" */
/** @import { Alert, AlertQueue } from "./alertqueue.js" */
/** @import { Look, Show } from "./giftshow.js" */

const LAST_COUNT_MS = 1500; // a combo that grew at the end stays long enough to read it ...
const LONGEST = 3; // ... but while others wait, at most so many times its own time
const PAUSE_MS = 200;
const SHORTEST_MS = 800; // nobody could read less
const MISSED_MS = 2500;
const SPEECH_MS_MAX = 30_000; // an alert waits for its speech at most so long

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * How an alert is shown. `speech` says it aloud: the alert stays until it ends, or is skipped; `hush` ends it.
 * @typedef {Look & {ms?: number, pauseMs?: number, speech?: (hush: AbortSignal) => Promise<void>}} Plan
 */
/** @typedef {"started"|"finished"|"skipped"|"failed"} Stage */
/**
 * @typedef {object} Options
 * @property {string} [testid]
 * @property {() => void} [onChange] whenever the queue has changed
 * @property {(alert: Alert) => Plan | Promise<Plan>} [plan] asked before each alert
 * @property {(alert: Alert, stage: Stage) => void} [onStage]
 * @property {boolean} [paused]
 */

export class AlertPlayer {
  #queue;
  #layer;
  /** @type {Required<Options>} */
  #options;
  /** @type {Show|null} */
  #show = null;
  #startedAt = 0;
  #endsAt = 0;
  #ms = 0;
  #playing = false;
  #paused;
  #once = false; // one more, though paused
  #stopped = false;
  /** Ends the alert being shown. @type {AbortController|null} */
  #skip = null;

  /**
   * @param {AlertQueue} queue
   * @param {HTMLElement} layer
   * @param {Options} options
   */
  constructor(queue, layer, options = {}) {
    const nothing = () => {};
    const usual = { testid: "show", onChange: nothing, plan: () => ({}), onStage: nothing, paused: false };
    this.#queue = queue;
    this.#layer = layer;
    this.#options = { ...usual, ...options };
    this.#paused = this.#options.paused;
    this.#play();
  }

  /** @param {GiftSent} event */
  offer(event) {
    const taken = this.#queue.offer(event);
    if (taken === "updated") this.#prolong();
    this.#options.onChange();
    this.wake();
    return taken;
  }
  /** Something new may wait. */
  wake() { if (!this.#playing) this.#play(); }
  /** No other alert begins. */
  pause() { this.#paused = true; }
  resume() {
    this.#paused = false;
    this.wake();
  }
  /** Ends the alert being shown, if it is of this gift. @param {string|null} [id] */
  skip(id) {
    if (!id || this.#queue.current?.ids.includes(id)) this.#skip?.abort();
  }
  /** Shows the next alert now, also while paused. */
  next() {
    this.#once = this.#queue.waiting.length > 0;
    this.skip();
    this.wake();
  }
  /** Ends for good: the alert being shown waits again. */
  stop() {
    this.#stopped = true;
    this.#queue.putBack();
    this.#skip?.abort();
  }

  #take() {
    if (this.#stopped || (this.#paused && !this.#once)) return null;
    this.#once = false;
    return this.#queue.next();
  }

  async #play() {
    this.#playing = true;
    do {
      for (let alert = this.#take(); alert; alert = this.#take()) {
        await this.#playOne(alert);
        this.#options.onChange();
      }
      const missed = this.#stopped ? 0 : this.#queue.takeMissed();
      if (missed) await this.#endWith(missed);
    } while (!this.#paused && !this.#stopped && this.#queue.waiting.length);
    this.#playing = false;
    if (this.#once && this.#queue.waiting.length) this.wake();
  }

  /** @param {Alert} alert */
  async #playOne(alert) {
    this.#options.onChange();
    const skip = this.#skip = new AbortController();
    /** @type {Plan} */
    let plan = {};
    try {
      const made = this.#options.plan(alert);
      plan = made instanceof Promise ? await made : made;
      if (!skip.signal.aborted) await this.#showOne(alert, plan, skip.signal);
      this.#ended(alert, skip.signal.aborted ? "skipped" : "finished");
    } catch (error) { // the alerts that wait must not suffer from it
      console.error(error);
      this.#ended(alert, "failed");
    }
    const show = this.#show;
    this.#show = null;
    await show?.leave();
    await sleep(plan.pauseMs ?? PAUSE_MS);
  }
  /**
   * @param {Alert} alert
   * @param {Stage} stage
   */
  #ended(alert, stage) {
    this.#skip = null;
    if (this.#stopped) return; // it waits again
    this.#queue.end(alert); // from here on, more of this combo is a new alert
    this.#options.onStage(alert, stage);
  }
  /**
   * @param {Alert} alert
   * @param {Plan} plan
   * @param {AbortSignal} skip
   */
  async #showOne(alert, plan, skip) {
    this.#startedAt = performance.now();
    this.#ms = plan.ms ?? alert.gift.animation.duration_ms;
    this.#endsAt = this.#startedAt + Math.max(SHORTEST_MS, this.#ms * this.#queue.pace) - LEAVE_MS;
    this.#show = showGift(this.#layer, alert, this.#options.testid, plan);
    this.#options.onStage(alert, "started");
    const spoken = plan.speech?.(skip).catch(() => {}); // an alert without its speech is an alert
    while (!skip.aborted && performance.now() < this.#endsAt) await this.#until(this.#endsAt, skip);
    if (spoken && !skip.aborted) await Promise.race([spoken, this.#until(performance.now() + SPEECH_MS_MAX, skip)]);
  }
  /**
   * @param {number} endsAt
   * @param {AbortSignal} skip
   * @returns {Promise<void>}
   */
  #until(endsAt, skip) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, endsAt - performance.now());
      function done() {
        clearTimeout(timer);
        skip.removeEventListener("abort", done);
        resolve();
      }
      skip.addEventListener("abort", done);
    });
  }

  /** @param {number} missed how many alerts could not be shown */
  async #endWith(missed) {
    const show = showMissed(this.#layer, missed);
    await sleep(MISSED_MS - LEAVE_MS);
    await show.leave();
  }

  #prolong() {
    const most = this.#queue.waiting.length ? this.#ms * LONGEST : Infinity;
    const wanted = Math.max(this.#ms, performance.now() - this.#startedAt + LAST_COUNT_MS);
    this.#endsAt = this.#startedAt + Math.min(wanted, most) - LEAVE_MS;
    this.#show?.update();
  }
}
