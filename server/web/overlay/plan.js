/** How a gift's alert is shown: as the settings say for all, and the first variant that fits says otherwise. */
/** @import { GiftSent, OverlaySettings, ShownGift, Variant } from "../wire.js" */

/** @typedef {Required<Pick<OverlaySettings, "sound"|"volume"|"message">> & {ms: number|null, kind: string|null,
 *   media: string|null, show: boolean}} Wanted */

/**
 * @param {Variant} variant
 * @param {ShownGift} gift
 * @param {number} coins
 */
const fits = ({ gift: id, tier, min_coins = 0 }, gift, coins) =>
  (id === undefined || id === gift.id) && (tier === undefined || tier === gift.tier) && coins >= min_coins;

/**
 * @param {OverlaySettings} settings
 * @param {ShownGift} gift
 * @param {number} count
 * @returns {Wanted}
 */
export function wantedFor(settings, gift, count) {
  const coins = gift.coins * count;
  const variant = settings.variants.find((each) => fits(each, gift, coins)) ?? {};
  return {
    show: variant.show ?? true,
    ms: variant.duration_ms ?? settings.duration_ms,
    kind: variant.animation ?? null,
    media: variant.media ?? null,
    sound: variant.sound ?? settings.sound,
    volume: variant.volume ?? settings.volume,
    message: variant.message ?? settings.message,
  };
}

/**
 * Whether a gift has an alert. A streak counts as what it has become: a rose is small, a hundred are not.
 * @param {OverlaySettings} settings
 * @param {Pick<GiftSent, "gift"|"count"|"combo"|"test">} event
 */
export function hasAlert(settings, { gift, count, combo, test }) {
  const total = combo?.count ?? count;
  if (!settings.widgets.some(({ kind }) => kind === "alerts")) return false;
  return test || (gift.coins * total >= settings.min_coins && wantedFor(settings, gift, total).show);
}
