/** The chat's composer: it never loses a text. */
import { find, select } from "../shared/dom.js";
import { showRefusal } from "./refusals.js";

/** @import { Refused } from "../liveroom.js" */

/** @param {(text: string) => Promise<{held?: boolean}>} send */
export function startComposer(send) {
  const input = select("[data-testid=chat-input]", HTMLInputElement);
  const button = select("[data-testid=chat-send]", HTMLButtonElement);
  let stop = () => {};
  input.form?.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const typed = input.value;
    const text = typed.trim();
    if (!text || button.disabled) return;
    stop();
    button.disabled = true;
    try {
      const { held } = await send(text);
      if (input.value === typed) input.value = ""; // keep what was typed meanwhile
      button.disabled = false;
      find("chat-status").textContent = held ? "Your message waits for the staff." : "";
    } catch (error) {
      const refused = /** @type {Refused} */ (error);
      stop = showRefusal(find("chat-status"), refused, () => { button.disabled = false; });
    }
    input.focus();
  });
  input.addEventListener("input", () => { if (!button.disabled) stop(); });
}
