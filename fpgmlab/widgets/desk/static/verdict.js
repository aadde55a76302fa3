import { element } from "../../common/static/common.js";
import { measuredFirst } from "./measured.js";
import { wordsCount, wordsIn, wordsInterval, wordsSpread, wordsValue } from "./words.js";

export const VERDICT_WHY = "Each group's own drop, as measured, added up. What is lost together is usually more than the sum. " +
  "± is half of the 95 % interval; the groups' errors are combined as independent.";
const VERDICT_KINDS = { repaired: "repaired, measured", "as cut": "as cut, measured", unpruned: "unpruned, measured", predicted: "predicted, not measured", none: "not known" };

/** How good the plan shown is: one number, of a kind that the whole gauge shows. Measured comes before predicted, repaired before as cut. */
export function verdictGauge(store) {
  const name = element("span", { class: "fl-desk-gauge-title" }), kind = element("span", { class: "fl-desk-verdict-kind" });
  const value = element("strong"), spread = element("span", { class: "fl-desk-verdict-spread" });
  const how = element("div", { class: "fl-desk-gauge-why" }), others = element("div", { class: "fl-desk-verdict-others" });
  const bar = element("div"), meter = element("div", { class: "fl-meter fl-desk-verdict-meter", "aria-hidden": "true" }, bar), doing = element("div", { class: "fl-desk-verdict-doing" });
  const node = element("div", { class: "fl-panel fl-gauge fl-desk-verdict" }, element("div", { class: "fl-desk-gauge-line fl-desk-verdict-head" }, name, kind),
    element("div", { class: "fl-desk-verdict-line" }, value, spread), how, others, meter, doing);
  const parts = { name, kind, value, spread, how, others, doing };
  const say = Object.fromEntries(Object.entries(parts).map(([part, each]) => [part, wordsIn(each)]));
  return {
    node,
    /** Return the gauge in words, to be read out. */
    busy: () => meter.classList.contains("fl-desk-on"),
    words: () => [name, kind, value, spread, how, others].map((each) => each.textContent).filter(Boolean).join(" "),
    draw() {
      const shown = verdictOf(store), { live, share } = shown;
      for (const part of Object.keys(parts)) say[part](shown[part]);
      if (node.dataset.kind !== shown.mark) node.dataset.kind = shown.mark;
      if (node.title !== shown.title) node.title = shown.title;
      bar.style.transform = `scaleX(${share})`;
      meter.classList.toggle("fl-desk-on", live);
    },
  };
}

/** Return what the gauge says: each of its texts, the kind of its number, and how far the measuring is. */
function verdictOf(store) {
  const metric = store.metricShown(), { predicted } = store.totals(), live = store.isLive() ? store.live() : {};
  const at = { live: Boolean(live.doing) && live.doing !== "waiting", share: live.doing ? Math.max(0, Math.min(1, live.share ?? 0)) : 0, doing: (live.doing && live.words) || "" };
  if (!metric) return { ...at, name: "Metric", mark: "none", kind: VERDICT_KINDS.none, value: "–", spread: "", how: "no curves: nothing is predicted", others: live.why ?? "", title: "" };
  const found = store.measured(), first = measuredFirst(found), foreseen = predicted ? verdictForecast(store, metric, predicted) : null;
  const whole = String(store.kept) === String(store.calculator.whole);
  if (first === null) {
    const told = whole && metric.value !== null ? verdictUnpruned(metric) : { mark: "predicted", ...(foreseen ?? { value: "–", spread: "", how: "", others: "" }) };
    return { ...at, ...told, name: metric.name, kind: VERDICT_KINDS[told.mark], others: [told.others, store.live().why].filter(Boolean).join(" · "), title: told.mark === "predicted" ? VERDICT_WHY : "" };
  }
  const { value, low, high, samples, of, reference } = found[first], mark = whole ? "unpruned" : first;
  const also = whole ? [] : [first === "repaired" && found["as cut"] && `as cut ${wordsValue(metric, found["as cut"].value)}`,
    found["fine-tuned"] && `fine-tuned ${wordsValue(metric, found["fine-tuned"].value)}`,
    reference === null ? metric.value !== null && `unpruned ${wordsValue(metric, metric.value)}` : `unpruned ${wordsValue(metric, reference)} on the same pictures`];
  const { own } = live, mine = own && live.networks?.[first]?.[own.name];
  if (mine) also.push(`${own.name} ${wordsValue(own, mine.value)}, unpruned ${wordsValue(own, mine.reference)}`);
  const half = low === null || high === null ? 0 : (high - low) / 2;
  return {
    ...at, name: metric.name, mark, kind: VERDICT_KINDS[mark], value: wordsValue(metric, value), spread: whole ? "" : wordsSpread(metric, half),
    how: `${whole ? "nothing is removed" : wordsInterval(metric, low, high)} · ${verdictPictures(samples, of)}`, others: [...also, live.why].filter(Boolean).join(" · "),
    title: `The 95 % interval is of these pictures.${foreseen ? ` The curves predicted ${foreseen.value.replace("≈ ", "")} ${foreseen.spread}${store.calculator.desk.repaired ? ", repaired" : ", as cut"}.` : ""}`,
  };
}

function verdictForecast(store, metric, { value, half, unknown }) {
  const { repaired } = store.calculator.desk, count = unknown.length, bound = metric.higher_is_better ? "at most " : "at least ";
  const missing = count ? ` · ▲ ${wordsCount(count, "pruned group")} ${count === 1 ? "was" : "were"} not measured so far` : "";
  return { value: `${count ? bound : "≈ "}${wordsValue(metric, value)}`, spread: wordsSpread(metric, half),
    how: `sum of single drops, ${repaired ? "each repaired" : "before recovery"}${missing}`, others: `unpruned ${wordsValue(metric, metric.value)}` };
}

function verdictUnpruned(metric) {
  return { mark: "unpruned", value: wordsValue(metric, metric.value), spread: "", how: `nothing is removed · ${verdictPictures(metric.samples, null)}`, others: "" };
}

function verdictPictures(samples, of) {
  if (!of) return samples ? wordsCount(samples, "picture") : "";
  return samples >= of ? `all ${of.toLocaleString("en")} pictures` : `${samples.toLocaleString("en")} of ${of.toLocaleString("en")} pictures`;
}
