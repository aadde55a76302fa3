import { beforeNextPicture, element, niceSteps, onceRested, shape } from "../../common/static/common.js";
import { controlSelect } from "../../common/static/controls.js";
import { labelMarks, labelPlace } from "./labels.js";
import { tradeoffCloud, tradeoffMain, tradeoffPlaces, tradeoffPoint, tradeoffValues, tradeoffWords } from "./marks.js";
import { measuredOf } from "./measured.js";
import { plansOf } from "./plans.js";
import { wordsIn } from "./words.js";

const TRADEOFF = { height: 250, left: 52, right: 18, top: 12, bottom: 38 };
const TRADEOFF_AXES = { macs: "MACs", latency: "milliseconds" };

/** What remains of a cost against the metric: every plan that was kept, those that were measured, and the one on the desk as it moves. */
export function tradeoffView(store, signal) {
  const frame = shape("g", { "aria-hidden": "true" }), points = shape("g"), live = tradeoffPoint(null, "fl-desk-live");
  const cloud = tradeoffCloud((kept) => store.set(new Map(kept.split(",").map((count, g) => [g, Number(count)]))));
  const drawing = shape("svg", { class: "fl-chart", role: "group", height: TRADEOFF.height }, frame, cloud.node, points, live.node);
  const words = element("span"), nothing = element("p", { class: "fl-quiet" }, "No curves: there is no metric to draw."), sayWords = wordsIn(words);
  const axis = controlSelect({ "aria-label": "Cost across the plot" }, Object.entries(TRADEOFF_AXES), (value) => store.see("axis", value));
  const title = element("div", { class: "fl-desk-tradeoff-title" }, element("h4", {}, words), axis);
  axis.hidden = !store.calculator.desk.latency;
  const legend = element("div", { class: "fl-legend", "aria-hidden": "true" }, ...[["measured", "as cut"], ["repaired", "repaired"], ["tuned", "fine-tuned"],
    ["predicted", `predicted${store.calculator.desk.repaired ? " after repair" : ""}, where nothing is measured`], ["spread", "95 % interval"], ["off", "beyond the plot, with its value"], ["cloud", "small: measured on the way"], ["desk", "on the desk"]]
    .map(([mark, name]) => element("span", { class: `fl-key fl-desk-key-plan fl-desk-key-${mark}` }, name)));
  const node = element("div", { class: "fl-panel fl-desk-tradeoff" }, title, drawing, nothing, legend);
  let plans = [], marks = [], passed = [], key = "", width = 420, held = []; // held: boxes that the name of the plan on the desk keeps off

  function draw(all) {
    const metric = store.metric();
    drawing.style.display = metric ? "" : "none";
    nothing.hidden = Boolean(metric);
    legend.hidden = !metric;
    axis.hidden = !metric || !store.calculator.desk.latency;
    if (!metric) {
      sayWords("Trade-off");
      return;
    }
    const kind = store.axis(), cost = TRADEOFF_AXES[kind];
    if (all || !plans.length) plans = plansOf(store);
    const whole = plans[0].totals[kind], valuesOf = ({ totals }, found, unpruned) => tradeoffValues(totals[kind] / whole, totals.predicted, found, metric, unpruned);
    const seen = plans.map((plan, i) => valuesOf(plan, measuredOf(plan.kept, metric.name, { results: { [plan.kept.join(",")]: plan.results } }), i === 0));
    const desk = valuesOf({ totals: store.totals() }, store.measured(), String(store.kept) === String(store.calculator.whole));
    if (all) passed = tradeoffPoints(store.points(), metric.name, kind, whole);
    const scale = tradeoffScale([...seen, desk], passed, metric, width), room = { left: TRADEOFF.left, right: width - 2, top: 2, bottom: TRADEOFF.height - TRADEOFF.bottom };
    if (all || scale.key !== key) {
      key = scale.key;
      axis.value = kind;
      drawing.setAttribute("width", width);
      drawing.setAttribute("viewBox", `0 0 ${width} ${TRADEOFF.height}`);
      drawing.setAttribute("aria-label", `Plans: ${cost} that remain against ${metric.name}`);
      frame.replaceChildren(...tradeoffFrame(scale, metric, width, cost));
      cloud.draw(passed, scale);
      sayWords(axis.hidden ? `Trade-off: MACs that remain against ${metric.name}` : `Trade-off: ${metric.name} against what remains of`);
      while (marks.length < plans.length) marks.push(tradeoffPoint((id) => store.restore(id), ""));
      if (points.childElementCount !== plans.length) points.replaceChildren(...marks.slice(0, plans.length).map((mark) => mark.node));
      const places = plans.map((_, i) => tradeoffPlaces(seen[i], scale));
      held = places.flatMap(labelMarks);
      plans.forEach((plan, i) => {
        marks[i].draw(plan.id, places[i], `Restore ${plan.name}: ${tradeoffWords(seen[i], metric, cost)}`, metric);
        const label = labelPlace(plan.name, places[i], room, held);
        marks[i].label(label);
        if (label) held.push(label.box);
      });
    }
    const place = tradeoffPlaces(desk, scale);
    live.draw(null, place, "", metric);
    live.label(labelPlace("on the desk", place, room, [...held, ...labelMarks(place)]));
  }
  const all = beforeNextPicture(() => draw(true));
  for (const what of ["snapshots", "metric", "results", "confirmed", "points", "seen"]) store.on(what, all);
  const soon = onceRested(beforeNextPicture(() => draw(false)), signal);
  for (const what of ["plan", "live"]) store.on(what, soon);
  const watch = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === 0 || Math.round(contentRect.width) === width) return;
    width = Math.round(contentRect.width);
    all();
  });
  watch.observe(node);
  signal.addEventListener("abort", () => watch.disconnect());
  all();
  return node;
}

