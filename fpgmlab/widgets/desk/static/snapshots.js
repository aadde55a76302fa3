import { beforeNextPicture, element, onceRested } from "../../common/static/common.js";
import { controlButton, controlKeys, controlLabelled } from "../../common/static/controls.js";
import { COMPARE_DESK, compareView } from "./compare.js";
import { planName, planOnDesk, plansOf } from "./plans.js";
import { tradeoffView } from "./tradeoff.js";
import { VERDICT_WHY } from "./verdict.js";
import { wordsIn, wordsKinds, wordsShare, wordsSpread, wordsValue } from "./words.js";

/** Plans that were kept: the tree they form, side by side as a table, and where each stands. */
export function snapshotsView(store, signal) {
  const kinds = wordsKinds(store.calculator.desk).filter(({ kind }) => kind !== "bytes");
  const name = element("input", { type: "text", class: "fl-field", size: 14, maxlength: 60, autocomplete: "off" });
  const live = element("span", { class: "fl-sr", role: "status" });
  const add = controlButton("Snapshot", () => {
    const words = name.value.trim() || planName(store.snapshots());
    store.addSnapshot(words);
    name.value = "";
    live.textContent = `Snapshot ${words} added`;
  }, { title: "Keep the plan on the desk under this name" });
  name.addEventListener("keydown", (event) => event.key === "Enter" && add.click());
  const head = ["Plan", ...kinds.map(({ kind, title }) => (kind === "latency" ? "ms" : title)), "As cut", "Repaired", "Fine-tuned", "Predicted", ""]
    .map((words) => element("th", { scope: "col", class: words === "Predicted" ? "fl-desk-plan-said" : null, title: words === "Predicted" ? VERDICT_WHY : null }, words));
  const desk = snapshotRow(store, kinds.length), body = element("tbody", {}, desk.node), rows = new Map([["desk", desk]]);
  const table = element("table", { class: "fl-table fl-desk-plans", "aria-label": "Plans compared" }, element("thead", {}, element("tr", {}, ...head)), body);
  const hint = element("p", { class: "fl-quiet fl-desk-plans-hint" }, "A snapshot keeps the plan on the desk. Restore any of them and change it: the next snapshot branches off from there.");
  const said = element("p", { class: "fl-quiet fl-desk-plans-hint" }, `Predicted: what each group loses alone${store.calculator.desk.repaired ? ", repaired" : ", as cut"}, added up. Together they may lose more: what is measured counts.`);
  const node = controlKeys(element("div", { class: "fl-desk-snapshots" },
    element("div", { class: "fl-panel fl-desk-snapshots-list" },
      element("div", { class: "fl-desk-pair fl-desk-panel-head" }, element("h4", {}, "Plans"), controlLabelled("Name", name), add, live),
      element("div", { class: "fl-scroll" }, table), said, hint, compareView(store)),
    tradeoffView(store, signal)));

  let structure = "", plans = [], whole = null;
  function sort() {
    plans = plansOf(store);
    whole = plans[0].totals;
    const now = JSON.stringify(plans.map(({ id, name: words, rails }) => [id, words, rails]));
    if (now === structure) return;
    structure = now;
    name.placeholder = planName(store.snapshots());
    hint.hidden = plans.length > 1;
    const held = node.getRootNode().activeElement, place = [...rows.values()].findIndex((row) => row.node.contains(held));
    const old = new Map(rows);
    rows.clear();
    rows.set("desk", desk);
    for (const plan of plans) rows.set(plan.id, old.get(plan.id) ?? snapshotRow(store, kinds.length, plan.id));
    body.replaceChildren(...[...rows.values()].map((row) => row.node));
    if (place < 0) return;
    if (held.isConnected) held.focus(); // what is moved loses the focus
    else [...rows.values()].at(Math.min(place, rows.size - 1)).node.querySelector("button")?.focus();
  }
  const cells = ({ id, totals, results }) => snapshotCells(store.metric(), kinds, totals, results, whole, id === null);
  const drawDesk = () => {
    const from = plans.find(({ id }) => id === store.current()) ?? plans[0], same = String(from.kept) === String(store.kept);
    desk.draw({ name: "on the desk", note: same ? `= ${from.name}` : `from ${from.name}`, rails: [] }, cells(planOnDesk(store)), false);
  };
  const drawAll = beforeNextPicture(() => {
    sort();
    for (const plan of plans) rows.get(plan.id).draw(plan, cells(plan), plan.id === store.current());
    drawDesk();
  });
  for (const what of ["snapshots", "metric", "results", "confirmed"]) store.on(what, drawAll);
  const soon = onceRested(beforeNextPicture(() => plans.length && drawDesk()), signal);
  for (const what of ["plan", "live"]) store.on(what, soon); // a table is laid out as a whole: not at each move
  drawAll();
  return node;
}

