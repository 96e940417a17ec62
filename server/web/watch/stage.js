/** The stage: who is live, the figures, and a curtain if there is nothing to watch. */
import { el, find, hue, initial, select, setValue } from "../shared/dom.js";

/** @import { Room } from "../liveroom.js" */

/** @type {Record<string, string>} */
const STATUS = { offline: "Offline", live: "Live", paused: "Paused", ended: "Ended", suspended: "Stopped" };
/** @type {Record<string, [title: string, text: string]>} by the room's status, or by why we are not in the room */
const CURTAINS = {
  offline: ["Not live yet", "The show has not started. Stay here, it begins by itself."],
  paused: ["Back in a moment", "The host has paused the stream."],
  ended: ["This live has ended", "Thank you for watching."],
  suspended: ["This live was stopped", "The platform has ended it."],
  room_ended: ["This live has ended", "Thank you for watching."],
  banned: ["You cannot watch this room", "You were removed by the host or a moderator."],
  token_revoked: ["Your access was withdrawn", "Open the room again from where you came."],
  protocol_error: ["This page has stopped", "Reload it to go on."],
  token_expired: ["Your access has expired", "Open the room again from where you came."],
  token_missing: ["A token is needed", "Open this room from your platform."],
  bad_token: ["Your access is not valid", "Open the room again from where you came."],
  wrong_room: ["Your access is for another room", "Open the room again from where you came."],
  unavailable: ["The room is full or away for a moment", "Trying again."],
  too_many_connections: ["You have too many pages open", "Close some of them. Trying again."],
  no_address: ["There is no room in this address", "It has the form /watch/room."],
  cannot_connect: ["This page cannot connect", "Open it with https://, or ask who runs this site."],
  no_such_room: ["There is no such room", "Check the address of this page."],
  not_let_in: ["The room does not let you in", "You may be banned, or the room is full. Trying again."],
  token_needed: ["A token is needed", "Open this room from your platform, or add #token=… to the address."],
};

export class Stage {
  /** @type {string|null} */
  #status = null;
  /** @type {string|null} */
  #closed = null;

  /** @param {Room} room */
  draw({ title, host, status, viewers, likes, coins }) {
    this.#status = status;
    document.title = `${title || host.name} · Liveroom`;
    find("room-title").textContent = title || host.name;
    find("host-name").textContent = host.name;
    for (const mark of document.querySelectorAll(".host-avatar, .host-initial")) mark.textContent = initial(host.name);
    select(".host-avatar", HTMLElement).className = `avatar host-avatar ${hue(host.user_id)}`;
    select(".stage-head", HTMLElement).hidden = false;
    const badge = find("room-status");
    badge.textContent = STATUS[status] ?? status;
    badge.dataset.status = status;
    find("stage").dataset.status = status;
    setValue(find("viewer-count"), viewers.now);
    setValue(find("likes"), likes);
    setValue(find("coins"), coins);
    this.#drawCurtain();
  }

  /** @param {string|null} reason why we are not in the room, or null when we are */
  close(reason) {
    this.#closed = reason;
    this.#drawCurtain();
  }

  #drawCurtain() {
    const curtain = find("curtain");
    const reason = this.#closed ?? this.#status ?? "";
    const words = CURTAINS[reason];
    curtain.hidden = !words;
    if (!words || curtain.dataset.reason === reason) return;
    curtain.dataset.reason = reason;
    const testid = reason === "token_needed" ? "token-needed" : null;
    curtain.replaceChildren(el("h2", { text: words[0] }), el("p", { text: words[1], testid }));
  }
}
