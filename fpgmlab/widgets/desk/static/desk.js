import { beforeNextPicture, element } from "../../common/static/common.js";
import { panelKeys, panelLarge } from "../../common/static/head.js";
import { barsView } from "./bars.js";
import { budgetView } from "./budget.js";
import { detailView } from "./detail.js";
import { filtersView } from "./filters.js";
import { gaugesView } from "./gauges.js";
import { headView } from "./head.js";
import { netView } from "./net.js";
import { overlayOn } from "./overlay.js";
import { snapshotsView } from "./snapshots.js";
import { deskStore } from "./store.js";
import { workView } from "./work.js";

const DESK_STALE = "The kernel was restarted: this view is stale. Run the cell again. What was saved is still there.";
const DESK_PATIENCE = 500; // milliseconds until a kernel that goes is gone

function render({ model, el, signal }) {
  const store = deskStore(model, signal);
  const bars = barsView(store, signal);
  const root = element("div", { class: "fl-root fl-desk", role: "group", "aria-label": "Plan editor" },
    element("p", { class: "fl-message fl-desk-stale", role: "status" }, DESK_STALE),
    headView(store, signal), gaugesView(store, signal), budgetView(store, signal),
    element("div", { class: "fl-desk-middle" }, bars, detailView(store, signal)),
    filtersView(store, signal),
    snapshotsView(store, signal), workView(store, signal));
  panelKeys(root, signal);
  root.querySelector(".fl-desk-head-end").append(panelLarge(model, root, signal));
  root.addEventListener("keydown", (event) => deskKeys(store, event));
  overlayOn(store, bars);
  bars.append(netView(store, bars));
  deskState(store, root);
  deskStale(store, model, root, signal);
  el.append(root);
}

/** Write onto the desk which plan is shown, which is confirmed, and whether kernel and browser agree on its costs. */
function deskState(store, root) {
  const mark = () => {
    const confirmed = store.confirmed();
    root.dataset.revision = store.revision();
    root.dataset.confirmed = confirmed.revision ?? "";
    root.dataset.agrees = store.isConfirmed() && ["macs", "params", "bytes"].every((kind) => confirmed[kind] === store.totals()[kind]);
  };
  store.on("confirmed", mark);
  store.on("plan", beforeNextPicture(mark));
  mark();
}

/** Show when there is no kernel behind the view any more; after a lost connection there may be one again. */
function deskStale(store, model, root, signal) {
  let soon = null;
  const ask = () => {
    try {
      store.send({ do: "confirm" });
      root.classList.remove("fl-desk-gone");
    } catch {
      root.classList.add("fl-desk-gone");
    }
  };
  const changed = () => {
    clearTimeout(soon);
    soon = setTimeout(ask, DESK_PATIENCE);
  };
  model.on("comm_live_update", changed);
  signal.addEventListener("abort", () => {
    clearTimeout(soon);
    model.off("comm_live_update", changed);
  });
}

/** Undo and redo from anywhere on the desk; text that is being typed has its own. */
function deskKeys(store, event) {
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea")) return;
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  // A stray letter must not be taken for a shortcut of the notebook: "x" would cut the cell.
  if (!command && !event.altKey && key.length === 1) event.stopPropagation();
  if (!command || (key !== "z" && key !== "y")) return;
  if (key === "y" || event.shiftKey) store.redo();
  else store.undo();
  event.preventDefault();
  event.stopPropagation();
}

export default { render };
