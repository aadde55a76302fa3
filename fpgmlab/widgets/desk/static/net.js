import { element, shape } from "../../common/static/common.js";
import { wordsCount, wordsIn } from "./words.js";

const NET_BOX = 14, NET_GAP = 5, NET_LANE = 6, NET_LANES = 84; // pixels: a layer, below it, from one line to the next, all lines at most
const NET_MAKES = 0.7, NET_READS = 0.3; // of a box's width: where the line of what it makes leaves, where that of what it reads arrives
const NET_NAMES = 3; // layers that are named; the others are counted

/**
 * Return where all is drawn: each layer's column in order of execution, and for each group the columns that make and read its channels, from
 * where to where its line goes, and in which lane: no two lines of a lane overlap, and short ones are nearest to the boxes.
 */
export function netLayout(groups, layers) {
  const columns = new Map(layers.map((name, i) => [name, i])), at = (names) => names.map((name) => columns.get(name)).filter((i) => i !== undefined);
  const spans = groups.map(({ producers, consumers }, g) => {
    const makes = at(producers), reads = at(consumers), ends = [...makes.map((i) => i + NET_MAKES), ...reads.map((i) => i + NET_READS)];
    return { g, makes, reads, from: Math.min(...ends), to: Math.max(...ends), lane: 0 };
  });
  const lanes = [];
  for (const span of [...spans].sort((a, b) => a.to - a.from - (b.to - b.from) || a.from - b.from)) {
    if (span.makes.length + span.reads.length === 0) continue;
    const free = lanes.findIndex((others) => others.every(({ from, to }) => span.from > to || span.to < from));
    span.lane = free < 0 ? lanes.push([]) - 1 : free;
    lanes[span.lane].push(span);
  }
  return { columns: layers.length, spans, lanes: lanes.length };
}

/** A small drawing of the network: layers as boxes in order of execution, a line for each group from who makes its channels to who reads them. */
export function netView(store, bars) {
  const { groups, desk } = store.calculator, layout = netLayout(groups, desk.layers), lane = Math.min(NET_LANE, NET_LANES / layout.lanes), height = NET_BOX + NET_GAP + layout.lanes * lane;
  const boxes = desk.layers.map((name, i) => shape("rect", { class: "fl-desk-net-box", x: i + 0.08, y: 0, width: 0.84, height: NET_BOX, "data-layer": name }, shape("title", {}, name)));
  const lines = layout.spans.map((span) => shape("path", { class: "fl-desk-net-line", d: netPath(span, lane) }));
  const drawing = shape("svg", { class: "fl-desk-net-picture", viewBox: `0 0 ${layout.columns} ${height}`, preserveAspectRatio: "none", role: "img", height }, ...lines, ...boxes);
  const words = element("span", { class: "fl-quiet" }), say = wordsIn(words);
  const node = element("div", { class: "fl-desk-net", style: `--fl-desk-net-columns: ${layout.columns}` },
    element("div", { class: "fl-legend" }, element("span", { class: "fl-key fl-desk-net-key-makes" }, "makes these channels"), element("span", { class: "fl-key fl-desk-net-key-reads" }, "reads them"), words), drawing);
  const owner = new Map(groups.flatMap(({ producers }, g) => producers.map((name) => [name, g])));
  let hovered = null, lit = [];

  const draw = () => {
    const shown = hovered === null ? [...store.selected] : [hovered];
    if (String(shown) === String(lit)) return;
    for (const g of lit) netLight(layout.spans[g], lines, boxes, false);
    for (const g of shown) netLight(layout.spans[g], lines, boxes, true);
    for (const g of shown) lines[g].parentNode.insertBefore(lines[g], boxes[0]); // above the other lines
    lit = shown;
    say(shown.length === 1 ? netWords(groups[shown[0]]) : `${shown.length} groups`);
    drawing.setAttribute("aria-label", `The network's ${layout.columns} layers in order of execution. ${shown.map((g) => netWords(groups[g])).slice(0, NET_NAMES).join("; ")}`);
  };
  const hover = (g) => {
    if (g === hovered) return;
    hovered = g;
    draw();
  };
  bars.addEventListener("pointerover", (event) => {
    const slot = event.target.closest(".fl-desk-slot");
    hover(slot ? Number(slot.dataset.g) : null);
  });
  bars.addEventListener("pointerleave", () => hover(null));
  drawing.addEventListener("pointerover", (event) => hover(owner.get(event.target.dataset?.layer) ?? null));
  drawing.addEventListener("pointerleave", () => hover(null));
  drawing.addEventListener("click", (event) => {
    const g = owner.get(event.target.dataset?.layer);
    if (g !== undefined) store.select([g], g);
  });
  store.on("selection", draw);
  draw();
  return node;
}

function netPath({ makes, reads, from, to, lane: row }, lane) {
  if (makes.length + reads.length === 0) return "";
  const y = NET_BOX + NET_GAP + row * lane + 1;
  const up = (x) => `M ${x} ${NET_BOX} V ${y}`;
  return [`M ${from} ${y} H ${to}`, ...makes.map((i) => up(i + NET_MAKES)), ...reads.map((i) => up(i + NET_READS))].join(" ");
}

function netLight({ g, makes, reads }, lines, boxes, on) {
  lines[g].classList.toggle("fl-desk-on", on);
  for (const i of makes) boxes[i].classList.toggle("fl-desk-net-makes", on);
  for (const i of reads) boxes[i].classList.toggle("fl-desk-net-reads", on);
}

function netWords({ producers, consumers }) {
  return `${netNames(producers)} → ${netNames(consumers) || "the model's output"}`;
}

function netNames(names) {
  return names.length <= NET_NAMES ? names.join(", ") : `${names[0]} and ${wordsCount(names.length - 1, "other layer")}`;
}
