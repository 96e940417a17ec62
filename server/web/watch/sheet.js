/** On a phone the gift panel is a sheet that opens over the chat. After a gift only its button stays, for more taps. */
import { find, select } from "../shared/dom.js";
import { ASKED_MS, STREAK_MS } from "./giving.js";

const BEHIND = [".bar", ".stage", ".side"];

/** @param {HTMLElement} panel it says "given", "asked" and "refused", and gets "shut" when it goes away */
export function startSheet(panel) {
  const opener = find("gift-open");
  const narrow = matchMedia("(max-width: 760px), (max-height: 480px)"); // as phone.css
  /** @type {"shut"|"open"|"brief"} */
  let now = "shut";
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  /** @param {typeof now} state */
  const be = (state) => {
    clearTimeout(timer);
    now = state;
    panel.classList.toggle("open", state !== "shut");
    panel.classList.toggle("brief", state === "brief");
    opener.setAttribute("aria-expanded", String(state === "open"));
    panel.inert = narrow.matches && state === "shut"; // a hidden panel must not take the focus
    beDialog(panel, narrow.matches && state === "open");
    if (state === "open") chosenCard(panel)?.focus();
    if (state === "shut") panel.dispatchEvent(new Event("shut"));
  };
  const shut = () => {
    const left = isLeft(panel);
    be("shut");
    if (left) opener.focus();
  };
  /** @param {number} ms */
  const beBriefFor = (ms) => {
    if (!narrow.matches) return;
    be("brief");
    timer = setTimeout(shut, ms);
  };
  opener.addEventListener("click", () => be(now === "open" ? "shut" : "open"));
  find("gift-close").addEventListener("click", () => {
    be("shut");
    opener.focus();
  });
  panel.addEventListener("given", () => {
    beBriefFor(STREAK_MS);
    if (narrow.matches) find("gift-send").focus();
  });
  panel.addEventListener("asked", () => { if (now === "brief") beBriefFor(ASKED_MS); });
  panel.addEventListener("refused", () => { if (now !== "open") beBriefFor(ASKED_MS); });
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape" && now !== "shut") shut(); });
  document.addEventListener("pointerdown", ({ target }) => {
    if (now === "open" && !panel.contains(/** @type {Node} */ (target))) be("shut");
  });
  narrow.addEventListener("change", () => be("shut"));
  be("shut");
}

/**
 * Whether nothing else has the focus: it is in the panel, or was on a button there that is disabled now.
 * @param {HTMLElement} panel
 */
const isLeft = (panel) => document.activeElement === document.body || panel.contains(document.activeElement);

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
