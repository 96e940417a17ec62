/** On a phone the gift panel is a sheet that opens over the chat. */
import { find, select } from "../shared/dom.js";

const BEHIND = [".bar", ".stage", ".side"];

/** @param {HTMLElement} panel */
export function startSheet(panel) {
  const opener = find("gift-open");
  const narrow = matchMedia("(max-width: 760px), (max-height: 480px)"); // as phone.css
  const isOpen = () => panel.classList.contains("open");
  /** @param {boolean} open */
  const set = (open) => {
    panel.classList.toggle("open", open);
    opener.setAttribute("aria-expanded", String(open));
    panel.inert = narrow.matches && !open; // a hidden panel must not take the focus
    beDialog(panel, narrow.matches && open);
    if (open) chosenCard(panel)?.focus();
  };
  const shut = () => {
    set(false);
    opener.focus();
  };
  opener.addEventListener("click", () => set(!isOpen()));
  find("gift-close").addEventListener("click", shut);
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape" && isOpen()) shut(); });
  document.addEventListener("pointerdown", ({ target }) => {
    if (isOpen() && !panel.contains(/** @type {Node} */ (target))) set(false);
  });
  narrow.addEventListener("change", () => set(false));
  set(false);
}

/**
 * An open sheet keeps the focus: what lies behind it cannot take it.
 * @param {HTMLElement} panel
 * @param {boolean} open
 */
function beDialog(panel, open) {
  for (const name of ["role", "aria-modal"]) panel.removeAttribute(name);
  if (open) panel.setAttribute("role", "dialog");
  if (open) panel.setAttribute("aria-modal", "true");
  for (const part of BEHIND) select(part, HTMLElement).inert = open;
}

/**
 * @param {HTMLElement} panel
 * @returns {HTMLElement|null}
 */
const chosenCard = (panel) => panel.querySelector(".card[aria-pressed=true]");
