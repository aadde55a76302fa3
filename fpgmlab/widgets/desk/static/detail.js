import { beforeNextPicture, element, onceRested } from "../../common/static/common.js";
import { changesTogether } from "./changes.js";
import { barPercent, lossNumber, lossUnit, lossWords } from "./colours.js";
import { controlButton, controlKeys, controlLabelled } from "../../common/static/controls.js";
import { curvePicture } from "./curve.js";
import { handWords } from "./hand.js";
import { at } from "./model.js";
import { wordsCount, wordsIn, wordsMany, wordsNamed, wordsShare, wordsTime } from "./words.js";

const DETAIL_NAMES = 3; // layers that are named; the others are counted
const DETAIL_COUNTS = 10; // counts that are listed
const DETAIL_KEYS = "↑ ↓ one step · Alt: one at a time · PageUp/PageDown ±10 % · Home, End · digits and Enter: a ratio · ← → next bar · Shift: several · L lock · F filters";

/** All about the bar with the focus, or about the selected bars together. */
export function detailView(store, signal) {
  const { desk, groups, whole, cost, allowed } = store.calculator, original = cost(whole), changes = changesTogether(store);
  const name = element("h4"), channels = element("span"), ratioWords = element("span"), picture = curvePicture();
  const say = [channels, ratioWords].map(wordsIn), lines = ["alone", "macs", "coupled", "reason"].map((kind) => element("p", { class: `fl-desk-detail-${kind}` }));
  const tell = lines.map(wordsNamed), sayName = wordsNamed(name);
  const number = (attributes, act) => element("input", { type: "number", class: "fl-field", min: 0, onchange: (event) => event.target.value !== "" && act(event.target.valueAsNumber), ...attributes });
  const ratio = number({ max: 100, step: "any" }, (value) => edit(changes.to(value / 100)));
  const kept = number({ min: 1, step: 1 }, (value) => edit(changes.to(1 - value / groups[store.focus].channels)));
  const keptWords = element("span"), sayKept = wordsIn(keptWords), keptControl = controlLabelled(keptWords, kept), ratioControl = controlLabelled("Ratio removed, %", ratio);
  const lock = controlButton("Lock", () => changes.lock(), { title: "Locked bars stay where they are (L)" });
  const filters = controlButton("Filters", () => store.openFilters(!store.looking()), { title: "The group's filters: which go, which stay, which are alike (F)", "aria-expanded": "false" });
  const byHand = element("span"), sayHand = wordsIn(byHand), reset = controlButton("Reset to the criterion's order", () => store.send({ do: "criterion", group: store.focus }));
  const hand = element("p", { class: "fl-desk-detail-hand", hidden: "" }, byHand, reset);
  const node = controlKeys(element("section", { class: "fl-panel fl-desk-detail", "aria-label": "The selected bar" },
    element("div", { class: "fl-desk-detail-head" }, name, lock), element("div", { class: "fl-desk-detail-line" }, channels, ratioWords),
    element("div", { class: "fl-desk-detail-controls" }, ratioControl, keptControl, filters),
    hand, picture.node, ...lines, element("p", { class: "fl-quiet fl-desk-detail-keys" }, DETAIL_KEYS)));
  let drawn = [];

  /** Set bars, and show what became of the number that was typed. */
  const edit = (wish) => {
    store.set(wish);
    drawInputs(true);
  };
  const drawInputs = (always) => {
    const g = store.focus, several = store.selected.size > 1, fixed = changes.free().length === 0;
    keptControl.hidden = several;
    for (const input of [ratio, kept]) input.disabled = fixed;
    const values = [Number((100 * changes.ratio(g)).toFixed(1)), store.kept[g]];
    [ratio, kept].forEach((input, i) => {
      if (always || document.activeElement !== input) input.value = values[i];
    });
  };

  const drawOne = (g, metric, totals) => {
    const group = groups[g], count = store.kept[g], curve = group.protected ? null : metric?.curves[g];
    if (drawn[0] !== g || drawn[1] !== metric) {
      drawn = [g, metric];
      sayName(group.name);
      sayKept(`${wordsMany(group).replace(/^./, (letter) => letter.toUpperCase())} kept`);
      picture.setCurve(metric, curve, group.channels, group.protected ? "" : lossWords(metric, g, 0, group.channels));
      lines[2].title = `${group.producers.join(", ")} → ${group.consumers.join(", ")}`;
      kept.max = group.channels;
    }
    picture.setKept(metric, curve, count, group.channels, group.name);
    say[0](`${group.channels} → ${count} ${group.many}`);
    say[1](`ratio ${barPercent(1 - count / group.channels)}`);
    tell[0](curve ? detailAlone(metric, curve, count) : "");
    tell[1](`${detailMacs(original.byGroup[g], totals.byGroup[g], original.macs)}${desk.latency ? `; ${wordsTime(totals.msByGroup[g])} of ${wordsTime(original.msByGroup[g])}` : ""}`);
    tell[2](`Couples ${detailList(group.producers)} → ${detailList(group.consumers) || "the model's output"}`);
    tell[3](group.protected ? `Protected: ${group.protected}.` : detailSteps(allowed(g, store.multiple()), group, store.multiple() === "runtime" && group.steps?.length > 1 ? desk.latency.runtime : null));
  };

  const drawSeveral = (metric, totals) => {
    const mine = [...store.selected].sort((a, b) => a - b), sum = (values) => mine.reduce((total, g) => total + values[g], 0);
    if (drawn[0] !== null) picture.setCurve(metric, null, 0, "");
    drawn = [null, metric];
    sayName(`${mine.length} bars together`);
    const ratios = mine.map(changes.ratio), [low, high] = [Math.min(...ratios), Math.max(...ratios)];
    say[0](`${sum(whole)} → ${sum(store.kept)} ${[...new Set(mine.map((g) => wordsMany(groups[g])))].join(" and ")}`);
    say[1](`ratio ${low === high ? barPercent(low) : `${barPercent(low)} to ${barPercent(high)}`}`);
    const alone = metric && store.calculator.predict(metric, whole.map((all, g) => (store.selected.has(g) ? store.kept[g] : all)));
    tell[0](metric ? `predicted ${detailChange(metric, alone.drop, alone.half)} together${alone.unknown.length ? `; not measured (so far): ${alone.unknown.length}` : ""}` : "");
    tell[1](detailMacs(sum(original.byGroup), sum(totals.byGroup), original.macs));
    tell[2](detailList(mine.map((g) => groups[g].name)));
    lines[2].title = mine.map((g) => groups[g].name).join(", ");
    const fixed = mine.length - changes.free().length;
    tell[3](`All change by the same ratio.${fixed ? ` ${wordsCount(fixed, "bar")} locked or protected: ${fixed === 1 ? "it stays" : "they stay"}.` : ""}`);
  };

  const sayLock = wordsIn(lock);
  const draw = beforeNextPicture(() => {
    if (signal.aborted) return;
    const metric = store.metric(), totals = store.totals(), locked = store.locked(), several = store.selected.size > 1;
    if (several) drawSeveral(metric, totals);
    else drawOne(store.focus, store.drawn(), totals);
    const prunable = [...store.selected].filter((g) => !groups[g].protected), on = prunable.length > 0 && prunable.every((g) => locked.has(g));
    lock.hidden = prunable.length === 0;
    sayLock(on ? "Unlock" : "Lock");
    const chosen = several ? "" : handWords(groups[store.focus], store.exchanged()[store.focus], store.ownOf(store.focus), whole[store.focus] - store.kept[store.focus]);
    hand.hidden = chosen === "";
    sayHand(chosen);
    drawInputs(false);
  });
  for (const what of ["metric", "selection", "locks", "seen", "exchanged", "own"]) store.on(what, draw);
  store.on("looking", () => filters.setAttribute("aria-expanded", String(store.looking())));
  store.on("plan", onceRested(draw, signal)); // text in a picture takes long to lay out: not at each move
  draw();
  return node;
}

