/** Fields of the settings: labelled inputs that read and write one value each. */
import { el } from "../shared/dom.js";

/** @typedef {{element: HTMLElement, read: () => unknown, fill: (value: any) => void}} Field */
/** @typedef {{name: string, label: string, testid?: string, note?: string}} Named */

/**
 * @param {Named} named
 * @param {HTMLElement} input
 * @param {string} [unit]
 */
const labelled = ({ label, note }, input, unit) => el("label", { class: "field" }, el("span", { text: label }),
  input, unit ? el("i", { class: "unit", text: unit }) : null, note ? el("small", { text: note }) : null);

/**
 * A whole number; empty is null where it may be. `scale` is what one of the shown units is.
 * @param {Named & {min: number, max: number, unit?: string, scale?: number, empty?: boolean}} of
 * @returns {Field}
 */
export function numberField({ min, max, unit, scale = 1, empty = false, ...named }) {
  const step = scale > 1 ? "0.1" : "1";
  const input = el("input", { type: "number", min: min / scale, max: max / scale, step, testid: testidOf(named) });
  return {
    element: labelled(named, input, unit),
    read: () => {
      const value = Math.round(parseFloat(input.value) * scale);
      if (Number.isNaN(value)) return empty ? null : min;
      return Math.min(max, Math.max(min, value));
    },
    fill: (value) => {
      if (input !== document.activeElement) input.value = value === null ? "" : String(value / scale);
    },
  };
}

/**
 * @param {Named & {min: number, max: number}} of
 * @returns {Field}
 */
export function rangeField({ min, max, ...named }) {
  const input = el("input", { type: "range", min, max, step: 5, testid: testidOf(named) });
  const shown = el("output", {});
  const show = () => { shown.textContent = `${input.value} %`; };
  input.addEventListener("input", show);
  const element = labelled(named, input);
  element.append(shown);
  return {
    element,
    read: () => Number(input.value),
    fill: (value) => {
      if (input !== document.activeElement) input.value = String(value);
      show();
    },
  };
}

/**
 * @param {Named & {options: [string, string][]}} of value and label of each
 * @returns {Field}
 */
export function choiceField({ options, ...named }) {
  const input = el("select", { testid: testidOf(named) },
    ...options.map(([value, text]) => el("option", { value, text })));
  return {
    element: labelled(named, input),
    read: () => input.value,
    fill: (value) => {
      const text = value ?? "";
      const known = [...input.options].some((option) => option.value === text);
      if (!known) input.append(el("option", { value: text, text })); // of a newer server, or an address
      input.value = text;
    },
  };
}

/**
 * @param {Named} named
 * @returns {Field}
 */
export function switchField(named) {
  const input = el("input", { type: "checkbox", testid: testidOf(named) });
  return {
    element: labelled(named, input),
    read: () => input.checked,
    fill: (value) => { input.checked = Boolean(value); },
  };
}

/**
 * @param {Named} named
 * @returns {Field}
 */
export function textField(named) {
  const input = el("input", { type: "text", maxlength: 500, testid: testidOf(named), placeholder: "https://" });
  return {
    element: labelled(named, input),
    read: () => input.value.trim(),
    fill: (value) => { if (input !== document.activeElement) input.value = value ?? ""; },
  };
}

/** @param {Named} named */
const testidOf = ({ name, testid }) => testid ?? `set-${name}`;
