import { element } from "../../common/static/common.js";
import { legendGradient, lossNumber, lossUnit } from "./colours.js";

/** What the bars' height, colours and hatching stand for. */
export function barsLegend(repaired) {
  const title = element("span"), ticks = element("div", { class: "fl-desk-loss-ticks" });
  const scale = element("div", { class: "fl-desk-loss" }, element("div", { class: "fl-desk-loss-scale", style: `background:${legendGradient()}` }), ticks);
  const key = (kind, words) => element("span", { class: `fl-desk-key ${kind}` }, element("i"), words);
  const node = element("div", { class: "fl-legend fl-desk-bars-legend" },
    element("span", { class: "fl-desk-loss-key" }, title, scale),
    key("fl-desk-key-removed", "ratio removed"), key("fl-desk-key-beyond", "not measured"), key("fl-desk-key-cap", "not allowed"),
    key("fl-desk-key-remain", "MACs that remain"), key("fl-desk-key-whole", "MACs removed"));
  return {
    node,
    /** Show the numbers of a metric's scale. */
    set(metric, top, values) {
      scale.hidden = values.length === 0;
      title.textContent = values.length === 0 ? "no curves: no colours" : `predicted ${metric.higher_is_better ? "drop" : "rise"} of ${metric.name}${metric.share ? " (points)" : ""}${repaired ? ", repaired" : ""}`;
      ticks.replaceChildren(...values.map((value) => element("span", { style: `left:${(100 * value) / top}%` },
        `${value === top ? "≥ " : ""}${lossNumber(metric, value)}`)));
      ticks.title = values.length === 0 ? "" : `in ${lossUnit(metric)}`;
    },
  };
}