/** Return the plans that were measured: kept, what remains of the cost, and the metric as cut and repaired (null: not measured). */
function tradeoffPoints(points, metric, kind, whole) {
  return points.filter((point) => Number.isFinite(point[kind])).map((point) => ({
    kept: point.kept, share: point[kind] / whole, "as cut": point["as cut"]?.[metric] ?? null, repaired: point.repaired?.[metric] ?? null,
  }));
}

/**
 * Return the scales, in round steps so that they rest while a bar moves. They are made for what stands for each plan, and for repaired points where
 * there are any: as cut a plan may be far off.
 */
function tradeoffScale(seen, points, metric, width) {
  const mended = points.filter((point) => point.repaired !== null), own = seen.map(tradeoffMain).filter((value) => value !== null);
  const values = [...own, ...(mended.length ? mended.map((point) => point.repaired) : points.map((point) => point["as cut"]).filter((value) => value !== null))];
  const shares = [...seen, ...points].map(({ share }) => share).filter(Number.isFinite);
  const least = Math.min(0.9, Math.floor(10 * Math.min(...shares) - 1e-9) / 10), most = Math.max(1, Math.ceil(10 * Math.max(...shares) - 1e-9) / 10);
  let low = Math.min(...values), high = Math.max(...values);
  const span = Math.max(high - low, metric.share ? 0.1 : Math.abs(high) / 10 || 1);
  const rough = niceSteps(0, span, 4), step = rough[1] - rough[0];
  low = Math.floor((low - 0.1 * span) / step) * step;
  high = Math.ceil((high + 0.1 * span) / step) * step;
  if (metric.share) [low, high] = [Math.max(0, low), Math.min(1, high)];
  const across = width - TRADEOFF.left - TRADEOFF.right, up = TRADEOFF.height - TRADEOFF.top - TRADEOFF.bottom;
  return {
    key: `${low} ${high} ${least} ${most} ${width}`, low, high, step, least, most, from: TRADEOFF.top + up, to: TRADEOFF.top,
    side: (value) => (value > high + 1e-9 ? 1 : value < low - 1e-9 ? -1 : 0),
    x: (share) => TRADEOFF.left + (across * (Math.max(0, share) - least)) / (most - least),
    y: (value) => TRADEOFF.top + up * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)),
  };
}

function tradeoffFrame({ x, y, low, high, step, least, most }, metric, width, across) {
  const base = TRADEOFF.height - TRADEOFF.bottom, end = width - TRADEOFF.right, middle = (TRADEOFF.top + base) / 2;
  const levels = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => Math.min(high, low + i * step));
  const shares = niceSteps(least, most, width > 340 ? 6 : 3);
  return [
    ...levels.flatMap((value) => [
      shape("line", { class: "fl-chart-grid", x1: TRADEOFF.left, x2: end, y1: y(value), y2: y(value) }),
      shape("text", { x: TRADEOFF.left - 6, y: y(value) + 4, "text-anchor": "end" }, metric.share ? `${Number((100 * value).toFixed(1))} %` : String(Number(value.toPrecision(3)))),
    ]),
    ...shares.flatMap((share) => [
      shape("line", { class: "fl-chart-axis", x1: x(share), x2: x(share), y1: base, y2: base + 4 }),
      shape("text", { x: x(share), y: base + 16, "text-anchor": "middle" }, `${Math.round(100 * share)} %`),
    ]),
    shape("line", { class: "fl-chart-axis", x1: TRADEOFF.left, x2: end, y1: base, y2: base }),
    shape("text", { x: (TRADEOFF.left + end) / 2, y: TRADEOFF.height - 4, "text-anchor": "middle" }, `${across} that remain`),
    shape("text", { transform: `translate(10 ${middle}) rotate(-90)`, "text-anchor": "middle" }, metric.name),
  ];
}
