/** What a tap sends, what is affordable, and what makes a streak. */
import assert from "node:assert/strict";

import { Giving } from "../../../server/web/watch/giving.js";
import { pass, settled, timed as test } from "../support/clock.js";
import { onOffer } from "../support/wire.js";

/** @import { SendGiftOk } from "../../../protocol/web/wire.js" */
/** @import { Asked } from "../../../server/web/watch/giving.js" */

const [ROSE, HEART, CASTLE] = [onOffer("rose", 1), onOffer("heart", 5), onOffer("castle", 5000, false, 4)];

/** @type {SendGiftOk} */
const OK = {
  type: "ok", ref: null, id: "g", duplicate: false, coins: 0, combo: null, entry: "1-1", message_left_out: null,
};

/** A viewer with 10,000 coins who has chosen roses; the test answers what is sent. */
function giving() {
  /** @type {{asked: Asked, answer: (fields?: Partial<SendGiftOk>) => void, refuse: (reason: string) => void}[]} */
  const sent = [];
  const given = new Giving((asked) => new Promise((resolve, reject) => {
    const refuse = (/** @type {string} */ reason) => reject(Object.assign(new Error(reason), { reason, id: "the-id" }));
    sent.push({ asked, answer: (fields) => resolve({ ...OK, ...fields }), refuse });
  }), () => {});
  given.chosen = ROSE;
  given.coins = 10_000;
  return { given, sent };
}

/**
 * A tap that counts, sent.
 * @param {Giving} given
 * @param {string} message
 */
function tap(given, message = "") {
  const made = given.tap(message);
  assert.ok(made);
  const done = given.send(made).catch((refused) => refused.reason);
  return { ...made, done };
}

test("gifts under way reduce what is affordable", async () => {
  const { given, sent } = giving();
  given.chosen = CASTLE;
  assert.deepEqual([given.ready, given.cost, given.short, given.affords(CASTLE)], [true, 5000, 0, true]);
  given.quantity = 2;
  assert.equal(given.ready, true);
  given.quantity = 5;
  assert.deepEqual([given.ready, given.short, given.tap("")], [false, 15_000, null]);
  given.quantity = 1;
  const first = tap(given);
  await pass(700);
  tap(given);
  await pass(700);
  assert.deepEqual([given.ready, given.short, given.affords(CASTLE), given.affords(ROSE)], [false, 5000, false, false]);
  given.coins = 5000;
  sent[0]?.answer();
  await first.done;
  assert.deepEqual([given.short, given.affords(CASTLE)], [5000, false]);
  sent[1]?.refuse("unavailable");
  await settled();
  assert.equal(given.short, 0);
});

test("while the balance is unknown any gift may be tried", () => {
  const { given } = giving();
  given.chosen = CASTLE;
  given.coins = null;
  given.quantity = 99;
  assert.deepEqual([given.ready, given.short], [true, 0]);
});

test("nothing is given while gifts are closed, or before one is chosen", () => {
  const { given } = giving();
  given.open = false;
  assert.deepEqual([given.ready, given.tap("")], [false, null]);
  given.open = true;
  given.chosen = null;
  assert.deepEqual([given.ready, given.tap(""), given.cost], [false, null, 0]);
});

test("a question that was taken back is asked again", async () => {
  const { given } = giving();
  given.withdraw();
  given.askAbove = 1000;
  given.chosen = CASTLE;
  assert.equal(given.tap(""), null);
  given.withdraw();
  assert.equal(given.asking, false);
  await pass(1000);
  assert.deepEqual([given.tap(""), given.asking], [null, true]);
});

test("above the limit a second tap is needed: later than a double click, soon, and for the same", async () => {
  const { given } = giving();
  given.askAbove = 1000;
  given.chosen = CASTLE;
  assert.deepEqual([given.tap(""), given.asking], [null, true]);
  await pass(690);
  assert.equal(given.tap(""), null);
  await pass(700);
  assert.ok(given.tap(""));
  assert.equal(given.asking, false);
  await pass(1000);
  assert.equal(given.tap(""), null);
  await pass(6000);
  assert.deepEqual([given.asking, given.tap(""), given.asking], [false, null, true]);
  await pass(1000);
  given.chosen = HEART;
  given.quantity = 999;
  assert.deepEqual([given.asking, given.tap("")], [false, null]);
});

