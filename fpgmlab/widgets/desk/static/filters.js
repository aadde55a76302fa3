import { filterBoard } from "../../explorer/static/board.js";
import { beforeNextPicture, element, onceRested } from "../../common/static/common.js";
import { controlAllow, controlButton, controlKeys } from "../../common/static/controls.js";
import { handGone, handPartner, handWords } from "./hand.js";
import { wordsIn, wordsMany } from "./words.js";

const FILTERS_REST = 150; // milliseconds on a bar after which its filters are asked for
const FILTERS_HINT = "Click one that goes and one that stays, or drag one onto the other; a double click takes the next in line.";

/** The filters of the bar with the focus, the first to go first: the cut moves with the bar, and channels can be exchanged by hand. */
export function filtersView(store, signal) {
  const { groups, whole } = store.calculator;
  const picked = { stay: null, go: null }; // channels: one that goes and shall stay, one that shall go instead
  let shown = null, selected = null, gone = null, cuts = [], places = new Map();
  const board = filterBoard({ selected: () => selected, select: (place) => (selected = place), picked: (place) => pick(shown.scene.channels[place]) },
    { name: "Filters in three views", beside: true }, signal);
  const title = element("h4"), hint = element("span"), hand = element("span"), say = [title, hint, hand].map(wordsIn);
  const swap = controlButton("Exchange", () => exchange(picked.stay, picked.go), { class: "fl-button fl-button-main", "aria-keyshortcuts": "X" });
  const reset = controlButton("Reset to the criterion's order", () => store.send({ do: "criterion", group: shown.group }));
  const close = controlButton("Close", () => store.openFilters(false), { title: "Close the filters (F)" });
  const line = element("div", { class: "fl-desk-line fl-desk-filters-line" }, swap, hint, element("span", { class: "fl-desk-pair fl-desk-filters-hand" }, hand, reset));
  const node = controlKeys(element("section", { class: "fl-panel fl-desk-filters", "aria-label": "Filters", hidden: "" },
    element("div", { class: "fl-desk-pair fl-desk-panel-head" }, title, close), line, element("div", { class: "fl-desk-filters-board" }, board.node)));

  function pick(channel) {
    const side = gone[channel] ? "stay" : "go";
    picked[side] = picked[side] === channel ? null : channel;
    drawPicked();
  }
  function exchange(stay, go) {
    if (stay === null || go === null) return;
    store.send({ do: "exchange", group: shown.group, stay, go });
  }
  /** Let two channels change sides: one goes and one stays, in any order. */
  const exchangeBoth = (a, b) => a !== null && b !== null && gone[a] !== gone[b] && (gone[a] ? exchange(a, b) : exchange(b, a));

  const pairs = () => (shown ? (store.exchanged()[shown.group] ?? []) : []);
  const filter = (channel) => `${shown.scene.word} ${shown.scene.filters[places.get(channel)]}`;
  const drawPicked = () => {
    for (const [side, wish] of [["stay", 1], ["go", 0]]) if (picked[side] !== null && gone[picked[side]] !== wish) picked[side] = null;
    const { stay, go } = picked, chosen = handWords(groups[shown.group], pairs(), store.ownOf(shown.group), whole[shown.group] - store.kept[shown.group]);
    board.setPicked([stay, go].filter((each) => each !== null).map((each) => places.get(each)));
    controlAllow(swap, stay === null || go === null ? "Choose one that goes and one that stays" : null, "What it does is measured at once (X)");
    say[1](stay !== null && go !== null ? `${filter(stay)} stays, ${filter(go)} goes in its place` : stay !== null ? `${filter(stay)} shall stay: which one goes in its place?`
      : go !== null ? `${filter(go)} shall go: which one stays in its place?` : FILTERS_HINT);
    line.hidden = Boolean(groups[shown.group].protected);
    say[2](chosen);
    reset.hidden = chosen === "";
  };

  const draw = beforeNextPicture(() => {
    if (node.hidden || !shown?.scene || signal.aborted) return;
    const g = shown.group, count = whole[g] - store.kept[g];
    gone = handGone(shown, count, store.ownOf(g), pairs());
    board.setGone(shown.scene.channels.map((channel) => gone[channel]), cuts[count]);
  });
  const rest = beforeNextPicture(() => {
    if (node.hidden || !shown?.scene || signal.aborted) return;
    drawPicked();
    board.rest(filtersWords(groups[shown.group], store.kept[shown.group]));
  });

  /** Show what the kernel sent, when it is of the bar with the focus: another view may have asked for another. */
  const show = () => {
    const found = store.filters(), g = store.focus;
    if (node.hidden || signal.aborted || found.group !== g) return;
    node.setAttribute("aria-busy", "false");
    if (found === shown) return;
    shown = found;
    selected = picked.stay = picked.go = null;
    say[0](`Filters of ${found.name}`);
    places = new Map((found.scene?.channels ?? []).map((channel, place) => [channel, place]));
    cuts = filtersCuts(found);
    board.show(found.scene, found.marks, { message: found.message, notes: found.notes, summary: filtersWords(groups[g], store.kept[g]) });
    line.hidden = !found.scene;
    for (const tile of board.node.querySelectorAll("[data-filter]")) tile.draggable = !groups[g].protected;
    draw();
    rest();
  };
  const look = onceRested(() => {
    const g = store.focus, there = shown?.group === g;
    if (node.hidden || signal.aborted) return;
    if (store.filters().group === g) return show();
    node.setAttribute("aria-busy", String(!there));
    if (!there) store.send({ do: "filters", group: g });
  }, signal, FILTERS_REST);

  const channelAt = (event) => {
    const tile = event.target.closest?.("[data-filter]");
    return tile && shown ? shown.scene.channels[Number(tile.dataset.filter)] : null;
  };
  board.node.addEventListener("dblclick", (event) => {
    const channel = channelAt(event);
    if (channel !== null) exchangeBoth(channel, handPartner(shown, gone, channel));
  });
  let carried = null;
  board.node.addEventListener("dragstart", (event) => {
    carried = channelAt(event);
    event.dataTransfer.effectAllowed = "move";
  });
  board.node.addEventListener("dragover", (event) => {
    const over = channelAt(event);
    if (carried !== null && over !== null && gone[over] !== gone[carried]) event.preventDefault(); // it may be dropped here
  });
  board.node.addEventListener("drop", (event) => {
    event.preventDefault();
    exchangeBoth(carried, channelAt(event));
    carried = null;
  });
  node.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey || (key !== "x" && key !== "f")) return;
    if (key === "f") store.openFilters(false);
    else exchange(picked.stay, picked.go);
    event.preventDefault();
    event.stopPropagation();
  });

  store.on("looking", () => {
    node.hidden = !store.looking();
    if (store.looking()) {
      look();
      draw();
      rest();
    }
  });
  store.on("filters", show);
  store.on("selection", look);
  const rested = onceRested(rest, signal);
  for (const what of ["plan", "exchanged", "own"]) {
    store.on(what, draw);
    store.on(what, rested);
  }
  return node;
}

function filtersWords(group, kept) {
  const { channels: all } = group, many = wordsMany(group);
  return kept === all ? `All ${all} ${many} stay` : `${all - kept} of ${all} ${many} go, ${kept} stay`;
}

/** Return for each number of channels that go how many of the filters shown are before the cut: a layer may make only some of the channels. */
function filtersCuts({ order, scene }) {
  if (!scene) return [];
  const mine = new Set(scene.channels), cuts = [0];
  for (const channel of order) cuts.push(cuts.at(-1) + (mine.has(channel) ? 1 : 0));
  return cuts;
}
