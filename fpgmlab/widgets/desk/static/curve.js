import { element, niceSteps, shape } from "../../common/static/common.js";
import { at } from "./model.js";
import { wordsValue } from "./words.js";

const CURVE_WIDTH = 268, CURVE_HEIGHT = 178, CURVE_LEFT = 44, CURVE_RIGHT = 12, CURVE_TOP = 32, CURVE_BOTTOM = 34;
const CURVE_LETTER = 7; // pixels of a letter of a value
const CURVE_SPAN = 0.05; // of a share: a flat curve is not blown up

/** The measured curve of one group with its intervals, and a marker at the ratio of the plan. */
export function curvePicture() {
  const axes = shape("g"), band = shape("path", { class: "fl-chart-band" }), base = shape("path", { class: "fl-chart-base" });
  const line = shape("path", { class: "fl-chart-line" }), dots = shape("path", { class: "fl-chart-dots" });
  const rule = shape("line", { y1: CURVE_TOP, y2: CURVE_HEIGHT - CURVE_BOTTOM }), ring = shape("circle", { r: 4.5 });
  const value = shape("text", { class: "fl-chart-label" }), marker = shape("g", { class: "fl-desk-curve-marker" }, rule, ring, value);
  const drawing = shape("svg", { viewBox: `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`, role: "img", class: "fl-chart fl-desk-curve-picture" }, axes, band, base, line, dots, marker);
  const nothing = element("p"), node = element("div", { class: "fl-desk-detail-curve" }, drawing, nothing);
  let scale = null, along = [];

  return {
    node,
    /** Draw a group's curve; `why` says in words that there is none. */
    setCurve(metric, curve, channels, why) {
      drawing.style.display = curve ? "" : "none";
      nothing.textContent = curve ? "" : why;
      if (!curve) return;
      scale = curveScale(metric, curve);
      const x = curve.kept.map((kept) => curveAcross(1 - kept / channels)), y = scale.y;
      const path = (places, heights) => places.map((a, i) => `${a.toFixed(1)} ${heights[i].toFixed(1)}`);
      // Of few samples an interval may have no end: it ends with the picture.
      const highs = curve.high.map((high) => y(high ?? scale.high)), lows = curve.low.map((low) => y(low ?? scale.low));
      axes.replaceChildren(...curveAxes(metric, scale));
      band.setAttribute("d", `M ${[...path(x, highs), ...path(x, lows).reverse()].join(" L ")} Z`);
      base.setAttribute("d", `M ${CURVE_LEFT} ${y(metric.value)} H ${CURVE_WIDTH - CURVE_RIGHT}`);
      const heights = curve.drop.map((drop) => y(curveValue(metric, drop)));
      line.setAttribute("d", `M ${path(x, heights).join(" L ")}`);
      along = curveAlong(x, heights);
      dots.setAttribute("d", path(x, curve.value.map((each, i) => y(each ?? curveValue(metric, curve.drop[i])))).map((place) => `M ${place} h 0`).join(" "));
    },
    /** Put the marker on a number of kept channels. */
    setKept(metric, curve, kept, channels, name) {
      if (!curve) return;
      const found = at(curve, kept), ratio = 1 - kept / channels, x = curveAcross(ratio), there = curveValue(metric, found.drop), y = scale.y(there);
      const words = `${found.beyond ? (metric.higher_is_better ? "≤ " : "≥ ") : ""}${wordsValue(metric, there)}`;
      marker.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
      marker.classList.toggle("fl-desk-beyond-measured", found.beyond);
      ring.setAttribute("cy", y.toFixed(1));
      const { dx, y: bottom } = curveLabel(words, x, y, scale.y(metric.value), along);
      value.setAttribute("text-anchor", dx > 0 ? "start" : "end");
      value.setAttribute("x", dx);
      value.setAttribute("y", bottom.toFixed(1));
      value.textContent = words;
      drawing.setAttribute("aria-label", `Sensitivity curve of ${name}: ${metric.name} ${words} at this ratio, ${wordsValue(metric, metric.value)} unpruned`);
    },
  };
}

