import { element, niceSteps, onWidth, shape, short } from "../../common/static/common.js";
import { histogram } from "./cut.js";

const HEIGHT = 270, LEFT = 44, RIGHT = 14, TOP = 40, BOTTOM = 40, BINS = 46;

/** How many channels have which score, the threshold and the cliff in it: as wide as there is room, its type as large as all. */
export function histogramView(label, signal) {
  const drawing = shape("svg", { class: "fl-chart fl-gamma-histogram", role: "img", height: HEIGHT });
  const node = element("section", { class: "fl-panel" },
    element("h4", {}, `Channels by ${label}, all layers together`), drawing);
  let width = 460, shown = null;
  const draw = (pooled, cut, log) => {
    shown = [pooled, cut, log];
    const bins = histogram(pooled, cut.count, BINS), right = width - RIGHT;
    const most = Math.max(...bins.below.map((n, i) => n + bins.above[i]));
    const x = (value) => LEFT + ((value - bins.first) / (bins.last - bins.first)) * (right - LEFT);
    const share = (n) => (log ? (n > 0 ? (Math.log10(n) + 0.15) / (Math.log10(most) + 0.15 || 1) : 0) : n / most);
    const y = (n) => HEIGHT - BOTTOM - share(n) * (HEIGHT - TOP - BOTTOM);
    drawing.setAttribute("width", width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren(
      ...frequencies(most, log, y, right), ...bars(bins, x, y), ...scoreAxis(bins, x, label, right),
      ...line(x(cut.cliffScore), 12, "fl-gamma-cliff", `cliff ${short(cut.cliffScore)}`, width),
      ...(Number.isFinite(cut.threshold) ? line(x(cut.threshold), 28, "fl-gamma-threshold", `threshold ${short(cut.threshold)}`, width) : []));
    drawing.setAttribute("aria-label",
      `Histogram of ${label}: ${cut.count} of ${pooled.values.length} channels lie below the threshold ${short(cut.threshold)}`);
  };
  onWidth(node, signal, (found) => {
    width = Math.max(200, found);
    if (shown) draw(...shown);
  });
  return { node, draw };
}

function bars(bins, x, y) {
  const found = [];
  bins.below.forEach((gone, i) => {
    const all = gone + bins.above[i], left = x(bins.first + i * bins.width);
    const width = Math.max(1, x(bins.first + (i + 1) * bins.width) - left - 1);
    const bar = (from, to, name) => found.push(shape("rect", { class: name, x: left, y: y(to), width, height: Math.max(0, y(from) - y(to)) }));
    if (all > gone) bar(0, all, "fl-gamma-above");
    if (gone > 0) bar(0, gone, "fl-gamma-below");
  });
  return found;
}

function line(x, y, name, words, width) {
  const end = x > width / 2;
  return [
    shape("line", { class: name, x1: x, x2: x, y1: y - 6, y2: HEIGHT - BOTTOM }),
    shape("text", { class: `fl-chart-label ${name}`, x: x + (end ? -5 : 5), y: y + 2, "text-anchor": end ? "end" : "start" }, words),
  ];
}

function scoreAxis(bins, x, label, right) {
  const base = HEIGHT - BOTTOM;
  const ticks = niceSteps(bins.first, bins.last, 6).flatMap((value) => [
    shape("line", { class: "fl-chart-axis", x1: x(value), x2: x(value), y1: base, y2: base + 4 }),
    shape("text", { x: x(value), y: base + 16, "text-anchor": "middle" }, short(value)),
  ]);
  return [shape("line", { class: "fl-chart-axis", x1: LEFT, x2: right, y1: base, y2: base }), ...ticks,
    shape("text", { x: (LEFT + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, label)];
}

function frequencies(most, log, y, right) {
  const values = log ? [1, 10, 100, 1000, 10000].filter((n) => n <= most) : niceSteps(0, most, 4).filter(Number.isInteger);
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  return [...values.flatMap((n) => [
    shape("line", { class: "fl-chart-grid", x1: LEFT, x2: right, y1: y(n), y2: y(n) }),
    shape("text", { x: LEFT - 5, y: y(n) + 4, "text-anchor": "end" }, String(n)),
  ]), shape("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` },
    log ? "channels (log)" : "channels")];
}

/** What each layer keeps, in network order: a table whose bars are drawn to one scale. */
export function layersView() {
  const body = element("tbody");
  const head = ["channel group", "channels", "kept"].map((word) => element("th", { scope: "col" }, word));
  const scroller = element("div", { class: "fl-scroll", tabindex: "0", role: "region", "aria-label": "Channels of each layer" },
    element("table", { class: "fl-table fl-gamma-table" }, element("thead", {}, element("tr", {}, ...head)), body));
  const key = element("div", { class: "fl-legend" },
    element("span", { class: "fl-key" }, "kept"), element("span", { class: "fl-key fl-gamma-key-removed" }, "removed"),
    element("span", { class: "fl-gamma-at-floor" }, "▲ held at its floor"));
  const node = element("section", { class: "fl-panel fl-gamma-layers" }, element("h4", {}, "What each layer keeps"), scroller, key);
  return {
    node,
    draw(pooled, cut) {
      const widest = Math.max(...pooled.channels);
      body.replaceChildren(...pooled.groups.map((name, g) => {
        const bar = element("div", { class: "fl-gamma-bar-all", "aria-hidden": "true" }, element("div", { class: "fl-gamma-bar-kept" }));
        bar.style.width = `${(100 * pooled.channels[g]) / widest}%`;
        bar.firstChild.style.width = `${(100 * cut.kept[g]) / pooled.channels[g]}%`;
        const floor = cut.atFloor[g] ? [element("span", { class: "fl-gamma-at-floor" }, " ▲", element("span", { class: "fl-sr" }, " held at its floor"))] : [];
        return element("tr", { class: cut.atFloor[g] ? "fl-gamma-floored" : "" },
          element("th", { scope: "row", title: name }, name), element("td", {}, bar),
          element("td", { class: "fl-gamma-count" }, `${cut.kept[g]} of ${pooled.channels[g]}`, ...floor));
      }));
    },
  };
}
