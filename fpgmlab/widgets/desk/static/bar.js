import { element, shape } from "../../common/static/common.js";
import { lossGradient, lossWords, measuredRatio, barPercent } from "./colours.js";

export const BAR_HEIGHT = 250; // pixels, as --fl-desk-bar-height in bars.css
const BAR_MACS = 36; // as --fl-desk-macs-height
const BAR_LETTERS = 12; // of a name; the focused bar's is written out above the bars

/** One bar: a slider for the group's ratio over the colours of its curve, and below it the MACs that remain. */
export function barOf(group, g, macsOfTallest, macs) {
  const column = element("div", { class: "fl-desk-bar-removed" }), handle = element("div", { class: "fl-desk-bar-handle" });
  const beyond = element("div", { class: "fl-desk-bar-beyond" }), cap = element("div", { class: "fl-desk-bar-cap" });
  const bubble = element("div", { class: "fl-desk-bar-bubble", "aria-hidden": "true" });
  const slider = element("div", {
    class: "fl-desk-bar", role: "slider", tabindex: "-1", "aria-label": group.name, "aria-orientation": "vertical",
    "aria-valuemin": 0, "aria-disabled": group.protected ? "true" : null,
  }, beyond, cap, column, handle, bubble);
  const remain = element("div", { class: "fl-desk-bar-remain" });
  const strip = element("div", { class: "fl-desk-bar-macs", "aria-hidden": "true" },
    element("div", { class: "fl-desk-bar-whole", style: `height:${Math.max(1, (BAR_MACS * macs) / macsOfTallest)}px` }), remain);
  const name = element("div", { class: "fl-desk-bar-name", "aria-hidden": "true" }, element("span", {}, barName(group)));
  const lock = element("div", { class: "fl-desk-bar-lock", "aria-hidden": "true" }, barLock());
  const node = element("div", { class: `fl-desk-slot${group.protected ? " fl-desk-protected" : ""}`, "data-g": g, title: group.protected && `Protected: ${group.protected}` }, lock, slider, strip, name);
  let shown = null, most = 1, words = "";
  const drawn = { macs: null, selected: null, focus: null, locked: null, text: null, stop: null };
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
    },
    setMacs(value) {
      if (value === drawn.macs) return;
      drawn.macs = value;
      remain.style.transform = `scaleY(${value / macsOfTallest})`;
    },
    /** Show whether the bar is selected (one of so many), the one with the details, and locked. */
    setMarks(selected, focus, locked, count) {
      const together = selected && count > 1 ? `, one of ${count} selected` : "", state = locked ? ", locked" : "";
      const text = `${words}${state}${together}`;
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
  if (group.protected) return `protected: ${group.protected}; all ${group.channels} channels kept`;
  return `${barPercent(1 - kept / group.channels)}, ${kept} of ${group.channels} channels kept, ${lossWords(metric, g, kept, group.channels)}`;
}

function barLock() {
  return shape("svg", { viewBox: "0 0 10 12" },
    shape("path", { class: "fl-desk-lock-bow", d: "M 2.5 5.5 V 3.5 A 2.5 2.5 0 0 1 7.5 3.5 V 5.5" }), shape("rect", { x: 1, y: 5.5, width: 8, height: 6, rx: 1 }));
}
