import { beforeNextPicture, element, listen, numbers, short } from "../../common/static/common.js";
import { controlKeys, controlLabelled, controlSelect } from "../../common/static/controls.js";
import { panelHead, panelKeys, panelLarge } from "../../common/static/head.js";
import { progressBar } from "../../common/static/progress.js";
import { curvesView, scaleOf } from "./curves.js";
import { tableView } from "./table.js";

const GLIDE = 220; // milliseconds in which curves move to their new places

function render({ model, el, signal }) {
  const state = { metric: 0, current: null, byKey: false, data: readData(model), shown: null, moved: 0, said: "" };
  const controls = controlsOf(model, (metric) => {
    Object.assign(state, { metric, shown: null, moved: 0 });
    draw();
  });
  const curves = curvesView({ point: (where) => pointAt(where) });
  const table = tableView(), tip = element("div", { class: "fl-sweep-tip", "aria-hidden": "true" });
  const alarm = element("div", { class: "fl-message", role: "alert" });
  const live = element("div", { class: "fl-sr", "aria-live": "polite", role: "status" });
  const key = element("div", { class: "fl-legend" },
    element("span", { class: "fl-key fl-key-line fl-sweep-key-base" }, "unpruned network"), element("span", { class: "fl-key fl-sweep-key-band" }, "95 % interval"),
    element("span", {}, "across: ratio, the share of the group's channels removed"));
  const nothing = element("p", { class: "fl-empty" }, "No curves yet. Start the sweep: once its first batch is through there is a rough curve of each group, and it sharpens.");
  const root = element("div", { class: "fl-root fl-sweep", role: "group", "aria-label": "Sensitivity sweep" });
  const { network, groups: { length: count } } = model.get("grid");
  root.append(panelHead(network, `${count} prunable group${count === 1 ? "" : "s"} · sensitivity sweep`, panelLarge(model, root, signal)),
    controls.node, alarm, nothing, key, curves.node, table.node, tip, live);
  panelKeys(root, signal);
  el.append(root);
  let groups = null;

  function pointAt(where) {
    state.byKey = false;
    const measured = where && state.data.ratios[where[0]].length > 0;
    state.current = measured ? [where[0], curves.nearest(where[0], where[1], state.data.ratios[where[0]])] : null;
    draw();
  }

  curves.node.addEventListener("keydown", (event) => {
    const next = event.key === "Escape" ? null : steppedTo(event.key, state.current, state.data.ratios);
    if (next === undefined) return;
    Object.assign(state, { current: next, byKey: true });
    live.textContent = next === null ? "" : wordsOf(state, next).join(", ");
    if (next !== null) curves.frameOf(next[0]).scrollIntoView({ block: "nearest" });
    draw();
    event.preventDefault();
    event.stopPropagation(); // else JupyterLab leaves the cell
  });
  curves.node.addEventListener("blur", () => state.byKey && pointAt(null));

  const draw = beforeNextPicture(() => {
    if (signal.aborted) return;
    const { data, metric } = state, now = performance.now();
    if (groups !== String(data.groups)) {
      groups = String(data.groups);
      state.current = state.shown = null;
      curves.setGroups(data.groups, data.channels);
    }
    const part = Math.min(1, (now - state.moved) / GLIDE);
    state.shown = part < 1 ? between(state.from, data.points[metric], 1 - (1 - part) ** 2) : data.points[metric];
    const found = curvesOf(data, state.shown), seen = found.some((curve) => curve.values.length > 0);
    nothing.hidden = seen;
    key.hidden = curves.node.hidden = table.node.hidden = !seen;
    curves.draw(found, data.groups.map((name) => data.blind.has(name)), scaleOf(curvesOf(data, data.points[metric]), data.shares[metric]), state.current);
    showTip(root, tip, state, curves);
    table.set(data.metrics[metric], () => rowsOf(state), model.get("state") !== "running");
    if (part < 1) draw();
  });

  const update = () => {
    const before = state.data.points[state.metric];
    state.data = readData(model);
    const after = state.data.points[state.metric], still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (state.shown && before.length === after.length && before.some((value, i) => value !== after[i]) && !still) {
      Object.assign(state, { from: state.shown, moved: performance.now() });
    }
    if (state.current && state.current[1] >= (state.data.ratios[state.current[0]] ?? []).length) state.current = null;
    draw();
  };
  const tell = () => {
    const status = model.get("status"), kind = model.get("state");
    controls.draw(status, kind);
    alarm.textContent = status.message;
    root.dataset.state = kind;
    const quarter = `${kind} ${Math.floor(4 * status.share)} ${status.can_cancel}`; // not every update is read out
    if (quarter !== state.said && state.said !== "") live.textContent = status.words;
    state.said = quarter;
    update();
  };
  listen(model, ["grid", "points"], update, signal);
  listen(model, ["state", "status", "tolerance"], tell, signal);
  tell();
}

