import { beforeNextPicture, element, freshId, listen, numbers, short } from "../../common/static/common.js";
import { controlKeys, controlLabelled } from "../../common/static/controls.js";
import { panelHead, panelKeys, panelLarge } from "../../common/static/head.js";
import { histogramView, layersView } from "./charts.js";
import { cutAt } from "./cut.js";

const MOST = 0.95; // of the slider; a larger ratio may come from Python
const NAMED = 3; // groups that a sentence names; of more it says how many, and the table which

function render({ model, el, signal }) {
  const raw = model.get("pooled"), label = model.get("label");
  const pooled = { ...raw, values: numbers(raw.values, Float64Array), owner: numbers(raw.owner, Int32Array) };
  const controls = controlsOf(model), gauges = gaugesOf();
  const bins = histogramView(label, signal), layers = layersView();
  const words = element("p", { class: "fl-gamma-words" });
  const live = element("div", { class: "fl-sr", "aria-live": "polite", role: "status" });
  const root = element("div", { class: "fl-root fl-gamma", role: "group", "aria-label": "Global threshold on the scores" });
  const count = pooled.groups.length;
  root.append(
    panelHead(pooled.network, `${count} prunable group${count === 1 ? "" : "s"} · one threshold on ${label}`, panelLarge(model, root, signal)),
    controls.node, gauges.node, words, element("div", { class: "fl-gamma-charts" }, bins.node, layers.node), live);
  panelKeys(root, signal);
  el.append(root);

  let speaking = null;
  const draw = beforeNextPicture(() => {
    const ratio = model.get("ratio"), floor = model.get("floor");
    const cut = cutAt(pooled, ratio, floor);
    controls.draw(ratio, floor, model.get("log"), cut.cliff);
    bins.draw(pooled, cut, model.get("log"));
    layers.draw(pooled, cut);
    gauges.draw(pooled, cut, model.get("confirmed"), ratio, floor);
    words.replaceChildren(...sentences(pooled, cut, ratio).map((text, i) => element("span", { class: i ? "" : "fl-gamma-strong" }, text)));
    clearTimeout(speaking); // spoken once the slider rests
    speaking = setTimeout(() => (live.textContent = words.textContent), 600);
  });
  listen(model, ["ratio", "floor", "log", "confirmed"], draw, signal);
  signal.addEventListener("abort", () => clearTimeout(speaking));
  draw();
}

function controlsOf(model) {
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const number = (input, most) => Math.max(0, Math.min(most, Number(input.value) || 0));
  const slider = element("input", { type: "range", class: "fl-slider", id: freshId("ratio"), min: 0, max: MOST, step: 0.005, oninput: () => set("ratio", Number(slider.value)) });
  const exact = element("input", { type: "number", class: "fl-field", "aria-label": "Share, as a number", title: "The same ratio, to type in", min: 0, max: MOST, step: 0.01,
    onchange: () => set("ratio", number(exact, MOST)) });
  const floor = element("input", { type: "number", class: "fl-field", min: 0, max: 1, step: 0.05, onchange: () => set("floor", number(floor, 1)) });
  const log = element("input", { type: "checkbox", onchange: () => set("log", log.checked) });
  const mark = element("span", { class: "fl-gamma-cliff-mark" }), beyond = element("span", { class: "fl-gamma-beyond" });
  const node = controlKeys(element("div", { class: "fl-line fl-gamma-controls" },
    element("div", { class: "fl-labelled fl-gamma-ratio", title: "The global ratio" },
      element("label", { for: slider.id }, "Share of all channels below the threshold"),
      element("div", { class: "fl-gamma-slider" }, slider, element("div", { class: "fl-gamma-scale", "aria-hidden": "true" }, beyond, mark)), exact),
    controlLabelled("Floor of each layer", floor, "The share of its channels that each layer keeps, at least one channel"),
    controlLabelled("Logarithmic counts", log, "The histogram's vertical axis")));
  return {
    node,
    draw(ratio, least, logarithmic, cliff) {
      slider.max = exact.max = Math.max(MOST, ratio);
      if (Number(slider.value) !== ratio) slider.value = ratio;
      if (document.activeElement !== exact) exact.value = Number(ratio.toFixed(4));
      if (document.activeElement !== floor) floor.value = Number(least.toFixed(4));
      log.checked = logarithmic;
      slider.setAttribute("aria-valuetext", `${Math.round(1000 * ratio) / 10} percent; cliff at ${Math.round(1000 * cliff) / 10} percent`);
      const share = Math.min(1, cliff / Number(slider.max)), at = `calc(8px + ${share} * (100% - 16px))`; // 16px: the thumb
      mark.style.left = beyond.style.left = at;
      const left = share > 0.6, words = `cliff ${ratioText(cliff)}`;
      mark.textContent = cliff > Number(slider.max) ? "" : left ? `${words} ▲` : `▲ ${words}`;
      mark.classList.toggle("fl-gamma-left", left);
    },
  };
}

