import { element, listen } from "./common.js";
import { controlButton } from "./controls.js";

// The root of a panel and its first line; the desk has a first line of its own, with the same switch.

/** Return a panel's first line: of what it is, a remark on it, its controls, and the switch to large type. */
export function panelHead(title, remark, ...controls) {
  return element("div", { class: "fl-head" },
    element("span", { class: "fl-head-name" }, element("strong", {}, title), " ", element("span", { class: "fl-quiet" }, remark)),
    ...controls);
}

/**
 * Keep a panel's keys from the shortcuts of the notebook: a stray letter would cut the cell. Notebook 7 looks for shortcuts before a panel hears of a key,
 * so what has the focus says before that there are none for it. Those to run the cell, to save and the like stay the notebook's.
 */
export function panelKeys(root, signal) {
  window.addEventListener("keydown", (event) => {
    if (!event.composedPath().includes(root)) return;
    const chord = event.ctrlKey || event.metaKey, runs = event.key === "Enter" && (event.shiftKey || event.altKey);
    event.composedPath()[0].toggleAttribute("data-lm-suppress-shortcuts", chord ? /^[azy]$/i.test(event.key) : !runs);
  }, { capture: true, signal });
}

/** Return the switch between type for a desk and type for a room, which is the kernel's as well. */
export function panelLarge(model, root, signal) {
  const button = controlButton("Large", () => {
    model.set("large", !model.get("large"));
    model.save_changes();
  }, { class: "fl-button fl-head-end", title: "Type and pictures half as large again: legible from the last row of a room" });
  const draw = () => {
    const large = Boolean(model.get("large"));
    root.classList.toggle("fl-large", large);
    button.setAttribute("aria-pressed", String(large));
  };
  listen(model, ["large"], draw, signal);
  draw();
  return button;
}
