import { beforeNextPicture, element } from "../../common/static/common.js";
import { controlButton, controlKeys } from "../../common/static/controls.js";
import { lossNumber, lossUnit } from "./colours.js";
import { wordsCount, wordsIn, wordsKinds, wordsValue } from "./words.js";

export const COMPARE_DESK = "on the desk"; // the plan there, as a side of a comparison; null is the unpruned network
const COMPARE_GONE = "deleted";
const COMPARE_STAGES = [["as cut", "as cut"], ["repaired", "repaired"]];

/** Two plans side by side: what each costs and gives, with the interval of the difference, and where their channels differ. */
export function compareView(store) {
  const { desk, groups } = store.calculator, kinds = wordsKinds(desk);
  const title = element("h4"), sayTitle = wordsIn(title), note = element("p", { class: "fl-quiet", role: "status" }), sayNote = wordsIn(note);
  const heads = ["", "", "", "difference"].map((words) => element("th", { scope: "col" }, words)), sayHeads = heads.map(wordsIn);
  const facts = element("tbody"), channels = element("tbody"), channelsTitle = element("h4"), sayChannels = wordsIn(channelsTitle);
  const close = controlButton("Close", () => store.setSides([]), { title: "Compare nothing" });
  const node = controlKeys(element("section", { class: "fl-desk-compare", "aria-label": "Two plans side by side", hidden: "" },
    element("div", { class: "fl-desk-pair fl-desk-panel-head" }, title, close), note,
    element("div", { class: "fl-desk-compare-body" },
      element("table", { class: "fl-table fl-desk-compare-facts", "aria-label": "What the two plans cost and give" }, element("thead", {}, element("tr", {}, ...heads)), facts),
      element("div", {}, channelsTitle, element("div", { class: "fl-scroll" }, element("table", { class: "fl-table fl-desk-compare-channels", "aria-label": "Channels by group" }, channels))))));

  const draw = beforeNextPicture(() => {
    const sides = store.sides(), found = store.compared(), names = sides.map((side) => compareName(store, side));
    node.hidden = sides.length < 2;
    if (node.hidden) return;
    if (names.includes(COMPARE_GONE)) return store.setSides(sides.filter((_, i) => names[i] !== COMPARE_GONE));
    const there = compareFits(found, sides), metric = store.metric();
    sayTitle(`${names[1]} against ${names[0]}`);
    ["", names[0], names[1], "difference"].forEach((words, i) => sayHeads[i](words));
    const rows = there && metric ? found.rows.filter((row) => row.metric === metric.name) : [];
    sayNote(compareNote(store, there, rows, found, sides));
    if (!there) return;
    const costs = kinds.map(({ kind, title: words, text }) => compareCost(words, text, ...found.totals.map((totals) => totals[kind])));
    const measured = COMPARE_STAGES.flatMap(([network, words]) => rows.filter((row) => row.network === network).map((row) => compareMetric(metric, words, row)));
    facts.replaceChildren(...measured, ...costs);
    const differing = compareGroups(groups, found);
    sayChannels(differing.length ? `Channels kept: ${wordsCount(differing.length, "group")} of ${groups.length} differ` : "The same channels go from every group");
    channels.replaceChildren(...differing.map(compareGroup));
  });
  for (const what of ["sides", "compared", "snapshots", "metric", "live"]) store.on(what, draw);
  draw();
  return node;
}

/** Tell whether what the kernel sent is of these two. */
export function compareFits(found, sides) {
  return sides.length === 2 && found?.kept !== undefined && (found.a ?? null) === sides[0] && (found.b ?? null) === sides[1];
}

/** Return the groups in which two plans differ, the largest part of its channels first. */
export function compareGroups(groups, { kept: [ours, theirs], others }) {
  return groups.map(({ name, channels }, g) => ({ name, channels, a: ours[g], b: theirs[g], others: others[g] ?? 0 }))
    .filter(({ a, b, others: count }) => a !== b || count > 0)
    .sort((x, y) => Math.abs(y.b - y.a) / y.channels - Math.abs(x.b - x.a) / x.channels || y.others - x.others);
}

function compareName(store, side) {
  if (side === null) return "original";
  return side === COMPARE_DESK ? COMPARE_DESK : (store.snapshots().find(({ id }) => id === side)?.name ?? COMPARE_GONE);
}

function compareNote(store, there, rows, found, sides) {
  if (!there) return "Waiting for the kernel";
  const ticks = sides.some((side) => side !== COMPARE_DESK) ? ` On the bars: ${sides.map((side, i) => (side === COMPARE_DESK ? "" : `${i ? "▶" : "◀"} ${compareName(store, side)}`)).filter(Boolean).join(", ")}.` : "";
  const pictures = [...new Set(rows.map(({ samples }) => samples))].map((count) => count.toLocaleString("en")).join(" and ");
  const why = store.live().why, going = found.wanted ? " More pictures are being read." : "";
  if (rows.length) return `Measured on the same ${pictures} pictures; with the 95 % interval of the difference.${going}${ticks}`;
  return `${why || (found.wanted ? "Not measured yet: as soon as the plan on the desk is." : "Nothing is measured of both.")}${ticks}`;
}

function compareRow(name, a, b, difference, attributes = {}) {
  return element("tr", attributes, element("th", { scope: "row" }, name), element("td", {}, a), element("td", {}, b), element("td", { class: "fl-desk-compare-difference" }, ...difference));
}

function compareCost(name, text, a, b) {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return compareRow(name, "–", "–", ["–"]);
  const part = a > 0 ? (100 * (b - a)) / a : 0, sign = b > a ? "+" : "−";
  return compareRow(name, text(a), text(b), a === b ? ["none"] : [`${sign}${text(Math.abs(b - a))} (${sign}${Math.abs(part).toFixed(1)} %)`]);
}

function compareMetric(metric, words, { a, b, difference, low, high }) {
  const known = Number.isFinite(low) && Number.isFinite(high), told = known && (low > 0 || high < 0);
  const signed = (value) => (value > 0 ? `+${lossNumber(metric, value)}` : lossNumber(metric, value));
  const interval = known ? `${signed(low)} to ${signed(high)}` : "interval not known yet";
  const verdict = !known || told ? "" : " · no difference can be told";
  return compareRow(`${metric.name}, ${words}`, wordsValue(metric, a), wordsValue(metric, b),
    [element("strong", {}, `${signed(difference)} ${lossUnit(metric)}`), element("span", { class: "fl-quiet" }, ` ${interval}${verdict}`)], { "data-told": String(told) });
}

function compareGroup({ name, channels, a, b, others }) {
  const share = (b - a) / channels, more = others - Math.abs(b - a);
  const bar = element("div", { class: share < 0 ? "fl-desk-compare-less" : "fl-desk-compare-more", style: `width:${50 * Math.abs(share)}%;${share < 0 ? "right" : "left"}:50%` });
  const words = a === b ? `${b} of ${channels} kept, ${others / 2} of them others` : `${a} → ${b} of ${channels}${more > 0 ? ", others too" : ""}`;
  return element("tr", {}, element("th", { scope: "row", title: name }, name), element("td", { class: "fl-desk-compare-track", "aria-hidden": "true" }, element("div", {}, bar)),
    element("td", {}, words));
}