/** Return what the table says of a plan: what it takes or what remains, the metric as cut, repaired and fine-tuned, and as it is expected. */
function snapshotCells(metric, kinds, totals, results, whole, unpruned) {
  const measured = (stage) => snapshotMeasured(metric, results[stage]);
  const { predicted } = totals, bound = predicted?.unknown.length ? (metric.higher_is_better ? "≤ " : "≥ ") : "";
  const expected = !predicted ? "–" : `${bound}${wordsValue(metric, predicted.value)} ${wordsSpread(metric, predicted.half)}`;
  const cost = ({ kind, text }) => (kind === "latency" ? text(totals[kind]).replace(" ms", "") : wordsShare(totals[kind], whole[kind]));
  if (unpruned) return [...kinds.map(cost), metric && metric.value !== null ? wordsValue(metric, metric.value) : "–", "–", "–", "–"]; // always by the curves: nothing is cut
  return [...kinds.map(cost), measured("pruned"), measured("repaired"), measured("fine-tuned"), expected];
}

function snapshotMeasured(metric, found) {
  if (!metric || !Number.isFinite(found?.[metric.name])) return "–";
  const [low, high] = found.intervals?.[metric.name] ?? [null, null], half = low === null || high === null ? 0 : (high - low) / 2;
  return `${wordsValue(metric, found[metric.name])} ${wordsSpread(metric, half)}`.trim();
}

/** One plan's row: its place in the tree, its numbers, and what can be done with it (`id` is undefined for the plan on the desk). */
function snapshotRow(store, kinds, id) {
  const label = element("span", { class: "fl-desk-plan-name" }), note = element("span", { class: "fl-quiet" }), rails = element("span", { class: "fl-desk-rails", "aria-hidden": "true" });
  const tree = element("span", { class: "fl-desk-tree" }, rails, element("span", { class: "fl-desk-knot", "aria-hidden": "true" }), label, note);
  const values = Array.from({ length: kinds + 4 }, (_, i) => element("td", { class: i === kinds + 3 ? "fl-desk-plan-said" : null })), say = values.map(wordsIn), sayName = wordsIn(label), sayNote = wordsIn(note);
  const button = (words, sign, act) => controlButton("", act, { class: "fl-button fl-button-small", "data-words": words, "data-sign": sign });
  const restore = button("Restore", "↩", () => store.restore(id)), rename = button("Rename", "✎", edit), remove = button("Delete", "✕", () => store.removeSnapshot(id));
  const actions = id === undefined ? [] : id === null ? [restore] : [restore, rename, remove];
  const side = id === undefined ? COMPARE_DESK : id;
  const check = element("input", { type: "checkbox", onchange: () => store.setSides(check.checked ? [...store.sides(), side] : store.sides().filter((each) => each !== side)) });
  const compare = element("label", { class: "fl-desk-plan-compare", title: "Choose two plans to hold them against each other" }, check, element("span", {}, "compare"));
  store.on("sides", () => (check.checked = store.sides().includes(side)));
  const node = element("tr", { class: id === undefined ? "fl-desk-on-desk" : "" }, element("th", { scope: "row" }, tree), ...values,
    element("td", { class: "fl-desk-plan-actions" }, compare, ...actions));
  let drawn = null;

  function edit() {
    const input = element("input", { type: "text", class: "fl-field", "aria-label": `New name of ${drawn.name}`, value: drawn.name, maxlength: 60, size: 12 });
    let over = false;
    const end = (save, byKey) => {
      if (over) return;
      over = true;
      const words = input.value.trim();
      input.replaceWith(label);
      if (byKey) rename.focus();
      if (save && words && words !== drawn.name) store.renameSnapshot(id, words);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // else the same Enter presses the button that gets the focus
      end(event.key === "Enter", true);
    });
    input.addEventListener("blur", () => end(true, false));
    label.replaceWith(input);
    input.focus();
    input.select();
  }
  return {
    node,
    draw(plan, words, current) {
      sayName(plan.name);
      sayNote(plan.note ?? "");
      words.forEach((each, i) => say[i](each));
      node.setAttribute("aria-current", String(current));
      if (drawn?.name !== plan.name) check.setAttribute("aria-label", `Compare ${plan.name}`);
      if (drawn?.name !== plan.name) for (const each of actions) each.setAttribute("aria-label", (each.title = `${each.dataset.words} ${plan.name}`));
      if (String(drawn?.rails) !== String(plan.rails)) rails.replaceChildren(...plan.rails.map((more, i) =>
        element("span", { class: i === plan.rails.length - 1 ? "fl-desk-rail fl-desk-elbow" : "fl-desk-rail", "data-more": String(more) })));
      label.title = plan.name;
      drawn = plan;
    },
  };
}