/** Return what the kernel sent: for each metric the points as numbers, value, low, high and samples of each in turn. */
function readData(model) {
  const grid = model.get("grid"), raw = model.get("points");
  const all = raw && raw.byteLength > 0 ? numbers(raw, Float32Array) : new Float32Array(0);
  const count = grid.ratios.reduce((sum, ratios) => sum + ratios.length, 0), size = 4 * count;
  // Grid and points come one after the other: what does not fit together waits for the second.
  const fits = all.length === size * grid.metrics.length;
  const points = grid.metrics.map((_, m) => (fits ? all.slice(m * size, (m + 1) * size) : new Float32Array(0)));
  const ratios = fits ? grid.ratios : grid.groups.map(() => []);
  let start = 0;
  const starts = ratios.map((mine) => (start += mine.length) - mine.length);
  return { ...grid, ratios, points, starts, blind: new Set(model.get("status").unmeasurable) };
}

function curvesOf(data, points) {
  const column = (g, k) => data.ratios[g].map((_, i) => points[4 * (data.starts[g] + i) + k]);
  return data.groups.map((_, g) => ({ ratios: data.ratios[g], values: column(g, 0), lows: column(g, 1), highs: column(g, 2) }));
}

function between(from, to, part) {
  return to.map((value, i) => (Number.isFinite(from[i]) && Number.isFinite(value) ? from[i] + part * (value - from[i]) : value));
}

/** Return the place that a key leads to; undefined for other keys. */
function steppedTo(key, current, ratios) {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[key];
  const last = ratios.length - 1;
  if (last < 0 || ratios[0].length === 0 || (!step && key !== "Home" && key !== "End")) return undefined;
  if (!step) return [key === "Home" ? 0 : last, 0];
  if (current === null) return [0, 0];
  const g = Math.max(0, Math.min(last, current[0] + step[0]));
  return [g, Math.max(0, Math.min(ratios[g].length - 1, current[1] + step[1]))];
}

/** Return a point in words: group, ratio, value, interval, samples. */
function wordsOf({ data, metric }, [g, i]) {
  const name = data.groups[g], kept = `${data.kept[g][i]} of ${data.channels[g]} ${data.many[g]} kept`;
  const ratio = `ratio ${(100 * data.ratios[g][i]).toFixed(1).replace(/\.0$/, "")} % (${kept})`;
  if (data.blind.has(name)) return [name, ratio, "not measurable: no output changes"];
  const [value, low, high, samples] = data.points[metric].slice(4 * (data.starts[g] + i), 4 * (data.starts[g] + i) + 4);
  const number = numberOf(data.shares[metric]), interval = i === 0 ? "the unpruned network" : `95 % interval ${number(low)} to ${number(high)}`;
  return [name, ratio, `${data.metrics[metric]} ${number(value)}`, interval, `${samples.toLocaleString("en")} samples`];
}

