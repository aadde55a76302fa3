import { element, freshId, numbers } from "../../common/static/common.js";
import { stepAlong } from "./matrix.js";

/** The filters as pictures, the first to be removed first. */
export function tilesView(actions) {
  const id = freshId("tile");
  const grid = element("div", {
    class: "fl-explorer-grid fl-explorer-view", tabindex: "0", role: "listbox", "aria-orientation": "horizontal",
    "aria-label": "Filters in order of removal",
  });
  const caption = element("div", { class: "fl-legend" });
  const node = element("section", { class: "fl-panel fl-explorer-tiles" },
    element("h4", {}, "Filters in order of removal"), grid, caption);
  let tiles = [], removal = [], ranks = [], shown = [], line = null;

  /** Mark which go, and where the cut is: a line before the first tile that stays. Only what changes is touched: a bar may be moving. */
  const mark = (gone, cut) => {
    tiles.forEach((tile, i) => {
      const hand = cut !== null && (gone[i] === 1) !== ranks[i] < cut, now = 2 * gone[i] + hand;
      if (shown[i] === now) return;
      shown[i] = now;
      tile.classList.toggle("fl-explorer-gone", gone[i] === 1);
      tile.classList.toggle("fl-explorer-hand", hand); // it goes, or stays, against the order
    });
    const at = cut === null || cut === 0 ? null : (tiles[removal[cut]] ?? null);
    if (at === line) return;
    line?.classList.remove("fl-explorer-cut");
    at?.classList.add("fl-explorer-cut");
    line = at;
  };

  const filterAt = (event) => {
    const tile = event.target.closest("[data-filter]");
    return tile === null ? null : Number(tile.dataset.filter);
  };
  for (const kind of ["pointerover", "pointermove"]) grid.addEventListener(kind, (event) => actions.hover(filterAt(event)));
  grid.addEventListener("pointerleave", () => actions.hover(null));
  grid.addEventListener("click", (event) => {
    const filter = filterAt(event);
    if (filter !== null) actions.pin(filter);
  });
  grid.addEventListener("keydown", (event) => {
    const current = actions.current(), now = current === null ? null : ranks[current];
    const next = stepAlong(event.key, now, tiles.length, columns(grid));
    if (next === null) return;
    actions.select(removal[next]);
    tiles[removal[next]].scrollIntoView({ block: "nearest" });
    event.preventDefault();
  });

  return {
    node,
    setScene(scene) {
      const pictures = numbers(scene.pictures, Uint8ClampedArray), [height, width] = scene.tile;
      tiles = scene.filters.map((number, i) => {
        const canvas = element("canvas", { width, height, "aria-hidden": "true" });
        const size = 4 * width * height;
        canvas.getContext("2d").putImageData(new ImageData(pictures.slice(i * size, (i + 1) * size), width, height), 0, 0);
        return element("div", { id: `${id}-${i}`, role: "option", class: "fl-explorer-tile", "data-filter": i },
          canvas, element("span", {}, String(number)));
      });
      caption.textContent = scene.picturesShow;
      shown = [];
      line = null;
    },
    setMarks(marks) {
      removal = Array.from(marks.removal);
      ranks = [];
      removal.forEach((filter, i) => (ranks[filter] = i));
      tiles.forEach((tile, i) => {
        tile.setAttribute("aria-label", marks.name(i));
        tile.setAttribute("aria-setsize", tiles.length);
        tile.setAttribute("aria-posinset", ranks[i] + 1);
      });
      const wanted = removal.map((i) => tiles[i]);
      if (wanted.some((tile, i) => grid.children[i] !== tile) || grid.children.length !== wanted.length) {
        grid.replaceChildren(...wanted);
      }
      // In an order with blocks those that go may not stand together: then there is no line.
      const count = marks.gone.reduce((sum, each) => sum + each, 0), first = removal.slice(0, count);
      mark(marks.gone, marks.cut ?? (first.every((i) => marks.gone[i] === 1) ? count : null));
    },
    setGone: mark,
    /** Mark those that were chosen to be exchanged. */
    setPicked(picked) {
      tiles.forEach((tile, i) => tile.classList.toggle("fl-explorer-picked", picked.includes(i)));
    },
    highlight(filter, neighbours, other, selected) {
      tiles.forEach((tile, i) => {
        tile.classList.toggle("fl-explorer-current", i === filter);
        tile.classList.toggle("fl-explorer-near", neighbours.includes(i));
        tile.classList.toggle("fl-explorer-other", i === other);
        tile.setAttribute("aria-selected", String(i === selected));
      });
      if (filter === null) grid.removeAttribute("aria-activedescendant");
      else grid.setAttribute("aria-activedescendant", `${id}-${filter}`);
    },
  };
}

function columns(grid) {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}
