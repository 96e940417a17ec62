/** Which gift is shown next: one alert at a time, combos merged, big gifts first when many wait, nothing shown twice. */

const IDS_REMEMBERED = 5_000, IDS_SAVED = 500;

/**
 * @typedef {object} Alert
 * @property {string} key combo id, or the gift's id
 * @property {number} tier
 * @property {object} gift
 * @property {{user_id: string, name: string}} from
 * @property {number} count how many, as shown: the combo's running total
 * @property {string|null} message
 * @property {boolean} test
 * @property {string[]} others further senders, when a full queue had to put alerts together
 */

export class AlertQueue {
  /** @type {Alert|null} the alert being shown */
  current = null;
  /** @type {Alert[]} */
  waiting = [];
  #seen = new Set();

  /** @param {{limit?: number, longAt?: number, saved?: {waiting: Alert[], seen: string[]}}} options */
  constructor({ limit = 100, longAt = 5, saved } = {}) {
    Object.assign(this, { limit, longAt });
    if (saved) [this.waiting, this.#seen] = [saved.waiting, new Set(saved.seen)];
  }

  /**
   * Takes a `gifts.sent` event.
   * @returns {"repeated"|"updated"|"merged"|"queued"|"dropped"} `updated` means that the alert being shown has changed
   */
  offer(event) {
    if (this.#seen.has(event.id)) return "repeated";
    this.#seen.add(event.id);
    if (this.#seen.size > IDS_REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    const key = event.combo?.id ?? event.id;
    const known = this.current?.key === key ? this.current : this.waiting.find((alert) => alert.key === key);
    if (!known) return this.#enter(asAlert(event, key));
    known.count = Math.max(known.count, event.combo.count); // replayed parts of a combo may come in any order
    known.message = event.message ?? known.message;
    return known === this.current ? "updated" : "merged";
  }

  #enter(alert) {
    if (this.waiting.length < this.limit) {
      this.waiting.push(alert);
      return "queued";
    }
    // Full: of the small gifts the oldest makes room; big ones are never dropped, but put together with their like.
    const smallest = this.waiting.reduce((least, other) => (other.tier < least.tier ? other : least));
    if (smallest.tier < 3 && smallest.tier <= alert.tier) {
      this.waiting.splice(this.waiting.indexOf(smallest), 1);
      this.waiting.push(alert);
      return "queued";
    }
    if (alert.tier < 3) return "dropped";
    const like = this.waiting.find((other) => other.gift.id === alert.gift.id && other.test === alert.test);
    if (!like) this.waiting.push(alert);
    else {
      like.count += alert.count;
      if (like.from.user_id !== alert.from.user_id && !like.others.includes(alert.from.name)) like.others.push(alert.from.name);
    }
    return "merged";
  }

  /** The alert to show now, or null. */
  next() {
    if (this.waiting.length === 0) return (this.current = null);
    let index = 0;
    if (this.waiting.length > this.longAt) this.waiting.forEach((alert, i) => { if (alert.tier > this.waiting[index].tier) index = i; });
    return (this.current = this.waiting.splice(index, 1)[0]);
  }

  /** What a reloaded page needs to go on: the alert being shown comes first again. */
  save() {
    return { waiting: [...(this.current ? [this.current] : []), ...this.waiting], seen: [...this.#seen].slice(-IDS_SAVED) };
  }
}

function asAlert({ gift, from, combo, count, message, test }, key) {
  return { key, tier: gift.tier, gift, from, count: combo?.count ?? count, message, test: Boolean(test), others: [] };
}
