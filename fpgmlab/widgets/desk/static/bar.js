import { element, shape } from "../../common/static/common.js";
import { lossGradient, lossWords, measuredRatio, barPercent } from "./colours.js";

export const BAR_HEIGHT = 250; // pixels, as --fl-desk-bar-height in bars.css
const BAR_STRIP = 36; // as --fl-desk-strip-height
const BAR_TICK = 6; // pixels from one tick to the next at least
const BAR_LETTERS = 12; // of a name; the focused bar's is written out above the bars

/**
 * One bar: a slider for the group's ratio over the colours of its curve, beside it the ends of a runtime's steps; below it, of each kind of cost
 * (name, all, tallest: of the bar that costs most), what remains.
 */
export function barOf(group, g, kinds) {
  const column = element("div", { class: "fl-desk-bar-removed" }), handle = element("div", { class: "fl-desk-bar-handle" });
  const beyond = element("div", { class: "fl-desk-bar-beyond" }), cap = element("div", { class: "fl-desk-bar-cap" }), waste = element("div", { class: "fl-desk-bar-waste", hidden: "" });
  const bubble = element("div", { class: "fl-desk-bar-bubble", "aria-hidden": "true" });
  const slider = element("div", {
    class: "fl-desk-bar", role: "slider", tabindex: "-1", "aria-label": group.name, "aria-orientation": "vertical",
    "aria-valuemin": 0, "aria-disabled": group.protected ? "true" : null,
  }, beyond, cap, ...barStairs(group), column, waste, handle, bubble);
  const strips = kinds.map(barStrip), strip = element("div", { class: "fl-desk-bar-strips", "aria-hidden": "true" }, ...strips.map((each) => each.node));
  const name = element("div", { class: "fl-desk-bar-name", "aria-hidden": "true" }, element("span", {}, barName(group)));
  const lock = element("div", { class: "fl-desk-bar-lock", "aria-hidden": "true" }, barLock());
  const node = element("div", { class: `fl-desk-slot${group.protected ? " fl-desk-protected" : ""}`, "data-g": g, title: group.protected && `Protected: ${group.protected}` }, lock, slider, strip, name);
  let shown = null, most = 1, words = "", better = null;
  const drawn = { selected: null, focus: null, locked: null, text: null, stop: null };
  const stopAt = (stop) => {
    if (stop !== drawn.stop) slider.tabIndex = (drawn.stop = stop) ? 0 : -1; // one tab stop for all bars
  };

  return {
    node, slider,
    /** Show the colours of a metric's curve, and how high the bar may go. */
    setCurve(metric, top, mostRatio) {
      const curve = metric?.curves[g];
      most = mostRatio;
      slider.style.setProperty("--fl-desk-curve", curve && !group.protected ? lossGradient(curve, group.channels, top) : "none");
      const unknown = curve ? Math.max(0, most - measuredRatio(curve, group.channels)) : group.protected ? 0 : most;
      cap.style.height = group.protected ? "100%" : `${100 * (1 - most)}%`;
      beyond.style.bottom = `${100 * (most - unknown)}%`;
      beyond.style.height = `${100 * unknown}%`;
      slider.setAttribute("aria-valuemax", Number((100 * most).toFixed(1)));
      shown = null;
    },
    /** Move the bar to a number of kept channels. */
    setKept(kept, metric) {
      if (kept === shown) return;
      shown = kept;
      const ratio = 1 - kept / group.channels;
      column.style.transform = `scaleY(${ratio})`;
      handle.style.transform = `translateY(${-BAR_HEIGHT * ratio}px)`;
      slider.setAttribute("aria-valuenow", Number((100 * ratio).toFixed(1)));
      words = barWords(group, g, kept, metric);
      drawn.text = null;
      this.setWaste(null);
    },
    /** Show what remains of each kind of cost. */
    setCosts(values) {
      strips.forEach((each, i) => each.set(values[i]));
    },
    /** Grey what was removed for nothing: so many channels more would take no more time; null where there are none. */
    setWaste(more) {
      if (more === better) return;
      better = more;
      waste.hidden = more === null;
      drawn.text = null;
      if (more === null) return;
      waste.style.bottom = `${100 * (1 - more / group.channels)}%`;
      waste.style.height = `${(100 * (more - shown)) / group.channels}%`;
    },
    /** Show whether the bar is selected (one of so many), the one with the details, and locked. */
    setMarks(selected, focus, locked, count) {
      const together = selected && count > 1 ? `, one of ${count} selected` : "", state = locked ? ", locked" : "";
      const text = `${words}${barWaste(shown, better)}${state}${together}`;
      if (text !== drawn.text) slider.setAttribute("aria-valuetext", (drawn.text = text));
      if (selected !== drawn.selected) node.classList.toggle("fl-desk-selected", (drawn.selected = selected));
      if (focus !== drawn.focus) {
        drawn.focus = focus;
        node.classList.toggle("fl-desk-current", focus);
      }
      stopAt(focus);
      if (locked !== drawn.locked) {
        drawn.locked = locked;
        node.classList.toggle("fl-desk-locked", locked);
        if (!group.protected) slider.setAttribute("aria-disabled", String(locked));
      }
    },
    /** Take the keys. */
    focus() {
      stopAt(true);
      slider.focus({ preventScroll: true });
    },
    /** Show what is being typed, or nothing. */
    setTyped(text) {
      bubble.textContent = text === null ? "" : `${text || "…"} %`;
      bubble.classList.toggle("fl-desk-on", text !== null);
    },
  };
}

