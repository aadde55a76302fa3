import { element, freshId, numbers, short } from "../../common/static/common.js";

// Cividis, from near to far: one hue less than the rainbow, and the same to all eyes.
const NEAR_TO_FAR = [
  [0, 34, 78], [35, 62, 108], [87, 93, 109], [124, 123, 120], [166, 156, 117], [211, 192, 100], [254, 232, 56],
];

/** The distances between all filters, similar ones side by side. */
export function matrixView(actions) {
  const canvas = element("canvas", { class: "fl-explorer-matrix-picture", "aria-hidden": "true" });
  const marks = element("canvas", { class: "fl-explorer-matrix-marks", "aria-hidden": "true" });
  const legend = element("div", { class: "fl-legend" });
  const hint = element("span", { class: "fl-sr", id: freshId("hint") },
    "Arrow keys go to the next filter in clustered order, Home and End to the ends, Enter pins, Escape clears.");
  const square = element("div", {
    class: "fl-explorer-square fl-explorer-view", tabindex: "0", role: "application", "aria-roledescription": "distance matrix",
    "aria-label": "Distance matrix", "aria-describedby": hint.id,
  }, canvas, marks);
  const node = element("section", { class: "fl-panel fl-explorer-matrix" },
    element("h4", {}, "How far filters are from each other"), square, legend, hint);
  let scene = null, order = null, place = null, gone = null;
  let shown = { current: null, neighbours: [] };

  const at = (event, along) => {
    const box = square.getBoundingClientRect();
    const share = along === "x" ? (event.clientX - box.left) / box.width : (event.clientY - box.top) / box.height;
    const index = Math.floor(share * order.length);
    return order[Math.max(0, Math.min(order.length - 1, index))];
  };
  square.addEventListener("pointermove", (event) => scene && actions.hover(at(event, "y"), at(event, "x")));
  square.addEventListener("pointerleave", () => actions.hover(null));
  square.addEventListener("click", (event) => scene && actions.pin(at(event, "y")));
  square.addEventListener("keydown", (event) => {
    const current = actions.current(), now = current === null ? null : place[current];
    const next = stepAlong(event.key, now, order.length, 1);
    if (next !== null) actions.select(order[next]);
    if (next !== null) event.preventDefault();
  });
  new ResizeObserver(() => scene && drawMarks(marks, order, place, gone, shown)).observe(square);

  return {
    node,
    setScene(next) {
      scene = next;
      order = numbers(scene.order, Int32Array);
      place = new Int32Array(order.length);
      order.forEach((filter, i) => (place[filter] = i));
      paint(canvas, numbers(scene.matrix, Uint8Array), scene.side);
      legend.replaceChildren(...matrixLegend(scene));
      square.setAttribute("aria-label",
        `Distance matrix of ${order.length} filters, ${scene.distance}, in clustered order`);
    },
    setMarks(next) {
      gone = next.gone;
      drawMarks(marks, order, place, gone, shown);
    },
    highlight(current, neighbours, other) {
      shown = { current, neighbours, other };
      if (gone) drawMarks(marks, order, place, gone, shown);
    },
  };
}

/** Return the place that a key leads to in a row of `count`, or null for another key. */
export function stepAlong(key, now, count, row) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row };
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (!(key in steps)) return null;
  return now === null ? 0 : Math.max(0, Math.min(count - 1, now + steps[key]));
}

function paint(canvas, values, side) {
  canvas.width = canvas.height = side;
  const picture = new ImageData(side, side);
  const colours = Array.from({ length: 256 }, (_, i) => colourOf(i / 255));
  values.forEach((value, i) => picture.data.set([...colours[value], 255], 4 * i));
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function colourOf(share) {
  const at = share * (NEAR_TO_FAR.length - 1), low = Math.min(Math.floor(at), NEAR_TO_FAR.length - 2);
  return NEAR_TO_FAR[low].map((from, i) => Math.round(from + (NEAR_TO_FAR[low + 1][i] - from) * (at - low)));
}

/** Draw row and column of the current filter, its neighbours in them, and which filters are removed at the edges. */
function drawMarks(canvas, order, place, gone, { current, neighbours, other }) {
  const size = canvas.clientWidth, ratio = ((window.devicePixelRatio || 1) * canvas.getBoundingClientRect().width) / size || 1, cell = size / order.length;
  canvas.width = canvas.height = Math.round(size * ratio);
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  pen.scale(ratio, ratio);
  const edge = Math.max(3, Math.min(6, cell));
  pen.fillStyle = style.getPropertyValue("--fl-removed");
  order.forEach((filter, i) => {
    if (!gone[filter]) return;
    pen.fillRect(0, i * cell, edge, Math.max(cell - 0.5, 0.5));
    pen.fillRect(i * cell, 0, Math.max(cell - 0.5, 0.5), edge);
  });
  if (current === null) return;
  const width = Math.max(cell, 2.5), at = (filter) => (place[filter] + 0.5) * cell - width / 2;
  const outlined = (x, y, w, h) => {
    for (const [colour, line] of [["#000", 3.5], ["#fff", 1.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.strokeRect(x, y, w, h);
    }
  };
  outlined(0.5, at(current), size - 1, width);
  outlined(at(current), 0.5, width, size - 1);
  pen.fillStyle = style.getPropertyValue("--fl-near");
  for (const filter of neighbours) {
    const side = Math.max(cell * 0.5, 5), middle = (place[filter] + 0.5) * cell;
    pen.fillRect(middle - side / 2, (place[current] + 0.5) * cell - side / 2, side, side);
  }
  if (other !== null && other !== undefined) outlined(at(other), at(current), width, width);
}

function matrixLegend(scene) {
  const bar = element("span", { class: "fl-explorer-scale", "aria-hidden": "true" });
  const stops = NEAR_TO_FAR.map((colour) => `rgb(${colour})`).join(", ");
  bar.style.background = `linear-gradient(to right, ${stops})`;
  return [
    element("span", {}, `${scene.distance} distance: near ${short(scene.low)}`), bar,
    element("span", {}, `${short(scene.high)} far`),
    element("span", { class: "fl-key fl-explorer-key-edge" }, "at the edge: removed"),
  ];
}
