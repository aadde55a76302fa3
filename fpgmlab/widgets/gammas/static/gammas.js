import { beforeNextPicture, element, freshId, listen, numbers, short } from "../../common/static/common.js";
import { histogramView, layersView } from "./charts.js";
import { cutAt } from "./cut.js";

const MOST = 0.95; // of the slider; a larger ratio may come from Python

function render({ model, el, signal }) {
  const raw = model.get("pooled");
  const pooled = { ...raw, values: numbers(raw.values, Float64Array), owner: numbers(raw.owner, Int32Array) };
  const controls = controlsOf(model), gauges = gaugesOf();
  const bins = histogramView(model.get("label")), layers = layersView();
  const words = element("p", { class: "fl-gamma-words" });
  const live = element("div", { class: "fl-sr", "aria-live": "polite", role: "status" });
  el.append(element("div", { class: "fl-root fl-gamma", role: "group", "aria-label": "Global threshold on the scores" },
    controls.node, gauges.node, words, element("div", { class: "fl-gamma-charts" }, bins.node, layers.node), live));

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
  const ids = ["ratio", "exact", "floor", "log"].map(freshId);
  const slider = element("input", { type: "range", id: ids[0], min: 0, max: MOST, step: 0.005, oninput: () => set("ratio", Number(slider.value)) });
  const exact = element("input", { type: "number", class: "fl-field", id: ids[1], min: 0, max: MOST, step: 0.01, onchange: () => set("ratio", number(exact, MOST)) });
  const floor = element("input", { type: "number", class: "fl-field", id: ids[2], min: 0, max: 1, step: 0.05, onchange: () => set("floor", number(floor, 1)) });
  const log = element("input", { type: "checkbox", id: ids[3], onchange: () => set("log", log.checked) });
  const mark = element("span", { class: "fl-gamma-cliff-mark" }), beyond = element("span", { class: "fl-gamma-beyond" });
  const labelled = (id, text, title, ...inputs) =>
    element("div", { class: "fl-control", title }, element("label", { for: id }, text), ...inputs);
  const node = element("div", { class: "fl-controls fl-gamma-controls" },
    labelled(ids[0], "Share of all channels below the threshold", "The global ratio",
      element("div", { class: "fl-gamma-slider" }, slider, element("div", { class: "fl-gamma-scale", "aria-hidden": "true" }, beyond, mark))),
    labelled(ids[1], "As a number", "The same ratio, to type in", exact),
    labelled(ids[2], "Floor of each layer", "The share of its channels that each layer keeps, at least one channel", floor),
    labelled(ids[3], "Logarithmic counts", "The histogram's vertical axis", log));
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
  const gauges = ["channels", "MACs", "parameters"].map((name) => {
    const value = element("strong"), whole = element("span", { class: "fl-quiet" }), bar = element("div");
    const node = element("div", { class: "fl-panel fl-gauge" }, element("div", {}, name), element("div", {}, value, " ", whole),
      element("div", { class: "fl-meter", "aria-hidden": "true" }, bar));
    return { node, set(now, all) {
      value.textContent = amount(now);
      whole.textContent = `${((100 * now) / all).toFixed(1)} % of ${amount(all)}`;
      bar.style.width = `${(100 * now) / all}%`;
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
  const held = pooled.groups.filter((_, g) => cut.atFloor[g]);
  const first = pooled.groups[cut.floors.indexOf(cut.cliff)];
  const found = [held.length === 0
    ? `No layer is held at its floor. The cliff is at ratio ${ratioText(cut.cliff)}: beyond it the threshold takes more of ${first} than its floor lets go. `
    : `Beyond the cliff (ratio ${ratioText(cut.cliff)}): ${held.length} of ${pooled.groups.length} layers are held at their floor: ${held.join(", ")}. `];
  found.push(`At ratio ${ratioText(ratio)} the threshold is ${short(cut.threshold)}; ${sum(cut.kept)} of ${sum(pooled.channels)} channels stay. `);
  if (pooled.protected.length > 0) found.push(`Left out, as protected: ${pooled.protected.join(", ")}.`);
  return found;
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
