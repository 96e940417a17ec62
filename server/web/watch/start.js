/** Starts the page. */
import { roomOf } from "../shared/session.js";
import { WatchPage } from "./watch.js";

new WatchPage(roomOf(location.pathname)).start();
