// Generated from liveroom/refused.js by `make types`. Do not edit.
/** A command that was not carried out, and why. */
/** @import { Open, Refusal } from "../wire.js" */
import type { Open, Refusal } from "../wire.js";
export declare class Refused extends Error {
    /** @override */
    name: string;
    /**
     * The last five are our own: see `send`.
     * @type {Open<Refusal | "timeout" | "connection_lost" | "not_connected" | "queue_full" | "closed">}
     */
    reason: Open<Refusal | "timeout" | "connection_lost" | "not_connected" | "queue_full" | "closed">;
    /** @type {number|null} when to try again */
    retry_after_ms: number | null;
    /** @type {string|undefined} of a gift */
    id: string | undefined;
    /** @type {number|undefined} coins, of `insufficient_coins` */
    need: number | undefined;
    /** @type {number|undefined} coins, of `insufficient_coins` */
    have: number | undefined;
    /** @type {number|undefined} of `spend_limit` */
    resets_at_ms: number | undefined;
    /** @param {{reason: string, message?: string}} reply with the reason's own fields */
    constructor({ message, ...reply }: {
        reason: string;
        message?: string;
    });
}
