import { listen } from "../../common/static/common.js";
import { deskHistory, historyAlike, historyFits, historySame, historyShort } from "./history.js";
import { deskModel } from "./model.js";
import { watchStore } from "./watch.js";

/**
 * What one view of the desk shows, in one place: the plan, its history, the selection, the snapshots.
 *
 * The browser computes and keeps all of it; the kernel is told of each plan that is not just passed through, and answers with its own totals.
 * Views call the methods and listen with `on(what, callback)`: "plan", "selection", "locks", "metric", "snapshots", "results", "confirmed", "work", "history", "budget",
 * "live" (what is measured), "points" (what was), "seen" (how it is shown).
 */
export function deskStore(widget, signal) {
  const listeners = new Map();
  const store = {
    calculator: deskModel(widget.get("desk")),
    kept: [...widget.get("kept")],
    focus: 0, // the group whose details are shown
    selected: new Set([0]),
    on: (what, callback) => listeners.set(what, [...(listeners.get(what) ?? []), callback]),
    send: (message) => widget.send(message),
    onAnswer(callback) {
      widget.on("msg:custom", callback);
      signal.addEventListener("abort", () => widget.off("msg:custom", callback));
    },
  };
  const tell = (what) => (listeners.get(what) ?? []).forEach((callback) => callback());
  const history = deskHistory(widget), settled = () => history.now().kept; // settled: the plan without what is being dragged
  let known = null, seen = settled();

  // Of the plan ---------------------------------------------------------------------------------------------------
  const changed = () => {
    known = null;
    tell("plan");
  };

  /** Return the totals of the plan on the screen; computed once for each plan. */
  store.totals = () => (known ??= store.totalsOf(store.kept));
  store.totalsOf = (kept) => ({ ...store.calculator.cost(kept, widget.get("chosen")), predicted: store.metric() ? store.calculator.predict(store.metric(), kept) : null });

  /** Show other numbers of kept channels, a Map by group, without settling on them yet. */
  store.preview = (changes) => {
    const { groups } = store.calculator;
    let other = false;
    for (const [g, kept] of changes) {
      if (groups[g].protected || store.locked().has(g) || kept === store.kept[g]) continue;
      store.kept[g] = kept;
      other = true;
    }
    if (other) changed();
  };

  /** Settle on the plan shown: it can be undone, and the kernel hears of it. */
  store.commit = () => {
    if (historySame(store.kept, settled())) return;
    const { own, exchanged } = history.now();
    history.edit({ kept: [...store.kept], own: historyFits(store.calculator.groups, store.kept, own), exchanged });
    publish();
  };

  store.set = (changes) => {
    store.preview(changes);
    store.commit();
  };

  /** Go back to the last settled plan: a drag was given up. */
  store.revert = () => {
    if (historySame(store.kept, settled())) return;
    store.kept = [...settled()];
    changed();
  };

  /** Return whether the plan shown is not settled: a bar is being dragged. */
  store.moving = () => !historySame(store.kept, settled());
  store.canUndo = () => history.canUndo();
  store.canRedo = () => history.canRedo();
  store.undo = () => went("undo", history.undo());
  store.redo = () => went("redo", history.redo());

  function went(what, plan) {
    if (plan === null) return;
    store.kept = [...plan.kept];
    publish({ what, own: plan.own });
    changed();
  }

  /** Tell the kernel of the plan; `step` tells what goes of it, too, where the kernel shall not choose. */
  function publish(step = null) {
    const revision = widget.get("revision") + 1;
    seen = settled();
    history.publish(revision, () => {
      if (step) widget.set("step", { ...step, revision });
      widget.set("revision", revision);
      widget.set("exchanged", history.now().exchanged);
      widget.set("kept", [...seen]);
    });
    widget.save_changes();
    tell("history");
  }

  /** The kernel has another plan: assigned in a cell, or found for a budget. That can be undone too. */
  function received() {
    const before = history.now();
    history.received();
    if (history.now() === before && seen === settled()) return;
    if (!historySame(seen, settled())) store.kept = [...settled()]; // what is being dragged stays when only channels are others
    seen = settled();
    changed();
    tell("history");
  }

  // Of what is shown and held -------------------------------------------------------------------------------------
  const trait = (name, value) => {
    widget.set(name, value);
    widget.save_changes();
  };
  store.metric = () => store.calculator.desk.metrics.find(({ name }) => name === widget.get("metric")) ?? null;
  store.setMetric = (name) => trait("metric", name);
  store.multiple = () => widget.get("multiple");
  store.setMultiple = (multiple) => trait("multiple", multiple);
  store.locked = () => new Set(widget.get("locked"));
  store.lock = (groups, on) => {
    const locked = store.locked();
    for (const g of groups) locked[on ? "add" : "delete"](g);
    trait("locked", [...locked].sort((a, b) => a - b));
  };
  store.select = (groups, focus) => {
    store.selected = new Set(groups);
    store.focus = focus;
    tell("selection");
  };
  store.filters = () => widget.get("filters");
  store.exchanged = () => widget.get("exchanged");
  store.ownOf = (g) => widget.get("own")?.[g]; // the channels that a plan chose otherwise than by score
  let looking = false; // at the filters
  store.looking = () => looking;
  store.openFilters = (on) => {
    looking = on;
    tell("looking");
  };
  let sides = []; // of a comparison: ids of snapshots, null for the unpruned network, COMPARE_DESK
  store.sides = () => sides;
  store.setSides = (wish) => {
    sides = wish.slice(-2);
    if (sides.length === 2) store.send({ do: "compare", a: sides[0], b: sides[1] });
    tell("sides");
  };
  store.compared = () => widget.get("compared");
  store.confirmed = () => widget.get("confirmed");
  store.isConfirmed = () => store.confirmed().revision === widget.get("revision") && historySame(store.kept, settled());
  store.revision = () => widget.get("revision");
  store.results = () => widget.get("results");
  store.work = () => widget.get("work");
  store.notice = () => widget.get("notice");
  store.dismiss = () => trait("notice", {});

  // Snapshots: plans with a name, each knows from which it came ---------------------------------------------------
  store.snapshots = () => widget.get("snapshots");
  store.current = () => widget.get("current");
  store.addSnapshot = (name) => {
    const all = store.snapshots(), id = 1 + Math.max(0, ...all.map((each) => each.id));
    widget.set("snapshots", [...all, { id, name: name || `plan ${id}`, parent: store.current(), ...historyShort(history.now()) }]);
    trait("current", id);
  };
  store.renameSnapshot = (id, name) => trait("snapshots", store.snapshots().map((each) => (each.id === id ? { ...each, name } : each)));
  store.removeSnapshot = (id) => {
    const gone = store.snapshots().find((each) => each.id === id);
    const parent = gone.parent; // its children become its parent's
    widget.set("snapshots", store.snapshots().filter((each) => each.id !== id).map((each) => (each.parent === id ? { ...each, parent } : each)));
    trait("current", store.current() === id ? parent : store.current());
  };
  /** Show a snapshot; null is the unpruned network. */
  store.restore = (id) => {
    const found = store.snapshots().find((each) => each.id === id);
    trait("current", id);
    const plan = { kept: [...(found?.kept ?? store.calculator.whole)], own: found?.own ?? {}, exchanged: found?.exchanged ?? {} };
    if (historyAlike(plan, history.now())) return;
    history.edit(plan);
    went("edit", plan);
  };

  listen(widget, ["kept", "own", "exchanged", "confirmed"], received, signal);
  listen(widget, ["history"], () => tell("history"), signal);
  listen(widget, ["chosen", "multiple"], changed, signal);
  listen(widget, ["metric"], () => (changed(), tell("metric")), signal);
  listen(widget, ["locked"], () => tell("locks"), signal);
  listen(widget, ["snapshots", "current"], () => tell("snapshots"), signal);
  listen(widget, ["compared"], () => tell("compared"), signal);
  listen(widget, ["filters"], () => tell("filters"), signal);
  for (const name of ["exchanged", "own"]) listen(widget, [name], () => tell(name), signal);
  listen(widget, ["results"], () => tell("results"), signal);
  watchStore(store, widget, tell, signal);
  listen(widget, ["work", "notice"], () => tell("work"), signal);
  listen(widget, ["confirmed", "revision"], () => tell("confirmed"), signal);
  return store;
}

/** Return the results the kernel has of a plan, or undefined. */
export function resultsOf(results, kept) {
  return results[kept.join(",")];
}
