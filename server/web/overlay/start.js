/** Starts the page. */
import { roomOf } from "../shared/session.js";
import { OverlayPage } from "./overlay.js";

new OverlayPage(roomOf(location.pathname)).start();
