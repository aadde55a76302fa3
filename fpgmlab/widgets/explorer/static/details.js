import { element, short } from "../../common/static/common.js";

/** One filter in words: its name, its score, what becomes of it, and which filters are near. */
export function detailsView(actions) {
  const body = element("div", { class: "fl-explorer-details-body" });
  const node = element("section", { class: "fl-panel fl-explorer-details", "aria-label": "Details of a filter" }, body);
  return {
    node,
    showNothing(summary) {
      body.replaceChildren(
        element("h4", {}, "No filter selected"),
        element("p", {}, summary),
        element("p", { class: "fl-empty" },
          "Point at a filter in any of the pictures. Click to keep it here; or Tab to a picture and use the arrow keys, " +
          "Enter to pin, Escape to clear."));
    },
    show(state, filter, pinned) {
      const gone = state.marks.gone[filter] === 1, focused = body.contains(document.activeElement);
      const title = element("h4", { tabindex: "-1" }, state.name(filter));
      const facts = element("dl", {},
        ...(state.marks.scores ? fact("score", `${short(state.marks.scores[filter])} by ${state.marks.criterion}`) : []),
        ...fact("rank", `${state.marks.ranks[filter] + 1} of ${state.marks.channels} (1 goes first)`));
      body.replaceChildren(
        title,
        element("p", { class: "fl-explorer-badges" },
          element("span", { class: gone ? "fl-explorer-badge fl-explorer-gone" : "fl-explorer-badge" }, gone ? "✕ removed" : "● kept"),
          ...(pinned ? [element("span", { class: "fl-explorer-badge fl-explorer-pinned" }, "pinned")] : [])),
        facts, ...neighbourTable(state, filter, actions));
      if (focused) title.focus();
    },
  };
}

/** Return what a screen reader says of a filter. */
export function spoken(state, filter) {
  const gone = state.marks.gone[filter] === 1 ? "removed" : "kept";
  const near = state.neighbours(filter).slice(0, 1).map(([j, d]) => `; nearest is ${state.scene.word} ${state.scene.filters[j]} at ${short(d)}`);
  const rank = `rank ${state.marks.ranks[filter] + 1} of ${state.marks.channels}`;
  const score = state.marks.scores ? `score ${short(state.marks.scores[filter])}, ` : "";
  return `${state.name(filter)}, ${gone}, ${score}${rank}${near.join("")}`;
}

function fact(name, value) {
  return [element("dt", {}, name), element("dd", {}, value)];
}

function neighbourTable(state, filter, actions) {
  const found = state.neighbours(filter);
  if (found.length === 0) return [element("p", {}, "It has no neighbours: it is the only filter.")];
  const rows = found.map(([j, distance]) => {
    const gone = state.marks.gone[j] === 1;
    const go = element("button", {
      type: "button", class: "fl-link", "aria-label": `go to ${state.scene.word} ${state.scene.filters[j]}`,
      onclick: () => actions.pin(j, true), onpointerenter: () => actions.point(j), onpointerleave: () => actions.point(null),
    }, `${state.scene.word} ${state.scene.filters[j]}`);
    return element("tr", {}, element("td", {}, go), element("td", { class: "fl-explorer-number" }, short(distance)),
      element("td", { class: gone ? "fl-explorer-gone" : "" }, gone ? "✕ removed" : "● kept"));
  });
  const head = element("tr", {}, ...["nearest", "distance", ""].map((word) => element("th", { scope: "col" }, word)));
  return [element("table", { class: "fl-table" }, element("thead", {}, head), element("tbody", {}, ...rows))];
}
