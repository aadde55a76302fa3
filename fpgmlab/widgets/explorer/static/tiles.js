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
  let tiles = [], removal = [], ranks = [];

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
    },
    setMarks(marks) {
      removal = Array.from(marks.removal);
      ranks = [];
      removal.forEach((filter, i) => (ranks[filter] = i));
      tiles.forEach((tile, i) => {
        tile.classList.toggle("fl-explorer-gone", marks.gone[i] === 1);
        tile.setAttribute("aria-label", marks.name(i));
        tile.setAttribute("aria-setsize", tiles.length);
        tile.setAttribute("aria-posinset", ranks[i] + 1);
      });
      const wanted = removal.map((i) => tiles[i]);
      if (wanted.some((tile, i) => grid.children[i] !== tile) || grid.children.length !== wanted.length) {
        grid.replaceChildren(...wanted);
      }
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
