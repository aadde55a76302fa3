import { beforeNextPicture, element, niceSteps, onceRested, shape } from "../../common/static/common.js";
import { planOnDesk, plansOf } from "./plans.js";
import { labelMarks, labelPlace } from "./labels.js";
import { wordsShare, wordsValue } from "./words.js";

const TRADEOFF = { height: 250, left: 52, right: 18, top: 12, bottom: 38 };

/** MACs that remain against the metric: every plan that was kept, and the one on the desk as it moves. */
export function tradeoffView(store, signal) {
  const frame = shape("g", { "aria-hidden": "true" }), points = shape("g"), live = tradeoffPoint(null, "fl-desk-live");
  const drawing = shape("svg", { class: "fl-chart", role: "group", "aria-label": "Plans: MACs that remain against the metric", height: TRADEOFF.height }, frame, points, live.node);
  const title = element("h4", {}, "Trade-off"), nothing = element("p", { class: "fl-quiet" }, "No curves: there is no metric to draw.");
  const legend = element("div", { class: "fl-legend", "aria-hidden": "true" }, ...[["predicted", `predicted${store.calculator.desk.repaired ? " after repair" : ""}, ± 95 % interval`], ["measured", "measured, pruned"], ["repaired", "repaired"], ["tuned", "fine-tuned"], ["desk", "on the desk"]]
    .map(([mark, words]) => element("span", { class: `fl-key fl-desk-key-plan fl-desk-key-${mark}` }, words)));
  const node = element("div", { class: "fl-panel fl-desk-tradeoff" }, title, drawing, nothing, legend);
  let plans = [], marks = [], key = "", width = 420, held = []; // held: boxes that the name of the plan on the desk keeps off

  function draw(all) {
    const metric = store.metric();
    drawing.style.display = metric ? "" : "none";
    nothing.hidden = Boolean(metric);
    legend.hidden = !metric;
    if (!metric) {
      title.textContent = "Trade-off";
      return;
    }
    if (all || !plans.length) plans = plansOf(store);
    const desk = planOnDesk(store), whole = plans[0].totals.macs;
    const seen = [...plans, desk].map((plan) => tradeoffValues(plan, metric, whole, plan === plans[0]));
    const scale = tradeoffScale(seen, metric, width), room = { left: TRADEOFF.left, right: width - 2, top: 2, bottom: TRADEOFF.height - TRADEOFF.bottom };
    if (all || scale.key !== key) {
      key = scale.key;
      drawing.setAttribute("width", width);
      drawing.setAttribute("viewBox", `0 0 ${width} ${TRADEOFF.height}`);
      frame.replaceChildren(...tradeoffFrame(scale, metric, width));
      title.textContent = `Trade-off: MACs that remain against ${metric.name}`;
      while (marks.length < plans.length) marks.push(tradeoffPoint((id) => store.restore(id), ""));
      if (points.childElementCount !== plans.length) points.replaceChildren(...marks.slice(0, plans.length).map((mark) => mark.node));
      const places = plans.map((_, i) => tradeoffPlaces(seen[i], scale));
      held = places.flatMap(labelMarks);
      plans.forEach((plan, i) => {
        marks[i].draw(plan.id, places[i], `Restore ${plan.name}: ${tradeoffWords(seen[i], metric)}`);
        const label = labelPlace(plan.name, places[i], room, held);
        marks[i].label(label);
        if (label) held.push(label.box);
      });
    }
    const place = tradeoffPlaces(seen.at(-1), scale);
    live.draw(null, place, "");
    live.label(labelPlace("on the desk", place, room, [...held, ...labelMarks(place)]));
  }
  const all = beforeNextPicture(() => draw(true));
  for (const what of ["snapshots", "metric", "results", "confirmed"]) store.on(what, all);
  store.on("plan", onceRested(beforeNextPicture(() => draw(false)), signal));
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

/** Return where a plan stands: share of the MACs, what is predicted, its interval, and what was measured. The unpruned network is measured. */
function tradeoffValues({ totals, results }, metric, whole, unpruned) {
  const measured = (stage) => (Number.isFinite(results[stage]?.[metric.name]) ? results[stage][metric.name] : null);
  const { value, half } = totals.predicted;
  const share = totals.macs / whole;
  const recovered = { repaired: measured("repaired"), tuned: measured("fine-tuned") };
  if (unpruned) return { share, predicted: null, half: 0, measured: metric.value, ...recovered };
  return { share, predicted: value, half, measured: measured("pruned"), ...recovered };
}

function tradeoffWords({ share, predicted, measured, repaired, tuned }, metric) {
  const words = [[predicted, "predicted"], [measured, "measured"], [repaired, "repaired"], [tuned, "fine-tuned"]]
    .filter(([value]) => value !== null).map(([value, word]) => `${word} ${wordsValue(metric, value)}`);
  return `${wordsShare(share, 1)} of the MACs, ${words.join(", ")}`;
}

/** Return the scales, in round steps so that they rest while a bar moves. */
function tradeoffScale(seen, metric, width) {
  const values = seen.flatMap(({ predicted, measured, repaired, tuned }) => [predicted, measured, repaired, tuned]).filter((value) => value !== null);
  const least = Math.min(0.9, Math.floor(10 * Math.min(...seen.map(({ share }) => share)) - 1e-9) / 10);
  let low = Math.min(...values), high = Math.max(...values);
  const span = Math.max(high - low, metric.share ? 0.1 : Math.abs(high) / 10 || 1);
  const rough = niceSteps(0, span, 4), step = rough[1] - rough[0];
  low = Math.floor((low - 0.1 * span) / step) * step;
  high = Math.ceil((high + 0.1 * span) / step) * step;
  if (metric.share) [low, high] = [Math.max(0, low), Math.min(1, high)];
  const across = width - TRADEOFF.left - TRADEOFF.right, up = TRADEOFF.height - TRADEOFF.top - TRADEOFF.bottom;
  return {
    key: `${low} ${high} ${least} ${width}`, low, high, step, least,
    x: (share) => TRADEOFF.left + (across * (Math.max(0, share) - least)) / (1 - least),
    y: (value) => TRADEOFF.top + up * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)),
  };
}

