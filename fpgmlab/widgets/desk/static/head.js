import { beforeNextPicture, element } from "../../common/static/common.js";
import { controlAllow, controlButton, controlKeys, controlLabelled, controlSelect } from "../../common/static/controls.js";
import { wordsCount, wordsIn } from "./words.js";

const HEAD_PATIENCE = 300; // milliseconds for which an answer of the kernel is not missed
const HEAD_MULTIPLES = [1, 2, 4, 8, 16, 32];

/** What the desk is of, what it shows, undo and redo, and whether the kernel agrees. */
export function headView(store, signal) {
  const { desk, groups } = store.calculator;
  const prunable = groups.filter((group) => !group.protected).length;
  const metric = controlSelect({ title: "What the curves, the colours and the prediction show" }, desk.metrics.map(({ name }) => [name, name]), store.setMetric);
  if (!desk.metrics.length) {
    metric.append(element("option", {}, "no curves"));
    metric.disabled = true;
  }
  const samples = element("span", { class: "fl-quiet" });
  const multiple = controlSelect({ title: "Bars stop at channel counts that are multiples of this, or at all channels" }, [], (value) => store.setMultiple(value === "runtime" ? value : Number(value)));
  const backgrounds = ["repaired", "as cut"].map((name) => [name, name]), both = desk.metrics.some(({ as_cut: other }) => other);
  const background = controlSelect({ title: "The curves that the bars stand on; predictions keep to the repaired ones" }, backgrounds, (value) => store.see("background", value));
  const undo = controlButton("Undo", store.undo, { "aria-keyshortcuts": "Control+Z" });
  const redo = controlButton("Redo", store.redo, { "aria-keyshortcuts": "Control+Shift+Z" });
  const agreement = element("span", { class: "fl-desk-agreement" }), say = wordsIn(agreement);
  const notice = headNotice(store);
  const node = controlKeys(element("div", { class: "fl-desk-head" },
    element("div", { class: "fl-desk-line" },
      element("span", { class: "fl-desk-head-name" }, element("strong", {}, desk.network), " ",
        element("span", { class: "fl-quiet" }, `${wordsCount(groups.length, "group")} · ${prunable} prunable`)),
      element("span", { class: "fl-desk-pair" }, controlLabelled("Curves of", metric), samples),
      ...(both ? [element("span", { class: "fl-desk-pair" }, controlLabelled("Background", background))] : []),
      element("span", { class: "fl-desk-pair" }, controlLabelled("Snap to multiples of", multiple), element("span", { class: "fl-quiet" }, "channels")),
      element("span", { class: "fl-desk-pair fl-desk-head-end" }, agreement, undo, redo)),
    notice.node));

  let missed = null, late = false;
  const draw = beforeNextPicture(() => {
    const shown = store.metric(), now = headState(store);
    metric.value = shown?.name ?? metric.value;
    background.value = store.background();
    background.disabled = !shown?.as_cut;
    samples.textContent = shown ? wordsCount(shown.samples, "sample") : "";
    headMultiples(multiple, store.multiple(), desk);
    controlAllow(undo, store.canUndo() ? null : "Nothing to undo", "Back to the plan before: Ctrl+Z");
    controlAllow(redo, store.canRedo() ? null : "Nothing to redo", "Forward again: Ctrl+Shift+Z");
    if (now === "confirmed" || now === "differs") {
      clearTimeout(missed);
      missed = null;
      late = false;
    } else missed ??= setTimeout(() => ((late = true), draw()), HEAD_PATIENCE);
    const state = now === "confirmed" || now === "differs" || late ? now : (agreement.dataset.state ?? "confirmed");
    agreement.dataset.state = state;
    say(HEAD_WORDS[state]);
    notice.draw(store.notice());
  });
  for (const what of ["plan", "history", "confirmed", "metric", "work", "seen"]) store.on(what, draw);
  signal.addEventListener("abort", () => clearTimeout(missed));
  draw();
  return node;
}

const HEAD_WORDS = {
  confirmed: "confirmed by the kernel",
  waiting: "waiting for the kernel",
  moving: "computed in the browser",
  differs: "the kernel has other totals",
};

/** Return how the kernel stands to the plan shown. */
function headState(store) {
  const confirmed = store.confirmed();
  if (!store.isConfirmed()) return confirmed.revision === store.revision() ? "moving" : "waiting";
  const totals = store.totals();
  return ["macs", "params", "bytes"].every((kind) => totals[kind] === confirmed[kind]) ? "confirmed" : "differs";
}

function headMultiples(select, current, { block, latency }) {
  const numbers = [...HEAD_MULTIPLES, ...(current === "runtime" ? [] : [current])];
  const known = ["runtime", ...[...new Set(numbers)].sort((a, b) => a - b)];
  if (select.dataset.known !== String(known)) {
    select.dataset.known = String(known);
    select.replaceChildren(...known.map((count) => element("option", { value: count }, count === "runtime" ? (latency ? "the runtime's steps" : `the runtime (${block})`) : String(count))));
  }
  select.value = String(current);
}

/** What the kernel has to say: news politely, errors at once; until it is dismissed. */
function headNotice(store) {
  const info = element("span", { role: "status" }), error = element("span", { role: "alert" });
  const close = controlButton("Dismiss", () => {
    store.dismiss();
    node.focus(); // the button goes: without this the notebook had the keys
  }, { "aria-label": "Dismiss the message" });
  const node = element("div", { class: "fl-desk-notice", tabindex: -1 }, info, error, close);
  let shown = null;
  return {
    node,
    draw(notice) {
      if (notice === shown) return;
      shown = notice;
      const words = notice?.words ?? "", bad = notice?.kind === "error";
      node.dataset.kind = words === "" ? "none" : bad ? "error" : "info";
      close.hidden = words === "";
      info.textContent = bad ? "" : words;
      error.textContent = bad ? words : ""; // also when it is the same again: it is read out again
    },
  };
}
