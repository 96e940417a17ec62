/** The place of a poll. It stays empty until a server has polls: `polls.started`, `polls.counted` and `polls.ended`. */
import { el } from "../../shared/dom.js";

export class PollWidget {
  element = el("section", { class: "widget poll", testid: "overlay-poll", hidden: "" });
}
