/** Who watches which room. The room is in the address; so is the token, or in development the server makes one. */

/** The address has no token, and this server does not hand them out. */
export class TokenNeeded extends Error {}

/**
 * The room of a page: `/watch/<room>`.
 * @param {string} path
 * @returns {string} "" if there is none
 */
export function roomOf(path) {
  try {
    return decodeURIComponent(path.split("/").filter(Boolean)[1] ?? "");
  } catch {
    return ""; // a % without its two digits
  }
}

/**
 * What `join` takes. `person` in development: who entered.
 * @typedef {{getToken?: () => Promise<string>, token?: string, person?: string}} Session
 */

/**
 * @param {{room: string, role: "viewer"|"overlay"|"host", person: string}} as whom to enter in development
 * @returns {Promise<Session>}
 */
export async function openSession({ room, role, person }) {
  const query = new URLSearchParams(location.search);
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? query.get("token");
  if (token) return { token };
  const user = query.get("user") ?? person;
  const getToken = () => freeToken(new URLSearchParams({ user, role, room }));
  try {
    /** @type {string|null} */
    let first = await getToken();
    const firstToken = async () => {
      const given = first ?? await getToken();
      first = null;
      return given;
    };
    return { person: user, getToken: firstToken };
  } catch (error) {
    if (error instanceof TokenNeeded) throw error;
    return { person: user, getToken }; // the server is away: the client asks again until it is back
  }
}

/**
 * @param {URLSearchParams} whose
 * @returns {Promise<string>}
 */
async function freeToken(whose) {
  const answer = await fetch(`/dev/token?${whose}`);
  if (answer.status === 404) throw new TokenNeeded();
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return (await answer.json()).token;
}

/**
 * Why the server does not let us in, as far as we can find out: a browser does not see why an upgrade was refused.
 * @param {string} room
 */
export async function whyNotLetIn(room) {
  try {
    const answer = await fetch(`/v1/rooms/${encodeURIComponent(room)}`);
    if (answer.status === 404) return "no_such_room";
    return answer.ok ? "not_let_in" : "unreachable";
  } catch {
    return "unreachable";
  }
}
