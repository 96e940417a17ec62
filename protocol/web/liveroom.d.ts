// Generated from liveroom.js by `make types`. Do not edit.
import { Refused } from "./liveroom/refused.js";
import { uuid7 } from "./liveroom/uuid7.js";
import type { ChatSent, Command, Gap, Message, Notice, Replies, RoomEvent, SendGift } from "./wire.js";
import type { Snapshot, You } from "./wire.js";
export type StateName = "connecting" | "live" | "reconnecting" | "closed";
export type State = {
    name: StateName;
    /**
     * why it is not live: the name of a close code, or `no_token`, `not_let_in`, ...
     * After `closed` with `room_ended` it joins the next broadcast by itself, unless you call `close`.
     */
    reason: string | null;
    /**
     * the close code
     */
    code?: number;
    /**
     * while `reconnecting`: when the next try is
     */
    retry_in_ms?: number;
    /**
     * false when the server did not let us in this time: it refused, or could not be reached
     */
    opened?: boolean;
};
export type ChatLine = ChatSent | Notice | (Gap & {
    type: "gap";
});
export type Room = Snapshot & {
    chat: ChatLine[];
};
export type Options = {
    /**
     * room id, with `base` (default: this page's origin; a path in it is kept); or the whole
     * socket address as `url`
     */
    room?: string;
    base?: string;
    url?: string;
    /**
     * a fixed token; or `getToken`, which is called again when the last token may be the cause
     */
    token?: string;
    getToken?: () => (string | Promise<string>);
    /**
     * position "epoch:seq" to resume from (see `client.since`)
     */
    since?: string | null;
    /**
     * how many of the newest chats, <= 50, to get `replayed` on joining and after a gap
     */
    chats?: number;
    /**
     * how long a command waits for its reply (10 s); a gift waits two minutes
     */
    timeoutMs?: number;
    /**
     * the connection changed
     */
    onState?: (state: State) => void;
    /**
     * a room event, once; `replayed` ones too. `client.since` moves
     * when it has returned, or when the promise that it gave is settled
     */
    onEvent?: (event: RoomEvent) => unknown;
    /**
     * the folded room changed
     */
    onRoom?: (room: Room) => void;
    /**
     * events were missed for good; the snapshot replaced the room
     */
    onGap?: (gap: Gap) => void;
    onNotice?: (notice: Notice) => void;
    /**
     * what this socket alone was told, such as a warning of the staff
     */
    onMessage?: (message: Message) => void;
    /**
     * your coins, role or mute changed
     */
    onYou?: (you: You) => void;
    /**
     * the class to connect with, instead of the browser's own
     */
    WebSocket?: typeof WebSocket;
};
export { Refused, uuid7 };
/** @param {Options} options a mistake in them throws a TypeError */
export declare const join: (options: Options) => RoomClient;
export declare class RoomClient {
    #private;
    /** @type {Room|null} */
    room: Room | null;
    /** @type {You|null} who the server says you are, with your `coins` */
    you: You | null;
    /** @type {State} */
    state: State;
    /** @param {Options} options */
    constructor(options: Options);
    open(): this;
    /**
     * Waits until the client is live.
     * @returns {Promise<RoomClient>} itself; fails with a Refused whose `reason` says why it is out for good
     */
    ready(): Promise<RoomClient>;
    /** Leaves for good, and forgets the token. Commands without a reply are refused with `closed`. */
    close(): void;
    /** The position to resume from: behind the last event that was handled. Null before the first welcome. */
    get since(): string | null;
    /** Gifts and coins that this client saw, each gift id counted once, and how many of these coins were taken back. */
    get seen(): {
        gifts: number;
        coins: number;
        refunded: number;
    };
    serverNow(): number;
    /** @param {string} text @param {{waits?: boolean}} [options] */
    sendChat(text: string, options?: {
        waits?: boolean;
    }): Promise<import("./wire.js").SendChatOk>;
    /** @param {number} count taps, of which up to 50 count */
    sendLikes(count: number): Promise<import("./wire.js").Ok>;
    ping(): Promise<import("./wire.js").PingOk>;
    /**
     * Sends a gift exactly once: when the reply is lost, the same id goes out again after the reconnect and the server
     * answers `duplicate`. Every error carries the `id`. After `timeout`, `closed` and `wallet_unavailable` the outcome
     * is unknown: to try again, call with that `id` and the same gift, count, combo and message.
     * @param {Partial<SendGift> & {gift: string}} gift
     */
    sendGift({ gift, count, to, combo, message, anonymous, id }: Partial<SendGift> & {
        gift: string;
    }): Promise<import("./wire.js").SendGiftOk>;
    /**
     * Any command. After the first welcome it waits for a connection while there is none, behind at most 50 others.
     * @template {Command} C
     * @param {C} command
     * @param {{again?: boolean, waits?: boolean, timeoutMs?: number}} [options] `again`: it may be repeated safely, so it
     *   survives the loss of its connection. `waits`: false if it is worth nothing later
     * @returns {Promise<Replies[C["type"]]>}
     */
    send<C extends Command>(command: C, { again, waits, timeoutMs }?: {
        again?: boolean;
        waits?: boolean;
        timeoutMs?: number;
    }): Promise<Replies[C["type"]]>;
}
