import { element } from "../../common/static/common.js";
import { legendGradient, lossNumber, lossUnit } from "./colours.js";
import { wordsIn } from "./words.js";

/** What the bars' height, colours, ticks and hatching stand for. */
export function barsLegend(store) {
  const { latency, repaired } = store.calculator.desk;
  const title = element("span"), ticks = element("div", { class: "fl-desk-loss-ticks" }), sayTitle = wordsIn(title);
  const scale = element("div", { class: "fl-desk-loss" }, element("div", { class: "fl-desk-loss-scale", style: `background:${legendGradient()}` }), ticks);
  const key = (kind, words) => element("span", { class: `fl-desk-key fl-desk-key-${kind}` }, element("i"), words);
  const ofTable = latency ? [key("step", `end of a step of ${latency.runtime}`), key("waste", "wasted by a step")] : [];
  const node = element("div", { class: "fl-legend fl-desk-bars-legend" },
    element("span", { class: "fl-desk-loss-key" }, title, scale),
    key("removed", "ratio removed"), ...ofTable, key("beyond", "not measured"), key("cap", "not allowed"),
    key("remain", "MACs that remain"), ...(latency ? [key("ms", "milliseconds that remain")] : []), key("whole", "removed"));
  return {
    node,
    /** Show the numbers of a metric's scale, and of which curves the colours are. */
    set(metric, top, values) {
      const other = store.background() === "as cut" && repaired ? "; predictions keep to the repaired curves" : "";
      scale.hidden = values.length === 0;
      sayTitle(values.length === 0 ? "no curves: no colours"
        : `${metric.higher_is_better ? "drop" : "rise"} of ${metric.name}${metric.share ? " (points)" : ""}, each group alone, ${store.background()}${other}`);
      ticks.replaceChildren(...values.map((value) => element("span", { style: `left:${(100 * value) / top}%` },
        `${value === top ? "≥ " : ""}${lossNumber(metric, value)}`)));
      ticks.title = values.length === 0 ? "" : `in ${lossUnit(metric)}`;
    },
  };
}
