import { beforeNextPicture, element } from "../../common/static/common.js";
import { resultsOf } from "./store.js";
import { wordsCount, wordsIn, wordsKinds, wordsShare, wordsSpread, wordsValue } from "./words.js";

const GAUGE_REST = 700; // milliseconds after which totals are read out
const GAUGE_WHY = "Each group's own drop, as measured, added up. What is lost together is usually more than the sum. " +
  "± is half of the 95 % interval; the groups' errors are combined as independent.";

/** The totals of the plan shown, against those of the unpruned network. */
export function gaugesView(store, signal) {
  const whole = store.totalsOf(store.calculator.whole), kinds = wordsKinds(store.calculator.desk);
  const gauges = kinds.map((kind) => gaugeOf(kind, whole[kind.kind]));
  const predicted = gaugePredicted(store), live = element("div", { class: "fl-sr", role: "status", "aria-live": "polite" });
  const node = element("div", { class: "fl-gauges fl-desk-gauges", role: "group", "aria-label": "Totals of the plan", style: `--fl-desk-kinds: ${kinds.length}` },
    ...gauges.map((gauge) => gauge.node), predicted.node, live);
  let speaking = null, spoken = null;
  const draw = beforeNextPicture(() => {
    const totals = store.totals(), budget = store.budget();
    gauges.forEach((gauge, i) => gauge.draw(totals[kinds[i].kind], budget?.kind === kinds[i].kind ? budget.share : null));
    predicted.draw(totals.predicted);
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      const words = `${wordsShare(totals.macs, whole.macs)} of the MACs, ${wordsShare(totals.params, whole.params)} of the parameters remain. ${predicted.words()}`;
      if (spoken !== null && spoken !== words) live.textContent = words;
      spoken = words;
    }, GAUGE_REST);
  });
  for (const what of ["plan", "metric", "results", "budget"]) store.on(what, draw);
  signal.addEventListener("abort", () => clearTimeout(speaking));
  draw();
  return node;
}

/** One total: its value, the part that remains, and the budget as a mark on the bar. */
function gaugeOf({ title, name, of, note, text }, all) {
  const value = element("strong"), share = element("span", { class: "fl-quiet" }), bar = element("div");
  const mark = element("span", { class: "fl-desk-gauge-mark" }), limit = element("span", { class: "fl-desk-gauge-limit" });
  const node = element("div", { class: "fl-panel fl-gauge", "data-kind": name },
    element("div", { class: "fl-desk-gauge-title", title: note ?? null }, of ? `${title}, ${of}` : title),
    value, element("div", { class: "fl-meter fl-desk-gauge-meter", "aria-hidden": "true" }, bar, mark),
    element("div", { class: "fl-desk-gauge-line" }, share, limit));
  const sayValue = wordsIn(value), sayShare = wordsIn(share), sayLimit = wordsIn(limit);
  let at;
  return {
    node,
    draw(now, budget) {
      sayValue(text(now));
      sayShare(`${wordsShare(now, all)} of ${text(all)}`);
      bar.style.transform = `scaleX(${all > 0 ? Math.min(1, now / all) : 0})`;
      if (at !== budget) {
        at = budget;
        mark.hidden = budget === null;
        mark.style.left = `${100 * Math.min(1, budget ?? 0)}%`;
      }
      const over = budget !== null && now > budget * all * (1 + 1e-9);
      node.classList.toggle("fl-desk-over", over);
      sayLimit(budget === null ? "" : `${over ? "over" : "within"} the budget of ${Number((100 * budget).toFixed(1))}\u00a0%`);
    },
  };
}

/** What the curves expect of the plan, and what was measured of this very one. */
function gaugePredicted(store) {
  const title = element("div", { class: "fl-desk-gauge-title" }), value = element("strong"), spread = element("span");
  const before = element("span"), measured = element("span", { class: "fl-desk-gauge-measured" });
  const why = element("div", { class: "fl-desk-gauge-why", title: GAUGE_WHY }), unknown = element("div", { class: "fl-desk-gauge-unknown" });
  const node = element("div", { class: "fl-panel fl-gauge fl-desk-predicted", title: GAUGE_WHY }, title,
    element("div", { class: "fl-desk-gauge-line" }, value, spread), element("div", { class: "fl-desk-gauge-line" }, before, measured), why, unknown);
  const say = [title, value, spread, before, measured, why, unknown].map(wordsIn);
  const write = (...words) => words.forEach((each, i) => say[i](each));
  return {
    node,
    words: () => [title, value, spread, measured, unknown].map((each) => each.textContent).filter(Boolean).join(" "),
    draw(forecast) {
      const metric = store.metric();
      if (!metric) return write("Predicted metric", "–", "", "no curves: nothing is predicted", "", "", "");
      const count = forecast.unknown.length, bound = count === 0 ? "" : metric.higher_is_better ? "at most " : "at least ";
      const found = resultsOf(store.results(), store.kept) ?? {};
      const seen = [["pruned", "measured"], ["repaired", "repaired"], ["fine-tuned", "fine-tuned"]]
        .filter(([stage]) => Number.isFinite(found[stage]?.[metric.name]))
        .map(([stage, word]) => `${word} ${wordsValue(metric, found[stage][metric.name])}`);
      const { repaired } = store.calculator.desk;
      write(`Predicted ${metric.name}${repaired ? ", repaired" : ""}`, `${bound}${wordsValue(metric, forecast.value)}`, wordsSpread(metric, forecast.half),
        `was ${wordsValue(metric, metric.value)}`, seen.join(" · "), repaired ? "sum of single drops, each repaired" : "sum of single drops, before recovery",
        count ? `${wordsCount(count, "pruned group")} ${count === 1 ? "was" : "were"} not measured so far` : "");
    },
  };
}
