import { beforeNextPicture, element, listen, numbers } from "../../common/static/common.js";
import { panelHead, panelLarge } from "../../common/static/head.js";
import { explorerControls } from "./controls.js";
import { detailsView, spoken } from "./details.js";
import { mapView } from "./map.js";
import { matrixView } from "./matrix.js";
import { tilesView } from "./tiles.js";

// Three views of the same filters. What is *hovered* lives here alone; what is *selected* is the kernel's too.
// A pinned selection stays in the details while the pointer wanders.

function render({ model, el, signal }) {
  const state = readState(model);
  const pointed = { hover: null, other: null, pinned: false, reading: [], place: "", byKey: false };
  const actions = {
    current: () => pointed.hover ?? model.get("place"), // also of a key that came before the next picture
    hover: (filter, other = null) => point(filter, other),
    point: (filter) => point(pointed.hover, filter), // beside the current one, from the list of neighbours
    select: (filter) => {
      pointed.byKey = true;
      choose(filter, pointed.pinned);
    },
    pin: (filter, always = false) => {
      const again = pointed.pinned && model.get("place") === filter && !always;
      choose(again ? null : filter, !again);
    },
  };
  const views = [matrixView(actions), mapView(actions), tilesView(actions)];
  const details = detailsView(actions);
  const alarm = element("div", { class: "fl-message", role: "alert" });
  const remarks = element("ul", { class: "fl-explorer-notes" });
  const summary = element("p", { class: "fl-explorer-summary" });
  const live = element("div", { class: "fl-sr", "aria-live": "polite", role: "status" });
  const content = element("div", { class: "fl-explorer-panels" }, views[0].node, views[1].node, details.node, views[2].node);
  const controls = explorerControls(model), { network, groups } = model.get("choices"), free = groups.filter((group) => !group.protected).length;
  const root = element("div", { class: "fl-root fl-explorer", role: "group", "aria-label": "Filter explorer" });
  root.append(panelHead(network, `${groups.length} group${groups.length === 1 ? "" : "s"} · ${free} prunable · filters`, panelLarge(model, root, signal)),
    controls.node, alarm, summary, remarks, content, live);
  el.append(root);

  function point(filter, other) {
    if (pointed.hover === filter && pointed.other === other) return;
    Object.assign(pointed, { hover: filter, other });
    highlight();
  }

  function choose(filter, pinned) {
    Object.assign(pointed, { hover: null, other: null, pinned: filter !== null && pinned });
    model.set("place", filter);
    model.save_changes();
    highlight();
    live.textContent = filter === null ? "Nothing selected" : spoken(state, filter) + (pointed.pinned ? ", pinned" : "");
  }

  root.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("fl-explorer-view") || !state.marks) return;
    const selected = model.get("place");
    if (event.key === "Escape") choose(null, false);
    else if (event.key === "Enter" || event.key === " ") {
      choose(selected === null ? state.marks.removal[0] : selected, selected === null || !pointed.pinned);
    } else return;
    event.preventDefault();
    event.stopPropagation(); // else JupyterLab leaves the cell, or runs it
  });

  // After a key the page may scroll: a pointer at rest then lies over something else, but points at nothing.
  const moved = (event) => {
    const place = `${event.screenX} ${event.screenY}`;
    if (!pointed.byKey || place !== pointed.place) Object.assign(pointed, { place, byKey: false });
    else if (event.composedPath().includes(root)) event.stopPropagation();
  };
  for (const kind of ["pointermove", "pointerover"]) document.addEventListener(kind, moved, { capture: true, signal });

  const highlight = beforeNextPicture(() => {
    if (!state.marks) return;
    const selected = model.get("place");
    pointed.pinned &&= selected !== null; // the kernel may have cleared it
    const current = actions.current(), read = pointed.pinned ? selected : current;
    const near = current === null ? [] : state.neighbours(current).map(([j]) => j);
    for (const view of views) view.highlight(current, near, pointed.other, selected);
    const reading = [state.marks, read, pointed.pinned];
    if (reading.every((part, i) => part === pointed.reading[i])) return; // keeps the focus where it is
    pointed.reading = reading;
    if (read === null) details.showNothing(state.words.summary);
    else details.show(state, read, pointed.pinned);
  });

  const draw = beforeNextPicture(() => {
    const before = state.raw;
    Object.assign(state, readState(model));
    alarm.textContent = state.words.message ?? "";
    root.classList.toggle("fl-explorer-nothing", !state.marks);
    if (!state.marks) {
      Object.assign(pointed, { hover: null, other: null, pinned: false });
      live.textContent = "";
      return;
    }
    summary.textContent = state.words.summary;
    remarks.replaceChildren(...state.words.notes.map((note) => element("li", {}, note)));
    if (before !== state.raw || !root.dataset.layer) {
      Object.assign(pointed, { hover: null, other: null, pinned: false });
      for (const view of views) view.setScene(state.scene);
      root.dataset.layer = state.scene.layer;
    }
    for (const view of views) view.setMarks(state.marks);
    highlight();
  });

  listen(model, ["scene", "marks", "words"], draw, signal);
  listen(model, ["group", "rule", "ratio", "choices"], controls.draw, signal);
  controls.draw();
  listen(model, ["place"], highlight, signal);
  draw();
}

/** Return what the kernel sent, its bytes as numbers. */
function readState(model) {
  const raw = model.get("scene"), marks = model.get("marks"), words = model.get("words");
  if (!raw.layer || !marks.gone) return { raw: null, scene: null, marks: null, words };
  const scene = { ...raw, coordinates: numbers(raw.coordinates, Float32Array) };
  const near = numbers(raw.neighbours, Int32Array), far = numbers(raw.neighbourDistances, Float32Array);
  const name = (filter) => `filter ${scene.filters[filter]} of ${scene.layer}`;
  return {
    raw, scene, words, name,
    marks: {
      ...marks, name,
      scores: numbers(marks.scores, Float64Array), ranks: numbers(marks.ranks, Int32Array),
      removal: numbers(marks.removal, Int32Array), gone: numbers(marks.gone, Uint8Array),
    },
    neighbours: (filter) => Array.from({ length: raw.near }, (_, k) => [near[filter * raw.near + k], far[filter * raw.near + k]]),
  };
}

export default { render };
