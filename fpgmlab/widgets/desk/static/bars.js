import { beforeNextPicture, element, onceRested } from "../../common/static/common.js";
import { BAR_HEIGHT, barOf, barWaste, barWords } from "./bar.js";
import { changesTogether } from "./changes.js";
import { lossScale } from "./colours.js";
import { barsKeys } from "./keys.js";
import { barsLegend } from "./legend.js";
import { overviewView } from "./overview.js";
import { barsPointer } from "./pointer.js";
import { wordsAmount, wordsIn, wordsTime } from "./words.js";

const BARS_LEAST = 18, BARS_MOST = 60; // pixels from one bar to the next
const BARS_LETTER = 7.5, BARS_TITLE = 90, BARS_GAP = 9; // pixels: a title's letter, the room that a title is given, between stages

/** All bars in network order, a stage beside the other; scrolled when they do not fit, with an overview of them all. */
export function barsView(store, signal) {
  const { calculator } = store, { groups, whole } = calculator;
  const { byGroup: macs, msByGroup: ms } = calculator.cost(whole), kinds = [["macs", macs], ...(calculator.desk.latency ? [["ms", ms]] : [])];
  const tallest = kinds.map(([, values]) => Math.max(...values) || 1);
  const bars = groups.map((group, g) => barOf(group, g, kinds.map(([kind, values], i) => ({ name: kind, all: values[g], tallest: tallest[i] }))));
  const stages = barsStages(groups), least = stages.reduce((sum, stage) => sum + barsWidth(stage) + BARS_GAP, 2 * BARS_GAP);
  const row = element("div", { class: "fl-desk-bars-row", style: `min-width:${least}px` }, ...stages.map((stage) => barsStage(stage, bars)));
  const scroller = element("div", { class: "fl-desk-bars-scroll" }, row);
  const name = element("strong"), words = element("span"), costs = element("span", { class: "fl-quiet" }), says = element("div", { class: "fl-desk-bars-says", "aria-hidden": "true" }, name, " ", words, " ", costs);
  const overview = overviewView(store, scroller, signal), legend = barsLegend(store);
  const node = element("div", { class: "fl-panel", role: "group", "aria-label": `Ratios of the ${groups.length} channel groups` },
    says, element("div", { class: "fl-desk-bars-body" }, barsAxis(kinds.length), scroller, overview.node), legend.node);
  const sayName = wordsIn(name), sayWords = wordsIn(words), sayCosts = wordsIn(costs);
  let hovered = null, wastes = [];

  const drawCurves = () => {
    const metric = store.drawn(), { top, ticks } = lossScale(metric), multiple = store.multiple();
    bars.forEach((bar, g) => bar.setCurve(metric, top, 1 - calculator.allowed(g, multiple)[0] / groups[g].channels));
    legend.set(metric, top, ticks);
    curvesOf = [metric, multiple];
  };
  let curvesOf = [];
  const draw = beforeNextPicture(() => {
    if (signal.aborted) return;
    const metric = store.drawn(), { byGroup, msByGroup } = store.totals(), locked = store.locked();
    if (curvesOf[0] !== metric || curvesOf[1] !== store.multiple()) drawCurves();
    bars.forEach((bar, g) => {
      bar.setKept(store.kept[g], metric);
      bar.setCosts([byGroup[g], msByGroup[g]]);
      bar.setMarks(store.selected.has(g), store.focus === g, locked.has(g), store.selected.size);
    });
    const g = hovered ?? store.focus, state = locked.has(g) ? ", locked" : "", waste = wastes[g]?.kept === store.kept[g] ? wastes[g].more : null;
    sayName(groups[g].name);
    sayWords(`${barWords(groups[g], g, store.kept[g], metric)}${barWaste(store.kept[g], waste)}${state}`);
    sayCosts(`${wordsAmount(byGroup[g])} of ${wordsAmount(macs[g])} MACs${kinds.length > 1 ? ` · ${wordsTime(msByGroup[g])} of ${wordsTime(ms[g])}` : ""}`);
    overview.draw();
  });

  /** Look which bars stand where a step of the runtime is wasted: at a few bars at most, once they rest. */
  const drawWastes = onceRested(() => {
    wastes = store.kept.map((kept, g) => (wastes[g]?.kept === kept ? wastes[g] : { kept, more: calculator.wasted(g, kept) }));
    bars.forEach((bar, g) => bar.setWaste(wastes[g].more));
    draw();
  }, signal);

  /** Make a bar the one that is worked with: it is scrolled into view, and gets the keys. */
  const goTo = (g) => {
    bars[g].focus();
    const slot = bars[g].node, left = slot.offsetLeft - 40, right = slot.offsetLeft + slot.offsetWidth + 40;
    if (left < scroller.scrollLeft) scroller.scrollLeft = left;
    else if (right > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = right - scroller.clientWidth;
  };
  const changes = changesTogether(store);
  const dragging = barsPointer(store, row, bars, changes, goTo, signal);
  barsKeys(store, row, bars, changes, goTo, dragging);
  row.addEventListener("pointerover", (event) => {
    const slot = event.target.closest(".fl-desk-slot");
    hovered = slot && Number(slot.dataset.g);
    draw();
  });
  row.addEventListener("pointerleave", () => {
    hovered = null;
    draw();
  });
  for (const what of ["plan", "metric", "selection", "locks", "seen"]) store.on(what, draw);
  if (kinds.length > 1) {
    for (const what of ["plan", "metric", "seen"]) store.on(what, drawWastes);
    drawWastes();
  }
  draw();
  return node;
}

/** Return runs of neighbours of one stage. */
function barsStages(groups) {
  const stages = [];
  groups.forEach(({ stage }, g) => {
    if (stages.at(-1)?.name === stage) stages.at(-1).members.push(g);
    else stages.push({ name: stage, members: [g] });
  });
  return stages;
}

/** Return how narrow a stage can be: its bars stay wide enough to be grasped, its title to be read. */
function barsWidth(stage) {
  return Math.max(BARS_LEAST * stage.members.length, Math.min(BARS_TITLE, BARS_LETTER * barsTitle(stage).length + 4));
}

/** Return a stage's title; where there is little room, without what it has in common with others. */
function barsTitle({ name, members }) {
  const dot = name.lastIndexOf(".");
  return members.length < 3 && dot > 0 ? name.slice(dot + 1) : name;
}

/** Return the two parts of a title: of the first as much is shown as there is room for, of the second, which tells stages apart, all. */
function barsTitleParts(title) {
  const [, first, last] = /^(.*?)([^._]*[._]?[^._]*)$/.exec(title);
  return [element("span", {}, first), element("span", {}, last)];
}

function barsStage(stage, bars) {
  const { name, members } = stage, least = barsWidth(stage);
  const style = `flex:${members.length} 0 ${least}px;max-width:${Math.max(least, BARS_MOST * members.length)}px`;
  return element("div", { class: "fl-desk-stage", style }, element("div", { class: "fl-desk-stage-title", title: name }, ...barsTitleParts(barsTitle(stage))),
    element("div", { class: "fl-desk-stage-bars" }, ...members.map((g) => bars[g].node)));
}

/** The scale of all bars: the share removed; below it the strips' names. */
function barsAxis(strips) {
  const ticks = [0, 25, 50, 75, 100].map((value) => element("span", { style: `bottom:${(BAR_HEIGHT * value) / 100}px` }, `${value} %`));
  return element("div", { class: "fl-desk-bars-axis", "aria-hidden": "true" }, element("div", { class: "fl-desk-bars-ticks" }, ...ticks), element("div", { class: "fl-desk-strip-tick" }, strips > 1 ? "MACs ms" : "MACs"));
}
