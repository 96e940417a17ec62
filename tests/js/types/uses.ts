/** What a page in TypeScript has of the published types: tsc says when one of these lines means something else. */
import { type Room, type RoomClient, Refused, join, uuid7 } from "../../../protocol/web/liveroom.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(): T | undefined => undefined;

const client: RoomClient = join({
  room: "demo",
  getToken: async () => "a token",
  onEvent: (event) => {
    if (event.type === "gifts.sent") holds<Equal<typeof event.combo, { id: string; count: number } | null>>();
    if (event.type === "chat.sent") holds<Equal<typeof event.text, string>>();
    // @ts-expect-error: there is no such event
    if (event.type === "gifts.send") return;
    // @ts-expect-error: not every event has a text
    event.text.trim();
  },
  onRoom: (room: Room) => {
    holds<Equal<typeof room.viewers.now, number>>();
    // @ts-expect-error: it may be null
    room.started_at_ms.toFixed();
  },
  onState: ({ name }) => holds<Equal<typeof name, "connecting" | "live" | "reconnecting" | "closed">>(),
});
// @ts-expect-error: an option that does not exist
join({ room: "demo", onevent: () => {} });

export async function give(): Promise<string> {
  const { coins, duplicate } = await client.sendGift({ gift: "rose", count: 5, id: uuid7(client.serverNow()) });
  holds<Equal<typeof coins, number>>();
  // @ts-expect-error: a gift has a name
  await client.sendGift({ count: 5 });
  const { server_time_ms } = await client.send({ type: "ping" });
  // @ts-expect-error: likes have a count
  await client.send({ type: "likes.send" });
  // @ts-expect-error: no such command
  await client.send({ type: "chat.sent", text: "x" });
  return `${coins} ${duplicate} ${server_time_ms}`;
}

export function why(error: unknown): string {
  if (!(error instanceof Refused)) return "";
  return error.reason === "insufficient_coins" ? `${error.need} ${error.have}` : error.reason; // an open list
}