/** Totals as numbers over bars; channels are the browser's, MACs and parameters wait for the kernel. */
function gaugesOf() {
  const gauges = ["Channels", "MACs", "Parameters"].map((name) => {
    const value = element("strong"), share = element("div", { class: "fl-gauge-share" }), bar = element("div");
    const node = element("div", { class: "fl-panel fl-gauge" }, element("div", { class: "fl-gauge-title" }, name), value,
      element("div", { class: "fl-meter", "aria-hidden": "true" }, bar), share);
    return { node, set(now, all) {
      value.textContent = amount(now);
      share.textContent = `${((100 * now) / all).toFixed(1)} % of ${amount(all)}`;
      bar.style.transform = `scaleX(${now / all})`;
    } };
  });
  const node = element("div", { class: "fl-gauges fl-gamma-gauges" }, ...gauges.map((gauge) => gauge.node));
  return {
    node,
    draw(pooled, cut, confirmed, ratio, floor) {
      if (confirmed.macs === undefined) return;
      const waiting = confirmed.ratio !== ratio || confirmed.floor !== floor;
      node.classList.toggle("fl-gamma-waiting", waiting);
      node.setAttribute("aria-busy", String(waiting));
      gauges[0].set(sum(waiting ? cut.kept : confirmed.kept), sum(pooled.channels));
      gauges[1].set(confirmed.macs, pooled.macs);
      gauges[2].set(confirmed.params, pooled.params);
    },
  };
}

function sentences(pooled, cut, ratio) {
  const held = pooled.groups.filter((_, g) => cut.atFloor[g]), all = pooled.groups.length;
  const first = pooled.groups[cut.floors.indexOf(cut.cliff)];
  const found = [held.length === 0
    ? `No layer is held at its floor. The cliff is at ratio ${ratioText(cut.cliff)}: beyond it the threshold takes more of ${first} than its floor lets go. `
    : `Beyond the cliff (ratio ${ratioText(cut.cliff)}): ${held.length} of ${all} layers ${held.length === 1 ? "is held at its" : "are held at their"} floor${named(held, ", marked ▲ in the table")}. `];
  found.push(`At ratio ${ratioText(ratio)} the threshold is ${short(cut.threshold)}; ${sum(cut.kept)} of ${sum(pooled.channels)} channels stay. `);
  const left = pooled.protected.length;
  if (left > 0) found.push(`Left out, as protected: ${left > NAMED ? `${left} groups` : pooled.protected.join(", ")}.`);
  return found;
}

/** Return few names after a colon; of many, where they stand. */
function named(names, elsewhere) {
  return names.length > NAMED ? elsewhere : `: ${names.join(", ")}`;
}

function amount(number) {
  const [size, word] = [[1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]].find(([least]) => number >= least) ?? [1, ""];
  return word === "" || (size === 1e3 && number < 1e4) ? number.toLocaleString("en") : `${Number((number / size).toPrecision(3))}${word}`;
}

/** Return a ratio with three digits; exact ones are short. */
function ratioText(ratio) {
  return String(Number(ratio.toFixed(3)));
}

function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

export default { render };