function tradeoffFrame({ x, y, low, high, step, least }, metric, width) {
  const base = TRADEOFF.height - TRADEOFF.bottom, end = width - TRADEOFF.right, middle = (TRADEOFF.top + base) / 2;
  const levels = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => Math.min(high, low + i * step));
  const shares = niceSteps(least, 1, width > 340 ? 6 : 3);
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
    shape("text", { x: (TRADEOFF.left + end) / 2, y: TRADEOFF.height - 4, "text-anchor": "middle" }, "MACs that remain"),
    shape("text", { transform: `translate(10 ${middle}) rotate(-90)`, "text-anchor": "middle" }, metric.name),
  ];
}

function tradeoffPlaces({ share, predicted, half, measured, repaired, tuned }, { x, y }) {
  const place = (value) => (value === null ? null : y(value));
  return { x: x(share), predicted: place(predicted), measured: place(measured), repaired: place(repaired), tuned: place(tuned),
    from: predicted === null ? null : y(predicted - half), to: predicted === null ? null : y(predicted + half) };
}

/** One plan: predicted hollow, measured filled, repaired as a diamond half full, fine-tuned as a full one, joined by a line. `restore` is null for the plan on the desk. */
function tradeoffPoint(restore, kind) {
  const line = shape("path", { class: "fl-desk-join" }), bar = shape("path", { class: "fl-desk-spread" });
  const hollow = shape("circle", { class: "fl-desk-hollow", r: 4.5 }), filled = shape("circle", { class: "fl-desk-filled", r: 4.5 });
  const diamond = shape("path", { class: "fl-desk-filled", d: "M 0 -6 L 6 0 L 0 6 L -6 0 Z" }), text = shape("text", { class: "fl-chart-label" });
  const half = shape("g", {}, shape("path", { class: "fl-desk-hollow", d: "M 0 -5.5 L 5.5 0 L 0 5.5 L -5.5 0 Z" }), shape("path", { class: "fl-desk-half", d: "M 5.5 0 L 0 5.5 L -5.5 0 Z" }));
  const hit = shape("circle", { class: "fl-desk-hit", r: 11 }), words = shape("title");
  const shown = [[hollow, "predicted"], [filled, "measured"], [half, "repaired"], [diamond, "tuned"]];
  const node = shape("g", { class: `fl-desk-plan-point ${kind}` }, words, line, bar, ...shown.map(([mark]) => mark), text, hit);
  let id = null;
  if (restore) {
    node.setAttribute("role", "button");
    node.setAttribute("tabindex", "0");
    node.addEventListener("click", () => restore(id));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      restore(id);
      event.preventDefault();
      event.stopPropagation();
    });
  } else node.setAttribute("aria-hidden", "true");
  return {
    node,
    draw(plan, at, label) {
      id = plan;
      const heights = shown.map(([, name]) => at[name]).filter((y) => y !== null);
      line.setAttribute("d", heights.length > 1 ? `M 0 ${Math.min(...heights)} V ${Math.max(...heights)}` : "");
      bar.setAttribute("d", at.from === null || Math.abs(at.from - at.to) < 2 ? "" : `M -3 ${at.from} h 6 M 0 ${at.from} V ${at.to} M -3 ${at.to} h 6`);
      for (const [mark, name] of shown) {
        mark.setAttribute("visibility", at[name] === null ? "hidden" : "visible");
        if (at[name] !== null) mark.setAttribute("transform", `translate(0 ${at[name]})`);
      }
      hit.setAttribute("transform", `translate(0 ${at.tuned ?? at.repaired ?? at.measured ?? at.predicted})`);
      node.setAttribute("transform", `translate(${at.x} 0)`);
      words.textContent = label;
      if (restore) node.setAttribute("aria-label", label);
    },
    /** Write the name beside the point, or nowhere when there is no room. */
    label(place) {
      text.textContent = place?.words ?? "";
      if (!place) return;
      text.setAttribute("text-anchor", place.anchor);
      text.setAttribute("x", place.dx);
      text.setAttribute("y", place.y);
    },
  };
}
