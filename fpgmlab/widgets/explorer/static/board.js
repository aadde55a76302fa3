import { beforeNextPicture, element, numbers } from "../../common/static/common.js";
import { detailsView, spoken } from "./details.js";
import { mapView } from "./map.js";
import { matrixView } from "./matrix.js";
import { tilesView } from "./tiles.js";

/**
 * Three views of the same filters, and one filter in words. What is *hovered* lives here alone; what is *selected* is the host's:
 * `selected()` is a filter's place or null, `select(place)` sets it; `picked(place)`, if there is one, hears of clicks and Enter.
 * A pinned selection stays in the details while the pointer wanders.
 */
export function filterBoard(host, { name, beside = false }, signal) {
  let state = { raw: null, marks: null };
  const pointed = { hover: null, other: null, pinned: false, reading: [], place: "", byKey: false };
  const actions = {
    current: () => pointed.hover ?? host.selected(), // also of a key that came before the next picture
    hover: (filter, other = null) => point(filter, other),
    point: (filter) => point(pointed.hover, filter), // beside the current one, from the list of neighbours
    select: (filter) => {
      pointed.byKey = true;
      choose(filter, pointed.pinned);
    },
    pin: (filter, always = false) => {
      const again = pointed.pinned && host.selected() === filter && !always;
      choose(again ? null : filter, !again);
      if (!always) host.picked?.(filter);
    },
  };
  const tiles = tilesView(actions), views = [matrixView(actions), mapView(actions), tiles];
  const details = detailsView(actions);
  const alarm = element("div", { class: "fl-message", role: "alert" });
  const remarks = element("ul", { class: "fl-explorer-notes" });
  const summary = element("p", { class: "fl-explorer-summary" });
  const live = element("div", { class: "fl-sr", "aria-live": "polite", role: "status" });
  const order = beside ? [tiles.node, views[0].node, views[1].node, details.node] : [views[0].node, views[1].node, details.node, tiles.node];
  const content = element("div", { class: "fl-explorer-panels" }, ...order);
  const node = element("div", { class: beside ? "fl-explorer fl-explorer-beside" : "fl-root fl-explorer", role: "group", "aria-label": name },
    alarm, summary, remarks, content, live);

  function point(filter, other) {
    if (pointed.hover === filter && pointed.other === other) return;
    Object.assign(pointed, { hover: filter, other });
    highlight();
  }

  function choose(filter, pinned) {
    Object.assign(pointed, { hover: null, other: null, pinned: filter !== null && pinned });
    host.select(filter);
    highlight();
    live.textContent = filter === null ? "Nothing selected" : spoken(state, filter) + (pointed.pinned ? ", pinned" : "");
  }

  node.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("fl-explorer-view") || !state.marks) return;
    const selected = host.selected();
    if (event.key === "Escape") choose(null, false);
    else if (event.key === "Enter" || event.key === " ") {
      const filter = selected === null ? state.marks.removal[0] : selected;
      choose(filter, selected === null || !pointed.pinned);
      host.picked?.(filter);
    } else return;
    event.preventDefault();
    event.stopPropagation(); // else JupyterLab leaves the cell, or runs it
  });

  // After a key the page may scroll: a pointer at rest then lies over something else, but points at nothing.
  const moved = (event) => {
    const place = `${event.screenX} ${event.screenY}`;
    if (!pointed.byKey || place !== pointed.place) Object.assign(pointed, { place, byKey: false });
    else if (event.composedPath().includes(node)) event.stopPropagation();
  };
  for (const kind of ["pointermove", "pointerover"]) document.addEventListener(kind, moved, { capture: true, signal });

  const highlight = beforeNextPicture(() => {
    if (!state.marks) return;
    const selected = host.selected();
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

  return {
    node, highlight,
    /** Show what the kernel sent: scene and marks as they came, and words. */
    show(scene, marks, words) {
      const before = state.raw;
      state = readFilters(scene, marks, words);
      alarm.textContent = words.message ?? "";
      node.classList.toggle("fl-explorer-nothing", !state.marks);
      if (!state.marks) {
        Object.assign(pointed, { hover: null, other: null, pinned: false });
        live.textContent = "";
        return;
      }
      summary.textContent = words.summary;
      remarks.replaceChildren(...words.notes.map((note) => element("li", {}, note)));
      if (before !== state.raw || !node.dataset.layer) {
        Object.assign(pointed, { hover: null, other: null, pinned: false });
        for (const view of views) view.setScene(state.scene);
        node.dataset.layer = state.scene.layer;
      }
      for (const view of views) view.setMarks(state.marks);
      highlight();
    },
    /** Show that others go, at once in the tiles. What takes longer to draw waits for `rest`. */
    setGone(gone, cut) {
      if (!state.marks) return;
      state.marks.gone.set(gone);
      state.marks.cut = cut;
      tiles.setGone(gone, cut);
    },
    setPicked: tiles.setPicked,
    /** The bar has come to rest: matrix, map and words. */
    rest(words) {
      if (!state.marks) return;
      state.marks = { ...state.marks };
      state.words = { ...state.words, summary: words };
      summary.textContent = words;
      for (const view of views.slice(0, 2)) view.setMarks(state.marks);
      highlight();
    },
  };
}

/** Return what the kernel sent, its bytes as numbers. */
function readFilters(raw, marks, words) {
  if (!raw?.layer || !marks?.gone) return { raw: null, scene: null, marks: null, words };
  const scene = { ...raw, coordinates: numbers(raw.coordinates, Float32Array) };
  const near = numbers(raw.neighbours, Int32Array), far = numbers(raw.neighbourDistances, Float32Array);
  const name = (filter) => `${scene.word} ${scene.filters[filter]} of ${scene.layer}`;
  return {
    raw, scene, words, name,
    marks: {
      ...marks, name,
      scores: marks.scores ? numbers(marks.scores, Float64Array) : null, ranks: numbers(marks.ranks, Int32Array),
      removal: numbers(marks.removal, Int32Array), gone: numbers(marks.gone, Uint8Array),
    },
    neighbours: (filter) => Array.from({ length: raw.near }, (_, k) => [near[filter * raw.near + k], far[filter * raw.near + k]]),
  };
}
