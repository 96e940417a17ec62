/** Who enters which room, and with which token. */
import assert from "node:assert/strict";

import { TokenNeeded, openSession, roomOf, whyNotLetIn } from "../../../server/web/shared/session.js";
import { openPage, testsOn } from "../support/page.js";

const test = testsOn("watch");
const AS = { room: "demo", role: /** @type {const} */ ("viewer"), person: "alice" };

test("the room comes from the address", () => {
  assert.deepEqual(["/watch/demo", "/overlay/a%2Fb/", "/watch", "/", "/watch/%zz"].map(roomOf),
    ["demo", "a/b", "", "", ""]);
});

test("a token in the address is used, the one behind # before the one in the query", async () => {
  openPage("watch", "/watch/demo?token=query#token=hash");
  assert.deepEqual(await openSession(AS), { token: "hash" });
  const page = openPage("watch", "/watch/demo?token=query&user=bob");
  assert.deepEqual(await openSession(AS), { token: "query" });
  assert.deepEqual(page.asked, []);
});

test("in development the server gives tokens: the first one is used first, then new ones are fetched", async () => {
  const page = openPage("watch", "/watch/demo?user=bo%20b");
  page.answers["/dev/token"] = { token: "given" };
  const session = await openSession(AS);
  assert.equal(session.person, "bo b");
  assert.deepEqual(page.asked, ["/dev/token?user=bo+b&role=viewer&room=demo"]);
  page.answers["/dev/token"] = { token: "another" };
  assert.equal(await session.getToken?.(), "given");
  assert.equal(page.asked.length, 1);
  assert.equal(await session.getToken?.(), "another");
});

test("a server that gives out no tokens needs one in the address", async (page) => {
  page.answers["/dev/token"] = 404;
  await assert.rejects(openSession(AS), TokenNeeded);
});

test("while the server is away the page opens, and asks again until it is back", async (page) => {
  for (const away of [undefined, 503]) {
    page.answers["/dev/token"] = away;
    const session = await openSession(AS);
    assert.equal(session.person, "alice");
    await assert.rejects(async () => session.getToken?.());
    page.answers["/dev/token"] = { token: "late" };
    assert.equal(await session.getToken?.(), "late");
  }
});

test("the room's API says why nobody is let in", async (page) => {
  const path = "/v1/rooms/a%2Fb";
  assert.equal(await whyNotLetIn("a/b"), "unreachable");
  page.answers[path] = 404;
  assert.equal(await whyNotLetIn("a/b"), "no_such_room");
  page.answers[path] = 503;
  assert.equal(await whyNotLetIn("a/b"), "unreachable");
  page.answers[path] = {};
  assert.equal(await whyNotLetIn("a/b"), "not_let_in");
});