/** Return where a value's text can stand beside its point: the first place where neither the curve nor the unpruned network's line crosses it. */
function curveLabel(words, x, y, base, points) {
  const width = CURVE_LETTER * words.length, sides = x > CURVE_WIDTH / 2 ? [-8, 8] : [8, -8];
  const places = sides.flatMap((dx) => [-8, 16, -22, 30, -36, 44].map((dy) => ({ dx, y: y + dy })));
  const free = ({ dx, y: bottom }) => {
    const left = dx > 0 ? x + dx : x + dx - width, right = left + width, top = bottom - 11;
    if (left < CURVE_LEFT || right > CURVE_WIDTH || top < 13 || bottom + 3 > CURVE_HEIGHT - CURVE_BOTTOM) return false;
    const inside = ([a, b]) => a > left - 2 && a < right + 2 && b > top - 1 && b < bottom + 3;
    return !(base > top - 1 && base < bottom + 3) && !points.some(inside);
  };
  return places.find(free) ?? places[0];
}

/** Return points along a polyline, close together. */
function curveAlong(x, y) {
  return x.slice(1).flatMap((end, i) => Array.from({ length: 65 }, (_, k) => [x[i] + ((end - x[i]) * k) / 64, y[i] + ((y[i + 1] - y[i]) * k) / 64]));
}

function curveValue(metric, drop) {
  return metric.higher_is_better ? metric.value - drop : metric.value + drop;
}

function curveAcross(ratio) {
  return CURVE_LEFT + ratio * (CURVE_WIDTH - CURVE_LEFT - CURVE_RIGHT);
}

function curveScale(metric, curve) {
  // An interval of a share may end where no share is.
  const inside = (value) => (metric.share ? Math.min(1, Math.max(0, value)) : value);
  const ends = [...curve.low, ...curve.high].filter(Number.isFinite).map(inside);
  const values = [metric.value, ...ends, ...curve.value, ...curve.drop.map((drop) => curveValue(metric, drop))].filter(Number.isFinite);
  let low = Math.min(...values), high = Math.max(...values);
  const least = metric.share ? CURVE_SPAN : 1e-3 * Math.abs(metric.value) || 1e-6;
  if (high - low < least) low = high - least;
  const [first, second] = niceSteps(0, high - low, 5), step = second - first;
  low = Math.floor(low / step + 1e-6) * step;
  high = Math.ceil(high / step - 1e-6) * step;
  const height = CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM;
  const y = (value) => CURVE_TOP + height * (1 - (inside(value) - low) / (high - low));
  return { low, high, ticks: niceSteps(low, high, Math.round((high - low) / step)), y };
}

function curveAxes(metric, { ticks, y }) {
  const right = CURVE_WIDTH - CURVE_RIGHT, bottom = CURVE_HEIGHT - CURVE_BOTTOM;
  const digits = metric.share && ticks[1] - ticks[0] < 0.0099 ? 1 : 0;
  return [
    ...ticks.flatMap((value) => [
      shape("line", { class: "fl-chart-grid", x1: CURVE_LEFT, x2: right, y1: y(value), y2: y(value) }),
      shape("text", { x: CURVE_LEFT - 5, y: y(value) + 3.5, "text-anchor": "end" }, metric.share ? (100 * value).toFixed(digits) : String(Number(value.toPrecision(3)))),
    ]),
    ...[0, 0.25, 0.5, 0.75, 1].map((ratio) => shape("text", { x: curveAcross(ratio), y: bottom + 14, "text-anchor": "middle" }, String(100 * ratio))),
    shape("text", { x: 2, y: 11 }, `${metric.name}${metric.share ? ", %" : ""}`),
    shape("text", { x: (CURVE_LEFT + right) / 2, y: CURVE_HEIGHT - 4, "text-anchor": "middle" }, "ratio removed, %"),
  ];
}
