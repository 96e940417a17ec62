/** On a phone the gift panel is a sheet that opens over the chat. */
import { find } from "../shared/dom.js";

/** @param {HTMLElement} panel */
export function startSheet(panel) {
  const opener = find("gift-open");
  const narrow = matchMedia("(max-width: 760px)");
  const isOpen = () => panel.classList.contains("open");
  /** @param {boolean} open */
  const set = (open) => {
    panel.classList.toggle("open", open);
    opener.setAttribute("aria-expanded", String(open));
    panel.inert = narrow.matches && !open; // a hidden panel must not take the focus
    if (open) chosenCard(panel)?.focus();
  };
  const shut = () => {
    set(false);
    opener.focus();
  };
  opener.addEventListener("click", () => set(!isOpen()));
  find("gift-close").addEventListener("click", shut);
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape" && isOpen()) shut(); });
  find("stage").addEventListener("pointerdown", () => { if (isOpen()) set(false); });
  narrow.addEventListener("change", () => set(false));
  set(false);
}

/**
 * @param {HTMLElement} panel
 * @returns {HTMLElement|null}
 */
const chosenCard = (panel) => panel.querySelector(".card[aria-pressed=true]");
