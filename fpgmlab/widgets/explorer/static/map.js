import { element, freshId, shape } from "../../common/static/common.js";

const SIZE = 340, MARGIN = 22;

/** The filters as points in the plane of their two principal components. */
export function mapView(actions) {
  const id = freshId("map");
  const lines = shape("g", { class: "fl-explorer-map-lines" }), dots = shape("g", {}), centres = shape("g", {});
  const drawing = shape("svg", {
    viewBox: `0 0 ${SIZE} ${SIZE}`, class: "fl-explorer-view", tabindex: "0", role: "listbox", "aria-label": "Map of the filters",
  }, shape("rect", { class: "fl-explorer-map-ground", width: SIZE, height: SIZE, rx: 4 }), lines, dots, centres);
  const legend = element("div", { class: "fl-legend" });
  const node = element("section", { class: "fl-panel fl-explorer-map" }, element("h4", {}, "Filters as points"), drawing, legend);
  let places = [], points = [], radius = 5, shown = [];

  const nearest = (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * SIZE, y = ((event.clientY - box.top) / box.height) * SIZE;
    let best = null, least = 18 ** 2;
    places.forEach(([a, b], i) => {
      const d = (a - x) ** 2 + (b - y) ** 2;
      if (d < least) [best, least] = [i, d];
    });
    return best;
  };
  drawing.addEventListener("pointermove", (event) => actions.hover(nearest(event)));
  drawing.addEventListener("pointerleave", () => actions.hover(null));
  drawing.addEventListener("click", (event) => {
    const filter = nearest(event);
    if (filter !== null) actions.pin(filter);
  });
  drawing.addEventListener("keydown", (event) => {
    const next = towards(event.key, actions.current(), places);
    if (next === null) return;
    actions.select(next);
    event.preventDefault();
  });

  return {
    node,
    setScene(scene) {
      const { coordinates, median, medoid, shares } = scene;
      const [toX, toY] = scales(coordinates, median);
      places = scene.filters.map((_, i) => [toX(coordinates[2 * i]), toY(coordinates[2 * i + 1])]);
      radius = Math.max(2.5, Math.min(6, 60 / Math.sqrt(places.length)));
      points = places.map(([x, y], i) => shape("path", {
        id: `${id}-${i}`, role: "option", transform: `translate(${x} ${y})`, "aria-label": `${scene.word} ${scene.filters[i]}`,
      }));
      dots.replaceChildren(...points);
      shown = [];
      centres.replaceChildren(...centreMarks([toX(median[0]), toY(median[1])], places[medoid]));
      legend.replaceChildren(...mapLegend(shares));
      drawing.setAttribute("aria-label",
        `Map of ${places.length} filters in their two principal components; arrow keys go to the next filter there`);
    },
    /** Draw those anew that go now, or stay. */
    setMarks({ gone }) {
      points.forEach((point, i) => {
        if (shown[i] === gone[i]) return;
        shown[i] = gone[i];
        point.setAttribute("class", gone[i] ? "fl-explorer-dot fl-explorer-gone" : "fl-explorer-dot");
        point.setAttribute("d", gone[i] ? cross(radius) : disc(radius));
      });
    },
    highlight(filter, neighbours, other, selected) {
      points.forEach((point, i) => {
        point.classList.toggle("fl-explorer-current", i === filter);
        point.classList.toggle("fl-explorer-near", neighbours.includes(i));
        point.classList.toggle("fl-explorer-other", i === other);
        point.setAttribute("aria-selected", String(i === selected));
      });
      if (filter === null) drawing.removeAttribute("aria-activedescendant");
      else drawing.setAttribute("aria-activedescendant", `${id}-${filter}`);
      if (filter !== null) dots.append(points[filter]); // on top of the others
      lines.replaceChildren(...(filter === null ? [] : rings(places, filter, neighbours, radius)));
    },
  };
}

function rings(places, filter, neighbours, radius) {
  const [x, y] = places[filter];
  return [
    ...neighbours.map((j) => shape("line", { x1: x, y1: y, x2: places[j][0], y2: places[j][1] })),
    ...neighbours.map((j) => shape("circle", { cx: places[j][0], cy: places[j][1], r: radius + 3, class: "fl-explorer-ring" })),
    shape("circle", { cx: x, cy: y, r: radius + 5, class: "fl-explorer-ring fl-explorer-ring-current" }),
  ];
}

/** Return functions from principal components to the picture: one scale for both, so that distances are true. */
function scales(coordinates, median) {
  const xs = [median[0]], ys = [median[1]];
  coordinates.forEach((value, i) => (i % 2 ? ys : xs).push(value));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const unit = (SIZE - 2 * MARGIN) / (Math.max(right - left, high - low) || 1);
  return [
    (x) => SIZE / 2 + (x - (left + right) / 2) * unit,
    (y) => SIZE / 2 - (y - (low + high) / 2) * unit,
  ];
}

/** Return the nearest filter in the direction of an arrow key; the first when there is none yet; null for other keys. */
function towards(key, current, places) {
  const direction = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
  if (!direction || places.length === 0) return null;
  if (current === null) return 0;
  let best = current, least = Infinity;
  places.forEach(([x, y], i) => {
    const dx = x - places[current][0], dy = y - places[current][1];
    const along = dx * direction[0] + dy * direction[1], aside = Math.abs(dx * direction[1]) + Math.abs(dy * direction[0]);
    if (i === current || along <= 0) return;
    const cost = along + 2 * aside; // what lies straight ahead comes first
    if (cost < least) [best, least] = [i, cost];
  });
  return best;
}

function disc(r) {
  return `M ${-r} 0 a ${r} ${r} 0 1 0 ${2 * r} 0 a ${r} ${r} 0 1 0 ${-2 * r} 0 Z`;
}

/** A cross with arms, so that it has an inside to fill. */
function cross(r) {
  const a = 0.42 * r, b = 1.25 * r;
  const corners = [[0, a], [b - a, b], [b, b - a], [a, 0], [b, a - b], [b - a, -b], [0, -a], [a - b, -b], [-b, a - b],
    [-a, 0], [-b, b - a], [a - b, b]];
  return `M ${corners.map((c) => c.join(" ")).join(" L ")} Z`;
}

function centreMarks(median, medoid) {
  const square = shape("rect", { class: "fl-explorer-medoid", x: medoid[0] - 10, y: medoid[1] - 10, width: 20, height: 20 });
  const [x, y] = median;
  return [square, shape("path", { class: "fl-explorer-median", d: `M ${x} ${y - 10} L ${x + 7} ${y} L ${x} ${y + 10} L ${x - 7} ${y} Z` })];
}

function key(path, words, name) {
  const picture = shape("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, shape("path", { d: path, class: name }));
  return element("span", { class: "fl-explorer-symbol" }, picture, words);
}

function mapLegend(shares) {
  const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
  return [
    key(disc(5), "kept", "fl-explorer-dot"), key(cross(5), "removed", "fl-explorer-dot fl-explorer-gone"),
    key("M 0 -7 L 5 0 L 0 7 L -5 0 Z", "geometric median", "fl-explorer-median"),
    key("M -6 -6 H 6 V 6 H -6 Z", "medoid", "fl-explorer-medoid"),
    element("span", {}, `across ${percent(shares[0])}, up ${percent(shares[1])} of the variance`),
  ];
}
