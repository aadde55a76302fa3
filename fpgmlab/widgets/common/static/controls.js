// Buttons, fields and their labels, of all panels.

import { element, freshId } from "./common.js";

/** Return a button; one that is not allowed keeps the focus and says why, see `controlAllow`. */
export function controlButton(words, act, attributes = {}) {
  const button = element("button", { type: "button", class: "fl-button", ...attributes,
    onclick: () => button.getAttribute("aria-disabled") !== "true" && act(button) }, words);
  return button;
}

/** Let a button be used (`why` is null), or not: `why` says the reason. */
export function controlAllow(button, why, title = "") {
  if (button.dataset.why === String(why)) return;
  button.dataset.why = String(why);
  button.setAttribute("aria-disabled", String(why !== null));
  const words = why || title;
  for (const name of ["title", "aria-description"]) words ? button.setAttribute(name, words) : button.removeAttribute(name);
}

/** Return an input for a number; `value()` is null for anything that does not fit its bounds, and the browser says so. */
export function controlNumber(label, value, attributes, act = () => {}) {
  const input = element("input", { type: "number", class: "fl-field", "aria-label": label, value, required: "", ...attributes });
  input.addEventListener("keydown", (event) => event.key === "Enter" && act());
  return { input, value: () => (input.reportValidity() ? input.valueAsNumber : null) };
}

/** Return a select of [value, words] pairs. */
export function controlSelect(attributes, options, choose = () => {}) {
  const select = element("select", { class: "fl-field", ...attributes, onchange: () => choose(select.value) },
    ...options.map(([value, words]) => element("option", { value }, words)));
  return select;
}

/** Return a control with its label before it. */
export function controlLabelled(words, control, title = null) {
  control.id ||= freshId("control");
  return element("span", { class: "fl-labelled", title }, element("label", { for: control.id }, words), control);
}

/** Keep the keys that controls need from JupyterLab, which would take them for its own. */
export function controlKeys(node) {
  const mine = ["Enter", " ", "Escape", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"];
  node.addEventListener("keydown", (event) => {
    if (mine.includes(event.key) && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) event.stopPropagation();
  });
  return node;
}
