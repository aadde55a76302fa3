const HISTORY_MOST = 500; // plans that can be undone

/**
 * The plans before and after the one on the desk. A plan is { kept, own, exchanged }: how many channels each group keeps; by the group's place the
 * channels that go where a plan of a cell says it and not the scores; and the pairs of channels that were exchanged by hand.
 *
 * The kernel keeps the same (history.py), for a page that is loaded again and for its own file. All views of a page share the one object that the
 * model has: it is changed in place, so that it is never sent.
 */
export function deskHistory(widget) {
  const alone = {}; // where the model has none
  const all = () => {
    const found = widget.get("history")?.past ? widget.get("history") : alone;
    found.past ??= [];
    found.future ??= [];
    found.now ??= historyPlan(widget);
    found.revision ??= widget.get("revision");
    return found;
  };
  const go = (from, to) => {
    const found = all();
    if (!found[from].length) return null;
    found[to].push(found.now);
    found.now = found[from].pop();
    return found.now;
  };
  return {
    now: () => all().now,
    canUndo: () => all().past.length > 0,
    canRedo: () => all().future.length > 0,
    undo: () => go("past", "future"),
    redo: () => go("future", "past"),
    edit(plan) {
      const found = all();
      found.past.push(found.now);
      if (found.past.length > HISTORY_MOST) found.past.shift();
      found.future.length = 0;
      found.now = plan;
    },
    /** Have the plan sent by a function that sets the model's values, under this number. */
    publish(revision, set) {
      const found = all();
      found.revision = revision;
      found.busy = true; // until all of the values are set they are of no plan
      set();
      found.busy = false;
    },
    /** Take what the kernel has: an edit, or only which channels go where the browser left that to it. */
    received() {
      const found = all(), plan = historyPlan(widget), revision = widget.get("revision");
      if (found.busy) return;
      const answered = widget.get("confirmed").revision === revision;
      const other = !historySame(plan.kept, found.now.kept) || !historyAlike(plan.exchanged, found.now.exchanged);
      if (!other && !answered) return; // what it says of channels is of an earlier plan
      if (other || (revision !== found.revision && !historyAlike(plan.own, found.now.own))) this.edit(plan);
      else if (!historyAlike(plan.own, found.now.own)) found.now = plan;
      found.revision = revision;
    },
  };
}

export function historySame(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Tell whether the channels of two plans are the same. */
export function historyAlike(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function historyPlan(widget) {
  const { groups } = widget.get("desk"), kept = [...widget.get("kept")];
  return { kept, own: historyFits(groups, kept, widget.get("own") ?? {}), exchanged: widget.get("exchanged") ?? {} };
}

/** Return those groups' channels that are of the number which the plan removes. */
export function historyFits(groups, kept, own) {
  return Object.fromEntries(Object.entries(own).filter(([g, channels]) => channels.length === groups[g].channels - kept[g]));
}

/** Return a plan without what is empty. */
export function historyShort({ kept, ...channels }) {
  return { kept: [...kept], ...Object.fromEntries(Object.entries(channels).filter(([, each]) => Object.keys(each).length)) };
}
