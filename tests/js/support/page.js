/** A page without a browser: its own HTML in happy-dom, its requests to the server, and its animations. */
import { readFileSync } from "node:fs";
import { mock } from "node:test";

import { Window } from "happy-dom";

import { timed } from "./clock.js";
import { AsWebSocket, FakeSocket } from "./socket.js";

const ORIGIN = "http://127.0.0.1:8000";
const FROM_WINDOW = ["document", "location", "sessionStorage", "localStorage", "Element", "HTMLElement",
  "HTMLInputElement", "HTMLButtonElement", "Event", "MouseEvent", "KeyboardEvent", "innerWidth"];

/** @typedef {{frames: Record<string, unknown>[], options: any, onfinish?: () => void, oncancel?: () => void}} Motion */

/** What a test gets of a page. */
export class OpenPage {
  /** @type {Motion[]} every animation that was started */
  motions = [];
  /** @type {(() => void)[]} what waits for the next frame */
  #frames = [];
  /** @type {(() => void)[]} who wants to know that an element has another size */
  resized = [];
  /** @type {Record<string, unknown>} by path: what the server answers; a number is a status without a body */
  answers = {};
  /** @type {string[]} what was asked of the server */
  asked = [];
  calm = false;
  narrow = false;
  hidden = false;

  /**
   * @param {string} address
   * @param {string} html
   */
  constructor(address, html) {
    this.window = new Window({ url: `${ORIGIN}${address}` });
    this.window.document.write(html);
    for (const name of FROM_WINDOW) define(name, Reflect.get(this.window, name));
    define("addEventListener", this.window.addEventListener.bind(this.window));
    define("removeEventListener", this.window.removeEventListener.bind(this.window));
    define("requestAnimationFrame", (/** @type {() => void} */ draw) => this.#frames.push(draw));
    define("matchMedia", (/** @type {string} */ query) => this.#media(query));
    define("ResizeObserver", observerOf(this.resized));
    define("WebSocket", AsWebSocket);
    define("fetch", (/** @type {string} */ path) => this.#fetch(path));
    Object.defineProperty(this.window.document, "hidden", { get: () => this.hidden });
    this.#letMove();
    FakeSocket.opened = [];
  }

  /**
   * @param {string} testid
   * @returns {any} the element with this data-testid
   */
  find(testid) { return this.window.document.querySelector(`[data-testid="${testid}"]`); }
  /**
   * @param {string} testid
   * @returns {any[]} all of them
   */
  all(testid) { return [...this.window.document.querySelectorAll(`[data-testid="${testid}"]`)]; }
  /** @param {string} testid */
  texts(testid) { return this.all(testid).map(({ textContent }) => textContent); }
  /** Draws a frame. */
  draw() {
    for (const draw of this.#frames.splice(0)) draw();
  }

  /** @param {string} query */
  #media(query) {
    const matches = () => (query.includes("reduced-motion") ? this.calm : this.narrow);
    return { get matches() { return matches(); }, addEventListener: () => {} };
  }
  /** @param {string} path */
  async #fetch(path) {
    this.asked.push(path);
    const answer = this.answers[path.split("?")[0] ?? ""];
    if (answer === undefined) throw new TypeError("fetch failed");
    const status = typeof answer === "number" ? answer : 200;
    return { ok: status === 200, status, json: async () => answer };
  }
  /** Animations end when the test says so. */
  #letMove() {
    const { motions } = this;
    /** @type {any} what happy-dom has of animations does not run on our clock */
    const elements = this.window.Element.prototype;
    /**
     * @param {any} frames
     * @param {any} options
     */
    elements.animate = (frames, options) => {
      /** @type {Motion} */
      const motion = { frames, options };
      motions.push(motion);
      return Object.assign(motion, { cancel: () => motion.oncancel?.() });
    };
    elements.getAnimations = () => [];
  }
}

/**
 * A page's own HTML, at its address.
 * @param {"watch"|"overlay"} name
 * @param {string} address
 */
export function openPage(name = "watch", address = `/${name}/demo`) {
  const html = readFileSync(new URL(`../../../server/web/${name}/index.html`, import.meta.url), "utf8");
  return new OpenPage(address, html.replaceAll(/<(link|script)[^>]*>/g, ""));
}

/**
 * Tests on a page of their own, with a clock of their own.
 * @param {"watch"|"overlay"} of
 * @returns {(name: string, body: (page: OpenPage) => void | Promise<void>) => void}
 */
export const testsOn = (of) => (name, body) => timed(name, () => body(openPage(of)));

/** Collects the errors that are logged, instead of logging them. */
export const heardErrors = () => mock.method(console, "error", () => {}).mock;

/**
 * @param {string} name
 * @param {unknown} value
 */
function define(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** @param {(() => void)[]} observers */
const observerOf = (observers) => class {
  /** @param {() => void} changed */
  constructor(changed) { observers.push(changed); }
  observe() {}
};
