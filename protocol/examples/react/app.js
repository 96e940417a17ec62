/** A component on the hook: the newest messages, and a button that gives a rose. */
import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import { useRoom } from "./useRoom.js";

/** @param {{base: string, room: string, token: string}} props */
function LiveRoom(props) {
  const { client, state, room, you } = useRoom({ ...props, getToken: () => props.token, chats: 20 });
  const [problem, setProblem] = useState("");
  const give = () => client?.sendGift({ gift: "rose" }).then(() => setProblem(""), ({ message }) => setProblem(message));
  return h("main", null,
    h("h1", null, room?.title ?? "..."),
    h("p", { id: "state" }, state.name),
    h("p", { id: "coins" }, room && `${room.coins} coins`),
    h("ol", null, room?.chat.map((line, at) => h("li", { key: "id" in line ? line.id : at },
      line.type === "chat.sent" ? `${line.user.name}: ${line.text}` : "(some messages are missing)"))),
    h("button", { disabled: state.name !== "live", onClick: give }, `Give a rose (you have ${you?.coins ?? "?"} coins)`),
    h("p", { role: "status" }, problem));
}

const props = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const root = /** @type {HTMLElement} */ (document.getElementById("root"));
createRoot(root).render(h(StrictMode, null, h(LiveRoom, /** @type {any} */ (props))));
