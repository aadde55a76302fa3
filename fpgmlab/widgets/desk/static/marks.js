import { shape } from "../../common/static/common.js";
import { measuredFirst } from "./measured.js";
import { wordsShare, wordsValue } from "./words.js";

// What stands in the trade-off plot: plans that were kept, the one on the desk, and those that were measured on the way.

/** Return where a plan stands: what remains of the cost, and what is known of the metric, by `found` of measured.js. What was measured hides what is predicted. */
export function tradeoffValues(share, forecast, found, metric, unpruned) {
  const first = measuredFirst(found), value = (stage) => found[stage]?.value ?? null, { low, high } = found[first] ?? { low: null, high: null };
  const recovered = { repaired: unpruned ? null : value("repaired"), tuned: value("fine-tuned") };
  if (unpruned) return { share, predicted: null, foreseen: null, spread: null, measured: metric.value, ...recovered };
  const predicted = first === null && recovered.tuned === null ? forecast.value : null;
  const expected = Number.isFinite(forecast.half) ? [predicted - forecast.half, predicted + forecast.half] : null;
  const spread = predicted !== null ? expected : low === null || high === null ? null : [low, high];
  return { share, predicted, foreseen: forecast.value, spread, measured: value("as cut"), ...recovered };
}

/** Return the value that stands for a plan. */
export function tradeoffMain({ predicted, measured, repaired, tuned }) {
  return repaired ?? tuned ?? measured ?? predicted;
}

/** Return a plan in words; `cost` is the name of what remains. */
export function tradeoffWords({ share, foreseen, measured, repaired, tuned }, metric, cost) {
  const words = [[measured, "as cut"], [repaired, "repaired"], [tuned, "fine-tuned"], [foreseen, "predicted"]]
    .filter(([value]) => value !== null).map(([value, word]) => `${word} ${wordsValue(metric, value)}`);
  return `${wordsShare(share, 1)} of the ${cost}, ${words.join(", ")}`;
}

/** Return where the marks of a plan stand; one that is off the scale is left out, and told by an arrow. */
export function tradeoffPlaces({ share, predicted, spread, measured, repaired, tuned }, { x, y, side, from, to }) {
  const place = (value) => (value === null || side(value) !== 0 ? null : y(value)), off = [predicted, measured, repaired, tuned].find((value) => value !== null && side(value) !== 0);
  return { x: x(share), predicted: place(predicted), measured: place(measured), repaired: place(repaired), tuned: place(tuned),
    spread: spread?.map(y) ?? null, beyond: off ?? null, off: off === undefined ? null : side(off) > 0 ? to : from };
}

/** Plans that were measured on the way, as two paths: as cut and repaired. A click goes back to the nearest. */
export function tradeoffCloud(restore) {
  const cut = shape("path", { class: "fl-desk-cloud-cut" }), repaired = shape("path", { class: "fl-desk-cloud-repaired" });
  const node = shape("g", { class: "fl-desk-cloud", "aria-hidden": "true" }, shape("title", {}, "Measured on the way: a click goes back to it"), cut, repaired);
  let drawn = [];
  node.addEventListener("click", ({ clientX, clientY, currentTarget }) => {
    const { left, top, width } = currentTarget.ownerSVGElement.getBoundingClientRect(), large = currentTarget.ownerSVGElement.viewBox.baseVal.width / width;
    const away = (each) => (each.x - (clientX - left) * large) ** 2 + (each.y - (clientY - top) * large) ** 2;
    restore(drawn.reduce((best, each) => (away(each) < away(best) ? each : best)).kept);
  });
  return {
    node,
    /** Draw points: kept, share, and both values (null: not measured). */
    draw(points, { x, y, side, from, to }) {
      const places = (stage) => points.filter((each) => each[stage] !== null && side(each[stage]) === 0).map((each) => ({ kept: each.kept, x: x(each.share), y: y(each[stage]) }));
      const [cuts, mended] = [places("as cut"), places("repaired")];
      // As cut only, and off the scale: at its edge.
      const off = points.filter((each) => each.repaired === null && each["as cut"] !== null && side(each["as cut"]) !== 0)
        .map((each) => ({ kept: each.kept, x: x(each.share), y: side(each["as cut"]) > 0 ? to : from, up: side(each["as cut"]) > 0 }));
      cut.setAttribute("d", [...cuts.map((at) => `M ${at.x.toFixed(1)} ${at.y.toFixed(1)} m -2 0 a 2 2 0 1 0 4 0 a 2 2 0 1 0 -4 0`), ...off.map(tradeoffArrow)].join(" "));
      repaired.setAttribute("d", mended.map((at) => `M ${at.x.toFixed(1)} ${(at.y - 3.2).toFixed(1)} l 3.2 3.2 l -3.2 3.2 l -3.2 -3.2 z`).join(" "));
      drawn = [...cuts, ...off, ...mended];
    },
  };
}

