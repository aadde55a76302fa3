import { element } from "../../common/static/common.js";
import { controlButton } from "../../common/static/controls.js";

const CODE_PATIENCE = 20000; // milliseconds for an answer of the kernel

/** A button that copies the plan as code, and the text itself where the clipboard is not allowed. */
export function codeView(store, signal) {
  const area = element("textarea", { class: "fl-field fl-desk-code-text", readonly: "", rows: 14, spellcheck: "false", "aria-label": "The plan as code" });
  const words = element("span", { class: "fl-quiet", role: "status" });
  const close = controlButton("Close", () => ((node.hidden = true), button.focus()), { "aria-label": "Close the code" });
  const node = element("div", { class: "fl-desk-code", hidden: "" }, area, close);
  const button = controlButton("Copy as code", ask, { "data-do": "code", title: "Cells that make this plan again in a fresh kernel; editor.code() in Python" });
  let asked = null;

  function ask() {
    clearTimeout(asked);
    asked = setTimeout(() => ((asked = null), (words.textContent = "The kernel does not answer")), CODE_PATIENCE);
    words.textContent = "";
    store.send({ do: "code" });
  }
  store.onAnswer((answer) => {
    if (asked === null || typeof answer.code !== "string") return; // another view of the desk asked
    clearTimeout(asked);
    asked = null;
    area.value = answer.code;
    codeCopied(area, node, (copied) => {
      const lines = answer.code.trimEnd().split("\n").length;
      node.hidden = copied;
      words.textContent = copied ? `Copied: ${lines} lines of Python` : "The clipboard is not allowed here: press Ctrl+C";
      if (!copied) codeSelected(area);
    });
  });
  area.addEventListener("keydown", (event) => {
    event.stopPropagation(); // its keys are not the notebook's
    if (event.key === "Escape") close.click();
  });
  signal.addEventListener("abort", () => clearTimeout(asked));
  return { button, words, node };
}

/** Put a field's text on the clipboard, in the ways that there are, and tell whether it is there. */
function codeCopied(area, node, tell) {
  const otherwise = () => {
    const held = area.getRootNode().activeElement;
    node.hidden = false;
    codeSelected(area);
    const copied = document.execCommand("copy");
    held?.focus();
    tell(copied);
  };
  if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(() => tell(true), otherwise);
  else otherwise(); // a page that is not from this machine, nor encrypted
}

function codeSelected(area) {
  area.focus();
  area.select();
}
