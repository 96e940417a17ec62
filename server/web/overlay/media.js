/** A streamer's own pictures, films and sounds: read whole, and shown only if they are what they may be. */

const BYTES_MAX = 8 * 1024 * 1024; // what a browser source can hold beside the stream
const KEPT = 16; // more than a show has variants in use
const WAIT_MS = 10_000;

/** @typedef {"image"|"video"|"audio"} Sort */
/** @typedef {{url: string, sort: Sort}} Media `url` is a blob's */

/** What files begin with, their type and their sort. @type {[RegExp, string, Sort][]} */
const KNOWN = [
  [/^GIF8[79]a/, "image/gif", "image"],
  [/^\x89PNG\r\n/, "image/png", "image"],
  [/^RIFF....WEBP/s, "image/webp", "image"],
  [/^.E\xdf\xa3/s, "video/webm", "video"],
  [/^(ID3|\xff[\xe2-\xfb])/, "audio/mpeg", "audio"],
  [/^OggS/, "audio/ogg", "audio"],
  [/^RIFF....WAVE/s, "audio/wav", "audio"],
];

/** @type {Map<string, Promise<Media|null>>} by address, the least used first */
const kept = new Map();

/**
 * The file at this address, or null if it cannot be shown. It is read once.
 * @param {string} address
 */
export function media(address) {
  const found = kept.get(address) ?? read(address).catch(() => null);
  kept.delete(address);
  kept.set(address, found);
  for (const [oldest, file] of kept) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
    file.then((gone) => gone && URL.revokeObjectURL(gone.url));
  }
  found.then((file) => { if (!file) kept.delete(address); }); // the next alert tries again
  return found;
}

/**
 * @param {string} address
 * @returns {Promise<Media|null>}
 */
async function read(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(WAIT_MS), credentials: "omit", redirect: "error" });
  const reader = answer.ok ? answer.body?.getReader() : null;
  if (!reader) return null;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const chunks = [];
  let size = 0;
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    size += value?.length ?? 0;
    if (size > BYTES_MAX) {
      await reader.cancel();
      return null;
    }
    if (value) chunks.push(value);
  }
  return checked(new Blob(chunks));
}

/**
 * The server's word for what a file is counts for nothing.
 * @param {Blob} blob
 * @returns {Promise<Media|null>}
 */
async function checked(blob) {
  const head = String.fromCharCode(...new Uint8Array(await blob.slice(0, 16).arrayBuffer()));
  const known = KNOWN.find(([begin]) => begin.test(head));
  if (!known) return null;
  return { url: URL.createObjectURL(blob.slice(0, blob.size, known[1])), sort: known[2] };
}