/** Return a group's name without what the stage's title says already; of a long one the end, where they differ. */
function barName({ name, stage }) {
  const own = name.startsWith(`${stage}.`) ? name.slice(stage.length + 1) : name;
  return own.length > BAR_LETTERS ? `…${own.slice(1 - BAR_LETTERS)}` : own;
}

/** Return a bar in words: ratio, channels, what it costs. */
export function barWords(group, g, kept, metric) {
  if (group.protected) return `protected: ${group.protected}; all ${group.channels} ${group.many} kept`;
  return `${barPercent(1 - kept / group.channels)}, ${kept} of ${group.channels} ${group.many} kept, ${lossWords(metric, g, kept, group.channels)}`;
}

/** Return in words that a step of the runtime is wasted; `more` is what would take no more time, or null. */
export function barWaste(kept, more) {
  return more === null ? "" : `, wasted: ${kept} take as long as ${more}`;
}

/** Return a strip that hangs below a bar: what remains of a cost, and what is removed. */
function barStrip({ name, all, tallest }) {
  const height = Math.max(1, (BAR_STRIP * all) / tallest), remain = element("div", { class: "fl-desk-strip-remain" });
  let drawn = null;
  return {
    node: element("div", { class: `fl-desk-strip fl-desk-strip-${name}` }, element("div", { class: "fl-desk-strip-whole", style: `height:${height}px` }), remain),
    set(value) {
      if (value !== drawn) remain.style.transform = `scaleY(${(drawn = value) / tallest})`;
    },
  };
}

/** Return ticks at the counts where a step of the runtime ends, or nothing; where they are too close to be told apart, fewer. */
function barStairs({ channels, steps }) {
  if (!(steps?.length > 1)) return [];
  const heights = [];
  for (const count of steps) {
    const y = (BAR_HEIGHT * count) / channels;
    if (count < channels && (heights.length === 0 || y - heights.at(-1) >= BAR_TICK)) heights.push(y);
  }
  const path = heights.map((y) => `M 0 ${y.toFixed(1)} H 6`).join(" ");
  return [shape("svg", { class: "fl-desk-bar-stairs", viewBox: `0 0 6 ${BAR_HEIGHT}`, preserveAspectRatio: "none" }, shape("path", { d: path }), shape("path", { d: path }))];
}

function barLock() {
  return shape("svg", { viewBox: "0 0 10 12" },
    shape("path", { class: "fl-desk-lock-bow", d: "M 2.5 5.5 V 3.5 A 2.5 2.5 0 0 1 7.5 3.5 V 5.5" }), shape("rect", { x: 1, y: 5.5, width: 8, height: 6, rx: 1 }));
}
