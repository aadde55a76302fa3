import { beforeNextPicture, element } from "../../common/static/common.js";
import { controlAllow, controlButton, controlKeys, controlLabelled, controlNumber } from "../../common/static/controls.js";
import { progressBar } from "../../common/static/progress.js";
import { codeView } from "./code.js";
import { wordsIn } from "./words.js";
import { workChart } from "./work_chart.js";

/** What is done with the plan: buttons, how far it is, and what came of it. */
export function workView(store, signal) {
  const epochs = controlNumber("Epochs", 3, { min: 1, max: 1000, step: 1 }), lr = controlNumber("Learning rate", 0.005, { class: "fl-field fl-desk-work-lr", min: 1e-7, step: "any" });
  const path = element("input", { type: "text", class: "fl-field", value: "plan.json", size: 12, required: "" });
  const folder = element("input", { type: "text", class: "fl-field", value: "outputs/pruned", size: 14, required: "" });
  const messages = {
    evaluate: () => ({}),
    prune: () => ({}),
    repair: () => ({}),
    "fine-tune": () => (epochs.value() === null || lr.value() === null ? null : { epochs: epochs.value(), lr: lr.value() }),
    save: () => path.reportValidity() && { path: path.value.trim() },
    export: () => folder.reportValidity() && { folder: folder.value.trim() },
  };
  const visitor = (store.calculator.desk.seat ?? null) !== null; // of a class: gives no paths, and has no files on the kernel's side
  let awaited = false; // a plan to download, by this view of the desk
  const saved = element("span", { class: "fl-quiet fl-desk-work-saved", role: "status" });
  let before = null; // the kernel's notice when Save was pressed: the next one is the answer
  const ask = (what) => {
    const more = messages[what]();
    if (!more) return;
    awaited = visitor && what === "save";
    if (what === "save") [before, saved.textContent] = [{ notice: store.notice() }, ""];
    store.send({ do: what, ...more });
  };
  store.onAnswer(({ plan, name }) => {
    if (!awaited || typeof plan !== "string") return;
    awaited = false;
    workDownload(plan, name);
  });
  const button = (words, what, main) => controlButton(words, () => ask(what), { class: main ? "fl-button fl-button-main" : "fl-button", "data-do": what });
  const buttons = { evaluate: button("Evaluate", "evaluate"), prune: button("Prune", "prune"), repair: button("Repair", "repair"), "fine-tune": button("Fine-tune", "fine-tune", true),
    save: button("Save plan", "save"), export: button("Export", "export") };
  const cancel = controlButton("Cancel", () => store.send({ do: "cancel" }), { class: "fl-button fl-button-cancel", "data-do": "cancel" });
  const set = (...children) => element("div", { class: "fl-desk-pair" }, ...children);
  for (const input of [path, folder]) input.addEventListener("keydown", (event) => event.key === "Enter" && buttons[input === path ? "save" : "export"].click());
  const code = codeView(store, signal), status = workStatus(cancel), chart = workChart(store, signal);
  const node = controlKeys(element("div", { class: "fl-panel fl-desk-work", role: "group", "aria-label": "Work on the plan" },
    element("div", { class: "fl-desk-line" },
      set(buttons.evaluate, buttons.prune, buttons.repair),
      set(buttons["fine-tune"], controlLabelled("epochs", epochs.input), controlLabelled("learning rate", lr.input)),
      set(buttons.save, ...(visitor ? [] : [controlLabelled("to", path, "A path on the kernel's side")]), saved),
      set(code.button, code.words),
      set(buttons.export, ...(visitor ? [] : [controlLabelled("to", folder, "A folder on the kernel's side")]))),
    code.node, element("div", { class: "fl-desk-work-body" }, status.node, chart.node)));

  let last = "evaluate";
  const draw = beforeNextPicture(() => {
    const held = node.getRootNode().activeElement === cancel;
    const work = store.work() ?? {}, running = Boolean(work.running);
    node.dataset.state = work.state ?? "idle";
    for (const [what, each] of Object.entries(buttons)) controlAllow(each, workWhyNot(work, what), WORK_TITLES[what]);
    controlAllow(cancel, !running ? "Nothing is running" : work.stopping ? "It is being cancelled" : null, "Stop; what is there so far stays");
    for (const [what, each] of Object.entries(buttons)) each.setAttribute("aria-busy", String(work.running === what));
    status.draw(work);
    if (before && store.notice() !== before.notice) [before, saved.textContent] = [null, store.notice()?.words ?? ""];
    if (held && !running) buttons[last]?.focus(); // Cancel is gone
    last = work.running ?? last;
    chart.draw(work);
  });
  for (const what of ["work", "metric"]) store.on(what, draw);
  draw();
  return node;
}

/** Let the browser keep a text as a file. */
function workDownload(text, name) {
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000); // once it is taken
}

const WORK_TITLES = {
  evaluate: "Measure the pruned network on the task, before any recovery",
  prune: "Make the smaller network: editor.pruned",
  repair: "Prune, refit the remaining weights by least squares on training pictures without their labels, and measure: seconds, no training",
  "fine-tune": "Train the network that was pruned, or repaired, of this plan; prunes first when there is none",
  save: "Write the plan as JSON; Plan.from_json reads it",
  export: "Write the pruned network, as far as it is recovered, as safetensors and ONNX, the plan, and a report",
};

/** Return why something cannot be done now, or null when it can. */
function workWhyNot(work, what) {
  const can = work.can?.[what] ?? (what === "save" || !work.running);
  if (can) return null;
  return work.why?.[what] || (work.running ? `${work.running} is running` : "");
}

/** How far the work is, and what came of it. */
function workStatus(cancel) {
  const progress = progressBar("Progress of the work", cancel), words = element("p", { class: "fl-desk-work-words" }), live = element("span", { class: "fl-sr", role: "status" });
  const alarm = element("div", { class: "fl-message", role: "alert" });
  const pruned = element("p", { class: "fl-desk-work-pruned" }), files = element("ul", { class: "fl-desk-work-files", "aria-label": "Files written" });
  const [sayWords, sayAlarm, sayPruned] = [words, alarm, pruned].map(wordsIn), sayLive = wordsIn(live);
  const node = element("div", { class: "fl-desk-work-status" }, progress.node, words, live, alarm, pruned, files);
  let said = null, listed = "";
  return {
    node,
    draw(work) {
      progress.node.hidden = !work.running;
      progress.draw(work.share ?? 0, work.words ?? "");
      sayWords(work.words ?? "");
      sayAlarm(work.message ?? "");
      const step = `${work.running} ${work.state} ${work.stopping} ${Math.floor(4 * (work.share ?? 0))}`; // not every update is read out
      if (said !== null && step !== said) sayLive(work.words ?? "");
      said = step;
      const { pruned: made } = work;
      pruned.dataset.current = String(made?.current ?? "");
      sayPruned(made ? `editor.pruned: ${made.words} · ${made.current ? "of the plan on the desk" : "of an earlier plan, not the one on the desk"}` : "");
      if (listed === String(work.files ?? [])) return;
      listed = String(work.files ?? []);
      files.replaceChildren(...(work.files ?? []).map((file) => element("li", {}, element("code", {}, file))));
    },
  };
}
