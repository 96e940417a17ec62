/** What a client has seen already: events, balances, gifts and chats. Some arrive again, or in another order. */
/** @import { ChatDeleted, ChatSent, Gap, GiftRefunded, GiftSent, RoomEvent } from "../wire.js" */

const GIFT_IDS_REMEMBERED = 5_000;
const CHAT_IDS_REMEMBERED = 1_000; // a gap brings back the newest 50 at most

/** Where a client is in its room's history: which events are new to it, and which the snapshot has counted already. */
export class Position {
  /** @type {string|null} */
  #epoch = null;
  #seq = 0; // of the newest event received
  #snapshotSeq = 0;
  #resumed = false;
  #replays = 0; // events of a gap that are still to come ...
  /** @type {string|null} */
  #cameWith = null; // ... until then we come back with the position of before

  /** @param {string|null} [since] an earlier position: "epoch:seq" */
  constructor(since) {
    const [epoch, seq] = (since ?? "").split(/:(?=\d+$)/);
    if (epoch && seq) [this.#epoch, this.#seq, this.#resumed] = [epoch, Number(seq), true];
  }

  /** Where to resume from, or null before the first welcome. While a replay runs, it is where the replay got to. */
  get since() {
    if (this.#replays > 0) return this.#cameWith;
    return this.#epoch && `${this.#epoch}:${this.#resumed ? this.#seq : Math.max(this.#seq, this.#snapshotSeq)}`;
  }

  /** @param {{epoch: string, seq: number, resumed: boolean, gap: Gap | null, replays?: number}} welcome */
  enter({ epoch, seq, resumed, gap, replays = 0 }) {
    [this.#cameWith, this.#replays] = [this.since, replays];
    // After a resume every event is new to us. So it is after a fresh join or a new epoch, even below the snapshot.
    const same = epoch === this.#epoch;
    if (!same || !resumed) this.#seq = same && gap ? Math.min(gap.to, seq) : 0;
    [this.#epoch, this.#snapshotSeq, this.#resumed] = [epoch, seq, resumed];
  }

  /**
   * Takes the seq of an event.
   * @param {number} seq
   * @param {boolean} [replayed]
   * @returns {boolean} whether it is new; one of the gap is, though its seq is in the gap
   */
  reach(seq, replayed = false) {
    const ofGap = replayed && this.#replays > 0;
    this.#replays = ofGap ? this.#replays - 1 : 0;
    if (ofGap) return true;
    if (seq <= this.#seq) return false;
    this.#seq = seq;
    return true;
  }

  /** @param {number} seq of an event: whether the snapshot has counted it */
  isInSnapshot(seq) {
    return seq <= this.#snapshotSeq;
  }
}

/** Which balance is the newest: they may overtake each other between nodes. */
export class Balance {
  /** @type {[epoch: number, n: number] | null} */
  #newest = null;

  /**
   * Takes the ledger entry "epoch-n" that a balance belongs to.
   * @param {string|null} entry null for the balance after the wallet store returned: valid if no balance is known
   * @param {boolean} known whether there is a balance
   * @returns {boolean} whether the balance is new
   */
  take(entry, known) {
    if (entry === null) return !known;
    const [epoch = 0, n = 0] = entry.split("-").map(Number);
    if (this.#newest && (epoch < this.#newest[0] || (epoch === this.#newest[0] && n < this.#newest[1]))) return false;
    this.#newest = [epoch, n];
    return true;
  }
}

/** The gifts seen so far. A repeated one counts once. */
export class SeenGifts {
  #ids = new Set();
  gifts = 0;
  coins = 0;
  refunded = 0;

  /**
   * @param {RoomEvent} event
   * @returns {boolean} false for a gift, or a part of one that was taken back, that was seen before
   */
  isNews(event) {
    if (event.type === "gifts.sent") return this.take(event);
    return event.type !== "gifts.refunded" || this.#takeBack(event);
  }

  /**
   * @param {GiftSent} gift
   * @returns {boolean} false if it was seen before, even under another seq or epoch
   */
  take({ id, coins, test }) {
    if (!this.#isNew(id)) return false;
    if (!test) {
      this.gifts++;
      this.coins += coins;
    }
    return true;
  }
  /** @param {GiftRefunded} refund */
  #takeBack({ id, gift_id, coins }) {
    if (!this.#isNew(id)) return false;
    if (this.#ids.has(gift_id)) this.refunded += coins;
    return true;
  }
  /** @param {string} id */
  #isNew(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > GIFT_IDS_REMEMBERED) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }
}

/** The chats seen or deleted so far: each is shown once, and none after it was deleted. */
export class SeenChats {
  #ids = new Set();
  /** @type {Map<string, number>} by person: all that they said up to then is deleted */
  #gone = new Map();

  /**
   * @param {RoomEvent} event
   * @returns {boolean} false for a chat that was seen before, or deleted
   */
  isNews(event) {
    if (event.type === "chat.deleted") this.#remove(event);
    return event.type !== "chat.sent" || this.#take(event);
  }
  /** @param {ChatSent} chat */
  #take({ id, user, at_ms, replayed }) {
    if (this.#ids.has(id) || (replayed && at_ms <= (this.#gone.get(user.user_id) ?? 0))) return false;
    keepNewest(this.#ids.add(id));
    return true;
  }
  /** @param {ChatDeleted} deleted */
  #remove({ ids, user_ids, at_ms }) {
    for (const id of ids) keepNewest(this.#ids.add(id));
    for (const user of user_ids) keepNewest(this.#gone.set(user, at_ms));
  }
}

/** @param {Set<string> | Map<string, number>} seen */
function keepNewest(seen) {
  const [oldest = ""] = seen.keys();
  if (seen.size > CHAT_IDS_REMEMBERED) seen.delete(oldest);
}
