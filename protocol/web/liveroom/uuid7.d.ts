// Generated from liveroom/uuid7.js by `make types`. Do not edit.
/** A UUIDv7 (RFC 9562): its first 48 bits are the time, by which the server recognises an old id. */
/** @param {number} atMs Unix milliseconds, of the server's clock */
export declare function uuid7(atMs?: number): string;