function detailChange(metric, drop, half) {
  const change = lossNumber(metric, metric.higher_is_better ? -drop : drop), sign = change === "0" || change.startsWith("−") ? "" : "+";
  return `${sign}${change} ± ${Number.isFinite(half) ? lossNumber(metric, half) : "unknown"} ${lossUnit(metric)}`;
}

function detailAlone(metric, curve, kept) {
  const found = at(curve, kept);
  return `predicted ${detailChange(metric, found.drop, found.half)} alone${metric.note ?? ""}${found.beyond ? "; beyond what was measured, perhaps worse" : ""}`;
}

function detailMacs(all, now, total) {
  return `${wordsShare(all, total)} of all MACs, ${wordsShare(now, total)} remain`;
}

function detailSteps(counts, group, runtime) {
  const { channels } = group;
  if (runtime) return `Keeps ${counts.length > DETAIL_COUNTS ? `one of ${counts.length} counts from ${counts[0]} on` : `${counts.slice(0, -1).join(", ")} or ${channels}`}: the ends of ${runtime}'s steps.`;
  const [first, second = channels] = counts, least = first === channels ? "" : `at least ${first}`;
  return counts.length === 1 ? `All ${wordsMany(group)} must stay.` : `Keeps ${least}, in steps of ${second - first}.`;
}

/** Return names, of many only the first; the others are counted. */
function detailList(names) {
  if (names.length <= DETAIL_NAMES + 1) return names.join(", ");
  return `${names.slice(0, DETAIL_NAMES).join(", ")} and ${names.length - DETAIL_NAMES} more`;
}
