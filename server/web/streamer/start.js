/** Starts the page. */
import { roomOf } from "../shared/session.js";
import { StreamerPage } from "./streamer.js";

new StreamerPage(roomOf(location.pathname)).start();
