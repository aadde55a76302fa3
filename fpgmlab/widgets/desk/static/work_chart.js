import { element, niceSteps, shape, short } from "../../common/static/common.js";
import { wordsValue } from "./words.js";

const WORK_CHART = { height: 220, left: 52, right: 58, top: 14, bottom: 38 };
const WORK_POINTS = 600; // of the line; of more steps, evenly chosen ones are drawn

/** The training loss at each step as a line, the validation metric after each epoch as dots. */
export function workChart(store, signal) {
  const frame = shape("g", {}), line = shape("path", { class: "fl-chart-line" }), dots = shape("g", {});
  const drawing = shape("svg", { class: "fl-chart", role: "img", height: WORK_CHART.height }, frame, line, dots);
  const lossKey = element("span", { class: "fl-key fl-key-line" }, "training loss (left)"), metricKey = element("span", { class: "fl-key fl-desk-key-metric" }), baseKey = element("span", { class: "fl-key fl-key-line fl-desk-key-base" });
  const legend = element("div", { class: "fl-legend", "aria-hidden": "true" }, lossKey, metricKey, baseKey);
  const node = element("div", { class: "fl-desk-work-chart" }, drawing, legend), arrived = new Map();
  let framed = "", width = 600, shown = {};
  const watch = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === 0 || Math.round(contentRect.width) === width) return;
    width = Math.round(contentRect.width);
    draw(shown);
  });
  watch.observe(node);
  signal.addEventListener("abort", () => watch.disconnect());

  function draw(work) {
    shown = work;
    const steps = work.steps ?? [], rows = work.epochs ?? [];
    node.hidden = steps.length === 0 && rows.length === 0;
    if (node.hidden) return arrived.clear();
    const metric = store.calculator.desk.metrics.find(({ name }) => name === work.metric) ?? { name: work.metric, share: work.metric === "accuracy", value: null };
    const seen = work.metric ? rows.filter((row) => Number.isFinite(row[work.metric])) : [];
    const scale = workScale(work, steps, seen.map((row) => row[work.metric]), metric, width);
    if (scale.key !== framed) {
      framed = scale.key;
      drawing.setAttribute("width", width);
      drawing.setAttribute("viewBox", `0 0 ${width} ${WORK_CHART.height}`);
      frame.replaceChildren(...workFrame(scale, metric, width));
    }
    const every = Math.ceil(steps.length / WORK_POINTS);
    const path = steps.filter(([, loss], i) => Number.isFinite(loss) && (i % every === 0 || i === steps.length - 1));
    line.setAttribute("d", path.length ? `M ${path.map(([step, loss]) => `${scale.x(step).toFixed(1)} ${scale.loss(loss).toFixed(1)}`).join(" L ")}` : "");
    const places = workEpochs(steps, rows, arrived);
    dots.replaceChildren(...seen.map((row) => shape("circle", { class: "fl-desk-epoch", r: 4.5, cx: scale.x(places.get(row.epoch)), cy: scale.metric(row[work.metric]) },
      shape("title", {}, `epoch ${row.epoch}: ${wordsValue(metric, row[work.metric])}`))));
    metricKey.textContent = work.metric ? `validation ${work.metric} after each epoch (right)` : "";
    metricKey.hidden = !work.metric;
    baseKey.textContent = "unpruned";
    baseKey.hidden = !Number.isFinite(metric.value);
    drawing.setAttribute("aria-label", workWords(steps, seen, work, metric));
  }
  return { node, draw };
}

function workWords(steps, seen, work, metric) {
  const [step, value] = steps.findLast(([, each]) => Number.isFinite(each)) ?? [0, null];
  const loss = value === null ? "" : `training loss ${short(value)} at step ${step} of ${work.total ?? step}`;
  const epochs = seen.map((row) => `epoch ${row.epoch}: ${wordsValue(metric, row[work.metric])}`).join("; ");
  return ["Fine-tuning", loss, epochs && `validation ${work.metric}: ${epochs}`].filter(Boolean).join("; ");
}

