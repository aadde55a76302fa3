import { niceSteps, short } from "../../common/static/common.js";
import { at } from "./model.js";

// From nothing lost to much: lightness falls all the way, and hue goes from yellow to blue, which all eyes tell apart.
const LOSS_COLOURS = [[250, 244, 225], [234, 217, 160], [199, 172, 112], [139, 122, 120], [76, 78, 118], [26, 38, 84]];
const LOSS_STOPS = 28; // of a bar's gradient
const MOST_POINTS = 0.2; // of a share: more is as dark

/** Return a colour of the scale; 0 stands for nothing lost, 1 for the scale's top and all beyond it. */
export function lossColour(part) {
  const place = Math.max(0, Math.min(1, part)) * (LOSS_COLOURS.length - 1), i = Math.min(Math.floor(place), LOSS_COLOURS.length - 2);
  const mixed = LOSS_COLOURS[i].map((from, k) => Math.round(from + (place - i) * (LOSS_COLOURS[i + 1][k] - from)));
  return `rgb(${mixed.join(" ")})`;
}

/** Return the scale of colours for a metric's drops: its top, and round drops along it. */
export function lossScale(metric) {
  const tops = (metric?.curves ?? []).filter(Boolean).map(({ drop }) => Math.max(...drop)).filter((top) => top > 0).sort((a, b) => a - b);
  if (tops.length === 0) return { top: 1, ticks: [] };
  // Other metrics have no natural top, and a few bars' largest drops are out of all proportion: half of the bars reach it.
  const wish = metric.share ? Math.min(MOST_POINTS, tops.at(-1)) : tops[Math.floor(tops.length / 2)];
  const ticks = niceSteps(0, wish, 4);
  return { top: ticks.at(-1) || wish, ticks };
}

/** Return a bar's background: the colour of the predicted drop at each height, up to the last that was measured. */
export function lossGradient(curve, channels, top) {
  const last = measuredRatio(curve, channels), stops = [];
  for (let i = 0; i <= LOSS_STOPS; i++) {
    const ratio = (last * i) / LOSS_STOPS;
    stops.push(`${lossColour(at(curve, (1 - ratio) * channels).drop / top)} ${(100 * ratio).toFixed(1)}%`);
  }
  return `linear-gradient(to top, ${stops.join(", ")}, transparent 0)`;
}

/** Return the largest ratio of a curve that was measured. */
export function measuredRatio(curve, channels) {
  return 1 - curve.kept.at(-1) / channels;
}

/** Return the legend's picture of the whole scale. */
export function legendGradient() {
  return `linear-gradient(to right, ${LOSS_COLOURS.map((_, i) => lossColour(i / (LOSS_COLOURS.length - 1))).join(", ")})`;
}

/** Return a drop as a number in the metric's own unit: points (0.01) of a share. */
export function lossNumber(metric, drop) {
  return metric.share ? String(Number((100 * drop).toFixed(1))).replace("-", "−") : short(drop).replace("-", "−");
}

/** Return the unit of a metric's drops. */
export function lossUnit(metric) {
  return metric.share ? "points" : `of ${metric.name}`;
}

/** Return what a group's own removal is expected to cost, in words. */
export function lossWords(metric, g, kept, channels) {
  if (!metric) return "nothing is predicted: there are no curves";
  if (metric.unmeasurable?.[g]) return "no measurable effect";
  const found = at(metric.curves[g], kept);
  if (!found) return "not measured";
  const kind = metric.higher_is_better ? "drop" : "rise", beyond = found.beyond ? "at least " : "";
  const drop = kept === channels ? "0" : `${beyond}${lossNumber(metric, found.drop)}`;
  return `${kind} ${drop} ${lossUnit(metric)}${metric.note ?? ""}`;
}

/** Return a ratio as people write it: with one digit after the point, or none. */
export function barPercent(ratio) {
  return `${Number((100 * ratio).toFixed(1))} %`;
}
