import { element, freshId, niceSteps, shape, short } from "../../common/static/common.js";

const WIDTH = 188, HEIGHT = 122, LEFT = 37, RIGHT = 9, TOP = 7, BOTTOM = 19;
const LONGEST = 26; // letters of a name; of longer ones the end is shown

/** One small picture for each group, all to one scale; the place `[group, point]` is pointed at, or nothing. */
export function curvesView(actions) {
  const id = freshId("curves");
  const grid = element("div", { class: "fl-sweep-multiples", tabindex: "0", role: "listbox", "aria-label": "Sensitivity curves" });
  let pictures = [];

  grid.addEventListener("pointerleave", () => actions.point(null));
  return {
    node: grid,
    setGroups(groups, channels) {
      pictures = groups.map((name, g) => picture(`${id}-${g}`, name, channels[g], (event) => actions.point(event && [g, event])));
      grid.replaceChildren(...pictures.map((each) => each.node));
      grid.setAttribute("aria-label", `Sensitivity curves of ${groups.length} groups; arrow keys go through points and groups`);
    },
    /** Draw all groups; `curves[g]` has ratios, values, lows and highs, `blind` tells which cannot be measured. */
    draw(curves, blind, scale, current) {
      pictures.forEach((each, g) => each.draw(curves[g], blind[g], scale, current && current[0] === g ? current[1] : null));
      if (current === null) grid.removeAttribute("aria-activedescendant");
      else grid.setAttribute("aria-activedescendant", `${id}-${current[0]}`);
    },
    frameOf: (g) => pictures[g].node,
    /** Return which point of a group is nearest to a pointer. */
    nearest(g, event, ratios) {
      const box = pictures[g].drawing.getBoundingClientRect();
      const ratio = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
      return ratios.reduce((best, r, i) => (Math.abs(r - ratio) < Math.abs(ratios[best] - ratio) ? i : best), 0);
    },
  };
}

function picture(id, name, channels, point) {
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "fl-chart", "aria-hidden": "true" });
  const axes = shape("g", {}), base = shape("line", { class: "fl-chart-base" });
  const band = shape("path", { class: "fl-chart-band" }), line = shape("path", { class: "fl-chart-line" });
  const dots = shape("path", { class: "fl-chart-dots" }), ring = shape("circle", { class: "fl-sweep-ring", r: 5 });
  const nothing = shape("g", { class: "fl-sweep-blind" }, ...hatching(id));
  drawing.append(axes, base, band, line, dots, ring, nothing);
  const title = name.length > LONGEST ? `…${name.slice(1 - LONGEST)}` : name;
  const heading = element("div", { class: "fl-sweep-multiple-name", title: name }, title);
  const node = element("div", { class: "fl-sweep-multiple", id, role: "option", "aria-selected": "false", "aria-label": `${name}, ${channels} channels` },
    heading, drawing);
  drawing.addEventListener("pointermove", (event) => point(event));
  drawing.addEventListener("pointerleave", () => point(null));
  let drawnScale = null;
  return {
    node, drawing,
    draw(curve, blind, scale, current) {
      if (drawnScale !== scale.key) {
        axes.replaceChildren(...frame(scale));
        drawnScale = scale.key;
      }
      const seen = curve.values.length > 0;
      const x = curve.ratios.map(across), y = (values) => Array.from(values, scale.y);
      node.classList.toggle("fl-sweep-not-measurable", blind);
      node.setAttribute("aria-selected", String(current !== null));
      base.setAttribute("visibility", seen ? "visible" : "hidden");
      ring.setAttribute("visibility", current !== null && seen && !blind ? "visible" : "hidden");
      if (!seen) {
        for (const part of [band, line, dots]) part.setAttribute("d", "");
        return;
      }
      const values = y(curve.values);
      for (const [end, at] of [["1", LEFT], ["2", WIDTH - RIGHT]]) {
        base.setAttribute(`x${end}`, at);
        base.setAttribute(`y${end}`, values[0]);
      }
      const path = (places, heights) => places.map((a, i) => `${a.toFixed(1)} ${heights[i].toFixed(1)}`);
      band.setAttribute("d", `M ${[...path(x, y(curve.highs)), ...path(x, y(curve.lows)).reverse()].join(" L ")} Z`);
      line.setAttribute("d", `M ${path(x, values).join(" L ")}`);
      dots.setAttribute("d", path(x, values).map((place) => `M ${place} h 0`).join(" "));
      if (current !== null) {
        ring.setAttribute("cx", x[current]);
        ring.setAttribute("cy", values[current]);
      }
    },
  };
}

function across(ratio) {
  return LEFT + ratio * (WIDTH - LEFT - RIGHT);
}

/** Return the scale that all groups have in common: from 0 to 1 for shares, else around all values. */
export function scaleOf(curves, share) {
  let low = 0, high = 1;
  if (!share) {
    const values = curves.flatMap((curve) => Array.from(curve.values)).filter(Number.isFinite);
    if (values.length > 0) [low, high] = [Math.min(...values), Math.max(...values)];
    const steps = niceSteps(Math.min(0, low), high, 4), step = steps.length > 1 ? steps[1] - steps[0] : 1;
    [low, high] = [Math.floor(low / step + 1e-6) * step, Math.max(Math.ceil(high / step - 1e-6), Math.floor(low / step + 1e-6) + 1) * step];
  }
  const height = HEIGHT - TOP - BOTTOM, ticks = share ? [0, 0.5, 1] : niceSteps(low, high, 3);
  return {
    key: `${low} ${high} ${share}`,
    ticks: ticks.map((value) => [value, share ? `${100 * value} %` : short(Math.abs(value) < 1e-12 ? 0 : value)]),
    // Of few samples an interval may have no end: it is cut where the picture ends.
    y: (value) => TOP + height * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)),
  };
}

function frame(scale) {
  const base = HEIGHT - BOTTOM;
  return [
    ...scale.ticks.flatMap(([value, words]) => [
      shape("line", { class: "fl-chart-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: scale.y(value), y2: scale.y(value) }),
      shape("text", { x: LEFT - 4, y: scale.y(value) + 3, "text-anchor": "end" }, words),
    ]),
    shape("line", { class: "fl-chart-axis", x1: LEFT, x2: WIDTH - RIGHT, y1: base, y2: base }),
    ...[0, 0.5, 1].flatMap((ratio) => [
      shape("line", { class: "fl-chart-axis", x1: across(ratio), x2: across(ratio), y1: base, y2: base + 3 }),
      shape("text", { x: across(ratio), y: HEIGHT - 5, "text-anchor": ["start", "middle", "end"][2 * ratio] }, `${100 * ratio} %`),
    ]),
  ];
}

function hatching(id) {
  const stroke = shape("path", { d: "M -1 1 l 2 -2 M 0 6 l 6 -6 M 5 7 l 2 -2", class: "fl-sweep-hatch" });
  const pattern = shape("pattern", { id: `${id}-hatch`, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, stroke);
  const room = { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };
  const middle = { x: (LEFT + WIDTH - RIGHT) / 2, y: (TOP + HEIGHT - BOTTOM) / 2 + 4, "text-anchor": "middle", class: "fl-chart-label" };
  return [shape("defs", {}, pattern), shape("rect", { ...room, fill: `url(#${id}-hatch)` }),
    shape("text", middle, "not measurable")];
}