/** Return the step after which each epoch ended: noted as they come in, for the kernel tells only their numbers. */
function workEpochs(steps, rows, arrived) {
  const newest = rows.at(-1)?.epoch ?? 0, last = steps.at(-1)?.[0] ?? 0;
  if (newest < Math.max(0, ...arrived.keys())) arrived.clear(); // another training
  for (const { epoch } of rows) if (!arrived.has(epoch)) arrived.set(epoch, (last * epoch) / newest);
  return arrived;
}

function workScale(work, steps, values, metric, width) {
  const { height, left, right, top, bottom } = WORK_CHART;
  const total = Math.max(1, work.total ?? 0, steps.at(-1)?.[0] ?? 0);
  const losses = niceSteps(0, Math.max(1e-9, ...steps.map(([, loss]) => loss).filter(Number.isFinite)) * 1.15, 4);
  const most = losses.at(-1) + (losses.length > 1 ? losses[1] : 0);
  const all = [...values, ...(Number.isFinite(metric.value) ? [metric.value] : [])];
  const [least, best] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1], span = Math.max(best - least, metric.share ? 0.05 : Math.abs(best) / 20 || 1);
  const rough = niceSteps(0, span, 3), step = rough[1] - rough[0];
  let low = Math.floor((least - 0.1 * span) / step) * step, high = Math.ceil((best + 0.1 * span) / step) * step;
  if (metric.share) [low, high] = [Math.max(0, low), Math.min(1, high)];
  const up = height - top - bottom;
  return {
    key: [total, most, low, high, metric.name, metric.value, width].join(" "), total, losses: [...losses, most], low, high, step,
    x: (at) => left + ((width - left - right) * at) / total,
    loss: (value) => top + up * (1 - value / most),
    metric: (value) => top + up * (1 - (value - low) / (high - low)),
  };
}

function workFrame(scale, metric, width) {
  const { height, left, right, top, bottom } = WORK_CHART, base = height - bottom, end = width - right, middle = (top + base) / 2;
  const levels = metric.name ? Array.from({ length: Math.round((scale.high - scale.low) / scale.step) + 1 }, (_, i) => scale.low + i * scale.step).filter((v) => v <= scale.high + 1e-9) : [];
  return [
    ...scale.losses.flatMap((value) => [
      shape("line", { class: "fl-chart-grid", x1: left, x2: end, y1: scale.loss(value), y2: scale.loss(value) }),
      shape("text", { x: left - 6, y: scale.loss(value) + 4, "text-anchor": "end" }, short(Number(value.toPrecision(6)))),
    ]),
    ...levels.flatMap((value) => [
      shape("line", { class: "fl-chart-axis", x1: end, x2: end + 4, y1: scale.metric(value), y2: scale.metric(value) }),
      shape("text", { x: end + 8, y: scale.metric(value) + 4 }, metric.share ? `${Number((100 * value).toFixed(1))} %` : short(Number(value.toPrecision(6)))),
    ]),
    ...niceSteps(0, scale.total, width > 400 ? 6 : 3).filter(Number.isInteger).flatMap((step) => [
      shape("line", { class: "fl-chart-axis", x1: scale.x(step), x2: scale.x(step), y1: base, y2: base + 4 }),
      shape("text", { x: scale.x(step), y: base + 16, "text-anchor": "middle" }, String(step)),
    ]),
    shape("line", { class: "fl-chart-axis", x1: left, x2: end, y1: base, y2: base }),
    ...(Number.isFinite(metric.value) ? [shape("line", { class: "fl-chart-base", x1: left, x2: end, y1: scale.metric(metric.value), y2: scale.metric(metric.value) })] : []),
    shape("text", { x: (left + end) / 2, y: height - 4, "text-anchor": "middle" }, "training step"),
    shape("text", { transform: `translate(10 ${middle}) rotate(-90)`, "text-anchor": "middle" }, "training loss"),
    ...(metric.name ? [shape("text", { transform: `translate(${width - 4} ${middle}) rotate(-90)`, "text-anchor": "middle" }, `validation ${metric.name}`)] : []),
  ];
}