function rowsOf({ data, metric }) {
  const number = numberOf(data.shares[metric]);
  return data.groups.flatMap((name, g) => data.ratios[g].map((ratio, i) => {
    const [value, low, high, samples] = data.points[metric].slice(4 * (data.starts[g] + i), 4 * (data.starts[g] + i) + 4);
    const facts = data.blind.has(name) ? ["not measurable", "", ""] : [value, low, high].map(number);
    return [name, `${(100 * ratio).toFixed(1)} %`, String(data.kept[g][i]), ...facts, samples.toLocaleString("en")];
  }));
}

function numberOf(share) {
  return (value) => (share ? `${(100 * value).toFixed(1)} %` : short(value));
}

/** Put the words on the current point beside its group's picture, within the panel; in pixels of the panel's own. */
function showTip(root, tip, state, curves) {
  tip.classList.toggle("fl-sweep-on", state.current !== null);
  if (state.current === null) return;
  const [title, ...rest] = wordsOf(state, state.current);
  tip.replaceChildren(element("strong", {}, title), ...rest.map((words) => element("div", {}, words)));
  const box = curves.frameOf(state.current[0]).getBoundingClientRect(), all = root.getBoundingClientRect();
  const zoom = all.width / root.offsetWidth || 1;
  const left = Math.max(0, Math.min((box.left - all.left) / zoom, root.offsetWidth - tip.offsetWidth - 4));
  tip.style.left = `${left}px`;
  tip.style.top = `${(box.bottom - all.top) / zoom + 2}px`;
}

/** Buttons, the tolerance, the metric to be shown, the bar and the line on how far it is. */
function controlsOf(model, choose) {
  const send = (wish) => model.send({ do: wish });
  const button = (words, wish, title, more = "") => element("button", { type: "button", class: `fl-button${more}`, title, "aria-label": words, onclick: () => send(wish) }, words);
  const start = button("Start", "start", "Start the sweep, or go on where it was", " fl-button-main"), cancel = button("Cancel", "cancel", "End before the next forward pass; what is measured stays", " fl-button-cancel");
  const over = button("Start over", "start_over", "Forget what was measured, and start again");
  const tolerance = element("input", { type: "number", class: "fl-field", min: 0, step: "any", placeholder: "all samples", onchange: () => {
    model.set("tolerance", Number(tolerance.value) > 0 ? Number(tolerance.value) : null);
    model.save_changes();
  } });
  const metrics = model.get("grid").metrics;
  const metric = controlSelect({}, metrics.map((name) => [name, name]), () => choose(metric.selectedIndex));
  const words = element("p", { class: "fl-sweep-status" }), progress = progressBar("Progress of the sweep");
  const node = controlKeys(element("div", { class: "fl-panel fl-sweep-head" },
    element("div", { class: "fl-line fl-sweep-controls" },
      element("span", { class: "fl-pair fl-sweep-buttons" }, start, cancel, over),
      controlLabelled(`Until each interval of ${metrics[0]} is ±`, tolerance, "Points end when they are known so well: 0.01 is one point of accuracy. Empty: all samples"),
      controlLabelled("Metric shown", metric, "What the curves show")),
    progress.node, words));
  return {
    node,
    draw(status, kind) {
      start.textContent = status.start;
      start.setAttribute("aria-label", `${status.start} the sweep`);
      for (const [each, can] of [[start, status.can_start], [cancel, status.can_cancel], [over, status.can_start_over]]) {
        const held = document.activeElement === each;
        each.disabled = !can;
        if (held && !can) [start, cancel, over].find((other) => !other.disabled)?.focus(); // a disabled button loses the focus
      }
      tolerance.disabled = kind === "running";
      if (document.activeElement !== tolerance) tolerance.value = model.get("tolerance") ?? "";
      progress.draw(status.share, status.words);
      words.textContent = status.words;
    },
  };
}

export default { render };
