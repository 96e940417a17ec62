/** A React hook: joins a room while its component is shown, and gives what there is to draw. */
import { useEffect, useRef, useState } from "react";

import { join } from "liveroom.js";

/** @import { Options, RoomClient, Room, State } from "liveroom.js" */
/** @import { You } from "liveroom.js/wire" */
/** @typedef {{client: RoomClient|null, state: State, room: Room|null, you: You|null}} Joined */

/** @type {Joined} */
const NOT_YET = { client: null, state: { name: "connecting", reason: null }, room: null, you: null };

/**
 * @param {Options & {base: string, room: string}} options the room is joined again when `base` or `room` is another
 * @returns {Joined} `client` sends commands; `room` has the last 200 lines as `chat`
 */
export function useRoom({ base, room, ...others }) {
  const [joined, setJoined] = useState(NOT_YET);
  const newest = useRef(others);
  newest.current = others; // new functions at each rendering do not join again
  useEffect(() => {
    /** @param {Partial<Joined>} changed */
    const now = (changed) => setJoined((was) => ({ ...was, ...changed }));
    const client = join({
      ...newest.current, base, room,
      getToken: async () => await newest.current.getToken?.() ?? newest.current.token ?? "",
      onEvent: (event) => newest.current.onEvent?.(event),
      onState: (state) => now({ state }),
      onRoom: (folded) => now({ room: { ...folded } }),
      onYou: (you) => now({ you: { ...you } }),
    });
    now({ client });
    return () => { client.close(); setJoined(NOT_YET); };
  }, [base, room]);
  return joined;
}
