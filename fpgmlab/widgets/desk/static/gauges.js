import { beforeNextPicture, element } from "../../common/static/common.js";
import { verdictGauge } from "./verdict.js";
import { wordsIn, wordsKinds, wordsShare, wordsTime } from "./words.js";

const GAUGE_REST = 700; // milliseconds after which totals are read out

/** The totals of the plan shown, against those of the unpruned network, and how good it is. */
export function gaugesView(store, signal) {
  const whole = store.totalsOf(store.calculator.whole), kinds = wordsKinds(store.calculator.desk);
  const gauges = kinds.map((kind) => gaugeOf(kind, whole[kind.kind]));
  const verdict = verdictGauge(store), live = element("div", { class: "fl-sr", role: "status", "aria-live": "polite" });
  const node = element("div", { class: "fl-gauges fl-desk-gauges", role: "group", "aria-label": "Totals of the plan", style: `--fl-desk-kinds: ${kinds.length}` },
    ...gauges.map((gauge) => gauge.node), verdict.node, live);
  let speaking = null, spoken = null;
  const draw = beforeNextPicture(() => {
    const totals = store.totals(), budget = store.budget();
    const timed = store.isLive() ? (store.live().timed ?? null) : null;
    gauges.forEach((gauge, i) => {
      gauge.draw(totals[kinds[i].kind], budget?.kind === kinds[i].kind ? budget.share : null);
      if (kinds[i].kind === "latency") gauge.time(timed, store.isLive() && store.live().doing === "timing");
    });
    verdict.draw();
    store.look();
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      if (verdict.busy()) return; // it is read out when it is complete
      const words = `${wordsShare(totals.macs, whole.macs)} of the MACs, ${wordsShare(totals.params, whole.params)} of the parameters remain. ${verdict.words()}`;
      if (spoken !== null && spoken !== words) live.textContent = words;
      spoken = words;
    }, GAUGE_REST);
  });
  for (const what of ["plan", "metric", "results", "budget", "live"]) store.on(what, draw);
  signal.addEventListener("abort", () => clearTimeout(speaking));
  draw();
  return node;
}

/** One total: its value, the part that remains, and the budget as a mark on the bar. */
function gaugeOf({ title, name, of, table, note, text }, all) {
  const value = element("strong"), timed = element("div", { class: "fl-desk-gauge-timed" }), share = element("span", { class: "fl-quiet" }), bar = element("div");
  const mark = element("span", { class: "fl-desk-gauge-mark" }), limit = element("span", { class: "fl-desk-gauge-limit" });
  const node = element("div", { class: "fl-panel fl-gauge", "data-kind": name },
    element("div", { class: "fl-desk-gauge-title", title: note ?? null }, title),
    element("div", { class: "fl-desk-gauge-line" }, value, ...(of ? [element("span", { class: "fl-quiet", title: note }, table)] : [])), timed,
    element("div", { class: "fl-meter fl-desk-gauge-meter", "aria-hidden": "true" }, bar, mark),
    element("div", { class: "fl-desk-gauge-line" }, share, limit));
  const sayValue = wordsIn(value), sayShare = wordsIn(share), sayLimit = wordsIn(limit), sayTimed = wordsIn(timed);
  timed.hidden = !of;
  let at;
  return {
    node,
    /** Show what the pruned network itself took, or that it is being timed. */
    time(found, under) {
      const half = found?.low != null && found.high != null ? ` ± ${((found.high - found.low) / 2).toPrecision(1)}` : "";
      const elsewhere = found && found.runtime !== of ? `, ${found.runtime}` : "";
      sayTimed(found ? `timed ${wordsTime(found.ms)}${half}${elsewhere}` : under ? "timing the pruned network" : "not timed yet");
      timed.dataset.found = String(Boolean(found));
    },
    draw(now, budget) {
      sayValue(text(now));
      sayShare(`${wordsShare(now, all)} of ${text(all)}`);
      bar.style.transform = `scaleX(${all > 0 ? Math.min(1, now / all) : 0})`;
      if (at !== budget) {
        at = budget;
        mark.hidden = budget === null;
        mark.style.left = `${100 * Math.min(1, budget ?? 0)}%`;
      }
      const over = budget !== null && now > budget * all * (1 + 1e-9);
      node.classList.toggle("fl-desk-over", over);
      sayLimit(budget === null ? "" : `${over ? "over" : "within"} the budget of ${Number((100 * budget).toFixed(1))}\u00a0%`);
    },
  };
}
