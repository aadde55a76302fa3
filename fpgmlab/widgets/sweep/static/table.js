import { element } from "../../common/static/common.js";

const PAUSE = 1000; // milliseconds between two changes of a table that someone reads

/** All points in words: folded up until someone asks. */
export function tableView() {
  const head = ["channel group", "ratio", "kept", "", "from", "to", "samples"].map((word) => element("th", { scope: "col" }, word));
  const caption = element("caption", { class: "fl-sr" }), body = element("tbody");
  const table = element("table", { class: "fl-table fl-sweep-table" }, caption, element("thead", {}, element("tr", {}, ...head)), body);
  const node = element("details", { class: "fl-panel fl-sweep-points" }, element("summary", {}, "All points as a table"),
    element("div", { class: "fl-scroll", tabindex: "0", role: "region", "aria-label": "All points" }, table));
  let drawn = 0, rows = () => [];
  const fill = () => {
    drawn = performance.now();
    body.replaceChildren(...rows().map((cells) => element("tr", {}, ...cells.map((words, i) =>
      (i === 0 ? element("th", { scope: "row" }, words) : element("td", {}, words))))));
  };
  node.addEventListener("toggle", () => node.open && fill());
  return {
    node,
    /** Take the rows, a function that returns lists of words; `now` when they will not change soon. */
    set(metric, found, now) {
      rows = found;
      head[3].textContent = metric;
      caption.textContent = `${metric} of each group at each ratio, with its 95 % interval`;
      if (node.open && (now || performance.now() - drawn > PAUSE)) fill();
    },
  };
}
