/** The links that open the overlay. A link's key is shown once, here, and is in no address of this page. */
import { el } from "../shared/dom.js";

/** @typedef {{id: string, made_ms: number}} Link */

const NOTE = "Open it as a browser source, 1920 by 1080. Who has it sees your alerts: keep it off the stream.";
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export class Links {
  #path;
  #token;
  #list = el("ul", { testid: "links", "aria-label": "Links" });
  #made = el("div", { class: "made", hidden: "" });
  #said = el("p", { class: "note", role: "status" });

  /**
   * @param {HTMLElement} form
   * @param {string} room
   * @param {() => Promise<string>} token
   */
  constructor(form, room, token) {
    this.#path = `/v1/rooms/${encodeURIComponent(room)}/overlays`;
    this.#token = token;
    const make = el("button", { type: "button", class: "main", testid: "link-make", text: "Make a link" });
    make.addEventListener("click", () => this.#change("", "POST"));
    form.prepend(el("fieldset", {}, el("legend", { text: "Link" }),
      el("p", { class: "note", text: NOTE }),
      make, this.#made, this.#list, this.#said));
  }

  async start() {
    const found = await this.#ask("", "GET");
    if (found) this.#draw(/** @type {{overlays: Link[]}} */ (found).overlays);
  }

  /**
   * @param {string} path
   * @param {string} method
   * @returns {Promise<unknown>} null if it failed, and then it has been said
   */
  async #ask(path, method) {
    try {
      const headers = { Authorization: `Bearer ${await this.#token()}` };
      const answer = await fetch(this.#path + path, { method, headers, ...(method === "POST" && { body: "{}" }) });
      const body = await answer.json();
      this.#said.textContent = answer.ok ? "" : body.error.message;
      return answer.ok ? body : null;
    } catch {
      this.#said.textContent = "The server cannot be reached. Try again.";
      return null;
    }
  }
  /**
   * @param {string} path
   * @param {string} method
   */
  async #change(path, method) {
    const made = /** @type {{url?: string}|null} */ (await this.#ask(path, method));
    if (!made) return;
    this.#made.hidden = !made.url;
    this.#made.replaceChildren(...(made.url ? this.#shown(made.url) : []));
    await this.start();
  }
  /** @param {string} url */
  #shown(url) {
    const field = el("input",
      { type: "password", readonly: "", value: url, testid: "link-url", "aria-label": "New link" });
    const copy = el("button", { type: "button", testid: "link-copy", text: "Copy" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(url); // only where the page came over https:, or from this machine
        copy.textContent = "Copied";
      } catch {
        field.type = "text";
        field.select();
      }
    });
    return [field, copy];
  }

  /** @param {Link[]} links */
  #draw(links) {
    this.#list.replaceChildren(...links.map(({ id, made_ms }, n) => {
      const rotate = el("button", { type: "button", testid: "link-rotate", text: "New key" });
      const end = el("button", { type: "button", testid: "link-end", text: "End" });
      rotate.addEventListener("click", () => this.#change(`/${id}/rotate`, "POST"));
      end.addEventListener("click", () => this.#change(`/${id}`, "DELETE"));
      const name = `Link ${n + 1}`;
      for (const button of [rotate, end]) button.setAttribute("aria-label", `${button.textContent}: ${name}`);
      return el("li", { testid: "link", data: { id } },
        el("span", {}, el("b", { text: name }), el("span", { class: "note", text: day.format(made_ms) })), rotate, end);
    }));
  }
}