test("many small taps count together; after a rest, or a yes, they count from the start", async () => {
  const { given } = giving();
  given.askAbove = 10;
  given.chosen = HEART;
  assert.ok(given.tap(""));
  assert.ok(given.tap(""));
  assert.equal(given.tap(""), null);
  await pass(700);
  assert.ok(given.tap(""));
  assert.ok(given.tap(""));
  await pass(10_000);
  assert.ok(given.tap(""));
});

test("taps of one gift within three seconds of each other are one streak", async () => {
  const { given } = giving();
  const first = tap(given);
  await pass(2990);
  const second = tap(given);
  assert.equal(second.asked.combo, first.asked.combo);
  await pass(2990);
  assert.equal(given.streak?.id, first.asked.combo);
  await pass(10);
  assert.equal(given.streak, null);
  assert.notEqual(tap(given).asked.combo, first.asked.combo);
});

test("another gift is another streak, and a gift without streaks has none", async () => {
  const { given } = giving();
  const rose = tap(given);
  given.chosen = HEART;
  assert.equal(given.streak, null);
  const heart = tap(given);
  assert.notEqual(heart.asked.combo, rose.asked.combo);
  given.chosen = CASTLE;
  const castle = tap(given);
  assert.deepEqual([castle.asked.combo, castle.streak], [undefined, null]);
});

test("the streak's count is the server's, or what was sent, and never falls", async () => {
  const { given, sent } = giving();
  given.quantity = 5;
  const [one, two, three] = [tap(given), tap(given), tap(given)];
  sent[1]?.answer({ combo: { id: "x", count: 10 } });
  assert.equal(await two.done, true);
  assert.equal(given.streak?.count, 10);
  sent[0]?.answer({ combo: { id: "x", count: 5 } });
  await one.done;
  assert.equal(given.streak?.count, 10);
  sent[2]?.answer();
  await three.done;
  assert.equal(given.streak?.count, 15);
});

test("a reply that comes after the streak is over changes nothing", async () => {
  const { given, sent } = giving();
  const { done } = tap(given);
  await pass(3000);
  sent[0]?.answer();
  assert.equal(await done, false);
});

test("two taps at once are one gift, where taps make no streak", async () => {
  const { given } = giving();
  given.chosen = CASTLE;
  tap(given);
  await pass(690);
  assert.equal(given.tap(""), null);
  await pass(690);
  assert.equal(given.tap(""), null);
  await pass(700);
  assert.ok(given.tap(""));
  given.chosen = ROSE;
  assert.ok(given.tap(""));
  assert.ok(given.tap(""));
});

for (const reason of ["timeout", "connection_lost", "wallet_unavailable"]) {
  test(`after ${reason} the same gift goes out again under its id, and so is paid once`, async () => {
    const { given, sent } = giving();
    const { asked, done } = tap(given, "Hello!");
    sent[0]?.refuse(reason);
    assert.equal(await done, reason);
    assert.deepEqual(tap(given, "Hello!").asked, { ...asked, id: "the-id" });
    assert.equal(tap(given, "Hello!").asked.id, undefined);
  });
}

test("after any other refusal, or with another gift, count or message, it is a new gift", async () => {
  /** @type {[reason: string, change: (given: Giving) => void, message: string][]} */
  const cases = [
    ["insufficient_coins", () => {}, "Hi"], ["timeout", (given) => { given.chosen = HEART; }, "Hi"],
    ["timeout", (given) => { given.quantity = 5; }, "Hi"], ["timeout", () => {}, "Hi!"],
  ];
  for (const [reason, change, message] of cases) {
    const { given, sent } = giving();
    const { done } = tap(given, "Hi");
    sent[0]?.refuse(reason);
    await done;
    change(given);
    assert.equal(tap(given, message).asked.id, undefined);
  }
});