function tradeoffArrow({ x, y, up }) {
  const sign = up ? 1 : -1;
  return `M ${x - 3} ${y + 5 * sign} h 6 l -3 ${-5 * sign} z`;
}

/** One plan: predicted hollow, as cut filled, repaired as a diamond half full, fine-tuned as a full one, joined by a line. `restore` is null for the plan on the desk. */
export function tradeoffPoint(restore, kind) {
  const line = shape("path", { class: "fl-desk-join" }), bar = shape("path", { class: "fl-desk-spread" }), arrow = shape("path", { class: "fl-desk-half" });
  const hollow = shape("circle", { class: "fl-desk-hollow", r: 4.5 }), filled = shape("circle", { class: "fl-desk-filled", r: 4.5 });
  const diamond = shape("path", { class: "fl-desk-filled", d: "M 0 -6 L 6 0 L 0 6 L -6 0 Z" }), text = shape("text", { class: "fl-chart-label" });
  const half = shape("g", {}, shape("path", { class: "fl-desk-hollow", d: "M 0 -5.5 L 5.5 0 L 0 5.5 L -5.5 0 Z" }), shape("path", { class: "fl-desk-half", d: "M 5.5 0 L 0 5.5 L -5.5 0 Z" }));
  const beyond = shape("text", { class: "fl-chart-label fl-desk-beyond", x: 7 });
  const hit = shape("circle", { class: "fl-desk-hit", r: 11 }), words = shape("title");
  const shown = [[hollow, "predicted"], [filled, "measured"], [half, "repaired"], [diamond, "tuned"]];
  const node = shape("g", { class: `fl-desk-plan-point ${kind}` }, words, line, arrow, bar, ...shown.map(([mark]) => mark), text, beyond, hit);
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
    draw(plan, at, label, metric) {
      id = plan;
      beyond.textContent = at.off === null ? "" : wordsValue(metric, at.beyond);
      const heights = [...shown.map(([, name]) => at[name]), at.off].filter((y) => y !== null), known = shown.map(([, name]) => at[name]).filter((y) => y !== null);
      line.setAttribute("d", heights.length > 1 ? `M 0 ${Math.min(...heights)} V ${Math.max(...heights)}` : "");
      const up = at.off !== null && at.off < Math.min(...known, Infinity);
      arrow.setAttribute("d", at.off === null ? "" : tradeoffArrow({ x: 0, y: at.off, up }));
      if (at.off !== null) beyond.setAttribute("y", at.off + (up ? 10 : -4));
      bar.setAttribute("d", at.spread === null || Math.abs(at.spread[0] - at.spread[1]) < 2 ? "" : `M -3 ${at.spread[0]} h 6 M 0 ${at.spread[0]} V ${at.spread[1]} M -3 ${at.spread[1]} h 6`);
      for (const [mark, name] of shown) {
        mark.setAttribute("visibility", at[name] === null ? "hidden" : "visible");
        if (at[name] !== null) mark.setAttribute("transform", `translate(0 ${at[name]})`);
      }
      hit.setAttribute("transform", `translate(0 ${at.repaired ?? at.tuned ?? at.measured ?? at.predicted ?? at.off})`);
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
