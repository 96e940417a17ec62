/** Mistakes in the JavaScript that nobody must ever make: `make mutants-js` always tries them. And which are none. */

const [SHARED, WATCH, OVERLAY] = ["server/web/shared/", "server/web/watch/", "server/web/overlay/"];
const [CLIENT, PARTS] = ["protocol/web/liveroom.js", "protocol/web/liveroom/"];

/** @type {[file: string, right: string, wrong: string][]} */
export const KNOWN = [
  // alerts
  [`${SHARED}alertqueue.js`, "other.tier > biggest.tier", "other.tier >= biggest.tier"],
  [`${SHARED}alertqueue.js`, "this.waiting.length > this.#longAt", "this.waiting.length < this.#longAt"],
  [`${SHARED}alertqueue.js`, "if (this.#seen.has(event.id)) return", "if (false) return"],
  [`${SHARED}alertqueue.js`, "if (alert.tier < BIG_TIER) {", "if (false) {"],
  [`${SHARED}alertqueue.js`, "other.tier < least.tier", "other.tier > least.tier"],
  [`${SHARED}alertqueue.js`, "Math.max(known.count, countOf(event))", "countOf(event)"],
  [`${SHARED}alertqueue.js`, "[...first, ...this.waiting]", "[...this.waiting]"],
  [`${SHARED}playalerts.js`, "ms * LONGEST", "Infinity"],
  [`${SHARED}playalerts.js`, "this.#queue.current = null;", ""],
  [`${SHARED}streak.js`, "(combo ? `", "(combo ? combo.id || `"],
  [`${SHARED}giftshow.js`, "!reducedMotion() && ", ""],
  [`${SHARED}dom.js`, "element.textContent = String(text)", "element.innerHTML = String(text)"],
  [`${SHARED}dom.js`, "value < 10_000", "value < 100_000"],
  [`${SHARED}session.js`, "if (error instanceof TokenNeeded) throw error;", ""],
  // the watch page
  [`${WATCH}tray.js`, "this.#rows.size >= ROWS", "this.#rows.size > ROWS"],
  [`${WATCH}tray.js`, "a.tier - b.tier || a.touched - b.touched", "a.touched - b.touched"],
  [`${WATCH}tray.js`, "clearTimeout(row.timer);\n    row.timer", "row.timer"],
  [`${WATCH}chat.js`, "this.#waiting.length > LINES_KEPT) this.#waiting.shift()", "false) this.#waiting.shift()"],
  [`${WATCH}chat.js`, "while (this.#list.childElementCount > LINES_KEPT)", "while (false)"],
  [`${WATCH}chat.js`, "this.#toBottom();\n    else this.#newer.hidden = false", "this.#newer.hidden = false"],
  [`${WATCH}chat.js`, "if (document.hidden) setTimeout", "if (false) setTimeout"],
  [`${WATCH}lines.js`, "all += count;", "all = count;"],
  [`${WATCH}composer.js`, "if (input.value === typed) input.value", "input.value"],
  [`${WATCH}giving.js`, "gift.coins <= this.#left", "gift.coins < this.#left"],
  [`${WATCH}giving.js`, "- this.#inFlight", ""],
  [`${WATCH}giving.js`, "{ ...asked, id: refused.id }", "null"],
  [`${WATCH}giving.js`, "at - last.at < REST_MS", "false"],
  [`${WATCH}giving.js`, "if (this.#streak === streak) this.#streak = null;", ""],
  [`${WATCH}giftpanel.js`, "this.#giving.chosen === gift && gift.streakable", "this.#giving.chosen === gift"],
  [`${WATCH}giftpanel.js`, "this.#button.disabled = !ready;", "this.#button.disabled = false;"],
  [`${WATCH}likes.js`, "this.#mine -= own;", ""],
  [`${WATCH}likes.js`, "Math.min(MOST_AT_ONCE, this.#taps)", "this.#taps"],
  [`${WATCH}board.js`, "rank.coins / most", "rank.coins"],
  [`${WATCH}refusals.js`, "if (!free) onFree();", "onFree();"],
  [`${WATCH}connection.js`, "clearInterval(this.#timer);", ""],
  [`${WATCH}floaters.js`, "|| document.hidden", ""],
  [`${WATCH}sheet.js`, "narrow.matches && !open", "!open"],
  [`${WATCH}stage.js`, "this.#closed ?? this.#status", "this.#status ?? this.#closed"],
  [`${WATCH}watch.js`, "!event.replayed || this.#joined", "this.#joined"],
  [`${WATCH}watch.js`, "else this.#filled = false;", ""],
  [`${OVERLAY}overlay.js`, "this.#saveTimer = undefined;", ""],
  [`${OVERLAY}overlay.js`, "since: saved?.since,", ""],
  // the client
  [`${PARTS}backoff.js`, "Math.random() * ", ""],
  [`${PARTS}backoff.js`, "2 ** this.#attempt++", "2 ** this.#attempt"],
  [`${PARTS}seen.js`, "n < this.#newest[1]", "n > this.#newest[1]"],
  [`${PARTS}seen.js`, "epoch < this.#newest[0] || ", ""],
  [`${PARTS}seen.js`, "if (!same || !resumed)", "if (same && !resumed)"],
  [`${PARTS}seen.js`, "same && gap ? Math.min(gap.to, seq) : 0", "0"],
  [`${PARTS}seen.js`, "if (seq <= this.#seq) return false;", ""],
  [`${PARTS}seen.js`, "return seq <= this.#snapshotSeq", "return seq < this.#snapshotSeq"],
  [`${PARTS}seen.js`, "if (this.#ids.has(id)) return false;", ""],
  [`${PARTS}unanswered.js`, "if (!again) this.#giveUp", "this.#giveUp"],
  [`${PARTS}unanswered.js`, "clearTimeout(waiting?.timer);", ""],
  [`${PARTS}room.js`, "if (!counted) handlerOf", "handlerOf"],
  [`${PARTS}folds/gifts.js`, "if (test) return;", ""],
  [`${PARTS}folds/viewers.js`, "peak: now, unique: now", "peak: 0, unique: 0"],
  [`${PARTS}closes.js`, "code >= 4500", "code > 4500"],
  [CLIENT, "(code === 4003 || !opened)", "!opened"],
  [CLIENT, "if (!reply.duplicate) this.#setCoins", "this.#setCoins"],
  [CLIENT, "this.#heartbeatMs * 2", "this.#heartbeatMs"],
  [CLIENT, "if (socket === this.#socket) this.#receive", "this.#receive"],
  [CLIENT, "for (const command of this.#unanswered.repeatable) this.#say(command);", ""],
];

/**
 * Mistakes that change nothing that anybody can see: each change, the line of code that it stands in, and why.
 * @type {{file: string, line: string, change: string, why: string}[]}
 */
export const ARGUED = [
];
