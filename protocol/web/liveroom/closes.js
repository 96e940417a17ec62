/** Why a socket was closed, and whether to come back. */

/** @type {Record<number, string>} */
const REASONS = {
  1001: "going_away", 1002: "protocol_error", 1003: "protocol_error", 1007: "protocol_error", 1008: "protocol_error",
  1009: "protocol_error", 1010: "protocol_error", 4001: "draining", 4002: "slow_reader", 4003: "token_expired",
  4004: "unresponsive", 4005: "internal", 4006: "unavailable", 4007: "too_many_connections",
  4008: "room_restarts", 4500: "banned", 4501: "room_ended", 4502: "protocol_error", 4503: "token_revoked",
  4510: "token_missing", 4511: "bad_token", 4512: "wrong_room", 4513: "no_such_room",
};
const RFC_FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010]; // RFC 6455's own: an end, or the peer did wrong

/** @param {number} code */
export const isFinal = (code) => RFC_FINAL.includes(code) || (code >= 4500 && code <= 4999);

/** @param {number} code */
export const reasonOf = (code) => REASONS[code];

/**
 * How long the server asks us to stay away, or 0.
 * @param {string} [reason] the text of the close
 */
export const retryAfterMs = (reason) => Number(/^retry_after_ms=(\d{1,9})$/.exec(reason ?? "")?.[1] ?? 0);
