/** Who is watching which room: the room from the address, the token from the address or, in development, from the server. */

export const roomId = decodeURIComponent(location.pathname.split("/").filter(Boolean)[1] ?? "");

/** There is no token in the address, and this server gives none away. */
export class TokenNeeded extends Error {}

/**
 * @param {{role: "viewer"|"overlay", person: string}} as whom to enter in development
 * @returns {Promise<{getToken?: () => Promise<string>, token?: string, person?: string}>} what `join` takes; `person` in development
 */
export async function openSession({ role, person }) {
  const query = new URLSearchParams(location.search);
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? query.get("token");
  if (token) return { token };
  const user = query.get("user") ?? person;
  const getToken = async () => {
    const answer = await fetch(`/dev/token?${new URLSearchParams({ user, role, room: roomId })}`);
    if (answer.status === 404) throw new TokenNeeded();
    if (!answer.ok) throw new Error(`no token: ${answer.status}`);
    return (await answer.json()).token;
  };
  try {
    let first = await getToken();
    return { person: user, getToken: async () => { const given = first ?? await getToken(); first = null; return given; } };
  } catch (error) {
    if (error instanceof TokenNeeded) throw error;
    return { person: user, getToken }; // the server is away: the client asks again until it is back
  }
}

/** Why the server does not let us in, as far as a browser can find out: it never learns why an upgrade was refused. */
export async function whyNotLetIn() {
  try {
    const answer = await fetch(`/v1/rooms/${encodeURIComponent(roomId)}`);
    return answer.status === 404 ? "no_such_room" : answer.ok ? "not_let_in" : "unreachable";
  } catch {
    return "unreachable";
  }
}
