/** Changes of the page that leave alone what is as it should be: the same text again would be painted. */

/**
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {HTMLElement} element
 * @param {boolean} hidden
 */
export function hide(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/**
 * Makes these rows, by key, the children of a list, in this order. Rows that stay are not touched.
 * @template T
 * @param {HTMLElement} list
 * @param {Map<string, HTMLElement>} known by key; it is changed
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T, row: HTMLElement|null) => HTMLElement} drawn makes the row, or changes it
 */
export function arrange(list, known, items, keyOf, drawn) {
  const keys = new Set(items.map(keyOf));
  for (const [key, row] of known) {
    if (keys.has(key)) continue;
    row.remove();
    known.delete(key);
  }
  items.forEach((item, place) => {
    const row = drawn(item, known.get(keyOf(item)) ?? null);
    known.set(keyOf(item), row);
    const there = list.children[place] ?? null;
    if (there !== row) list.insertBefore(row, there);
  });
}
