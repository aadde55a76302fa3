import { beforeNextPicture, element } from "../../common/static/common.js";
import { controlAllow, controlButton, controlKeys, controlNumber, controlSelect } from "../../common/static/controls.js";
import { wordsKinds } from "./words.js";

const BUDGET_PATIENCE = 60000; // milliseconds after which a budget can be asked for again without an answer

/** Plans that are computed: the best within a budget by the kernel, presets in the browser; locked bars stay. */
export function budgetView(store, signal) {
  const { desk } = store.calculator;
  const before = store.budget() ?? { kind: "macs", share: desk.budget }; // as it was asked for last
  const share = controlNumber("Per cent to keep", Number((100 * before.share).toFixed(4)), { min: 1, max: 100, step: "any" }, () => fit.click());
  const kind = controlSelect({ "aria-label": "Cost the budget is of" }, wordsKinds(desk).map((each) => [each.kind, each.name]), () => draw());
  kind.value = before.kind;
  const fit = controlButton("Fit", () => ask("allocate"), { class: "fl-button fl-button-main" });
  const equal = controlButton("Equal loss", () => ask("equal_loss"));
  const around = element("span", { class: "fl-quiet" });
  const node = controlKeys(element("div", { class: "fl-desk-line" },
    element("div", { class: "fl-desk-pair", role: "group", "aria-label": "Budget" },
      element("span", {}, "Keep"), share.input, element("span", {}, "% of"), kind, fit, equal, around),
    element("div", { class: "fl-desk-pair", role: "group", "aria-label": "Presets" }, ...budgetPresets(store))));

  let asked = null, patience = null; // asked: the method, and the notice that was there
  function ask(method) {
    const part = share.value();
    if (part === null || asked) return;
    store.setBudget({ kind: kind.value, share: part / 100 });
    asked = { method, notice: store.notice(), kept: String(store.kept) };
    patience = setTimeout(answered, BUDGET_PATIENCE);
    store.send({ do: "budget", method, kind: kind.value, share: part / 100 });
    draw();
  }
  function answered() {
    clearTimeout(patience);
    asked = null;
    draw();
  }
  const draw = beforeNextPicture(() => {
    const none = desk.metrics.length ? null : "There are no curves to go by", busy = asked && "Waiting for the kernel";
    controlAllow(fit, none ?? busy, "The least predicted loss within the budget");
    controlAllow(equal, none ?? (kind.value === "latency" ? "Equal loss does not know milliseconds" : busy),
      "The same predicted loss for every group, as much as the budget asks for");
    for (const [button, method] of [[fit, "allocate"], [equal, "equal_loss"]]) button.setAttribute("aria-busy", String(asked?.method === method));
    const locked = store.locked().size;
    around.textContent = locked ? `around ${locked} locked` : "";
  });
  store.on("work", () => asked && store.notice() !== asked.notice && answered());
  store.on("history", () => asked && String(store.kept) !== asked.kept && answered());
  store.on("locks", draw);
  signal.addEventListener("abort", () => clearTimeout(patience));
  draw();
  return node;
}

/** Buttons for plans that need no curves. */
function budgetPresets(store) {
  const ratio = (label, value, act) => controlNumber(label, value, { min: 0, max: 99, step: "any" }, act);
  const uniform = () => apply([even], (ratios) => budgetUniform(store, ratios[0]));
  const depth = () => apply(parts, (ratios) => budgetByDepth(store, ratios));
  const even = ratio("Ratio of every group in per cent", 30, uniform);
  const parts = [["shallow", 10], ["middle", 30], ["deep", 20]].map(([third, value]) => ratio(`Ratio of the ${third} third in per cent`, value, depth));
  function apply(inputs, plan) {
    const ratios = inputs.map((input) => input.value());
    if (!ratios.includes(null)) store.set(plan(ratios.map((value) => value / 100)));
  }
  const slashed = parts.flatMap((part, i) => (i ? ["/", part.input] : [part.input]));
  return [
    element("span", {}, "Presets"),
    element("span", { class: "fl-desk-pair fl-desk-preset" }, controlButton("Uniform", uniform, { title: "Remove this part of every group that is not locked" }), even.input, "%"),
    element("span", { class: "fl-desk-pair fl-desk-preset" }, controlButton("By depth", depth, { title: "Remove these parts of the first, middle and last third of the groups" }), ...slashed, "%"),
    controlButton("Reset", () => store.set(budgetUniform(store, 0)), { title: "Keep all channels of every group that is not locked" }),
  ];
}

/** Return the plan with one ratio for all groups that may be pruned, as Plan.uniform. */
function budgetUniform(store, ratio) {
  return new Map(budgetPrunable(store).map((g) => [g, store.calculator.snapped(g, ratio, store.multiple())]));
}

/** Return the plan with a ratio for each third of the groups that may be pruned, as Plan.by_depth: the first thirds have one more. */
function budgetByDepth(store, ratios) {
  const all = budgetPrunable(store), size = Math.floor(all.length / 3), more = all.length % 3;
  const ends = [0, 1, 2].map((part) => (part + 1) * size + Math.min(part + 1, more));
  return new Map(all.map((g, i) => [g, store.calculator.snapped(g, ratios[ends.findIndex((end) => i < end)], store.multiple())]));
}

function budgetPrunable(store) {
  return store.calculator.groups.flatMap((group, g) => (group.protected ? [] : [g]));
}
