import { measuredRows } from "./measured.js";
import { resultsOf } from "./store.js";

/**
 * Return the unpruned network and all snapshots, each after that from which it came: id (null for the unpruned), name, kept, totals, what was
 * measured, and rails: of itself and of each that it descends from (but the first), whether a sibling follows.
 */
export function plansOf(store) {
  const { whole } = store.calculator, all = store.snapshots(), known = new Set(all.map(({ id }) => id));
  const parentOf = ({ parent }) => (known.has(parent) ? parent : null);
  const found = [], seen = new Set();
  const add = ({ id, name, kept }, rails) => {
    seen.add(id);
    found.push({ id, name, rails, ...planOf(store, kept, id) });
    const children = all.filter((each) => parentOf(each) === id && !seen.has(each.id));
    children.forEach((child, i) => add(child, [...rails, i < children.length - 1]));
  };
  add({ id: null, name: "original", kept: whole }, []);
  for (const each of all) if (!seen.has(each.id)) add(each, [false]); // of a parent that is its own: as good as none
  return found;
}

/** Return what is known of a plan; the kernel tells a snapshot's results by its id: the same numbers may be of other channels. */
function planOf(store, kept, id) {
  const results = id === null ? resultsOf(store.results(), kept) : store.results()[`#${id}`];
  return { kept, totals: store.totalsOf(kept), results: results ?? {} };
}

/** Return the same of the plan on the desk, as it is being measured. */
export function planOnDesk(store) {
  const metric = store.metric(), results = metric ? measuredRows(metric.name, store.measured()) : {};
  return { kept: store.kept, totals: store.totals(), results };
}

/** Return the first of "plan 1", "plan 2", ... that no snapshot has. */
export function planName(snapshots) {
  const taken = new Set(snapshots.map(({ name }) => name));
  let number = 1;
  while (taken.has(`plan ${number}`)) number += 1;
  return `plan ${number}`;
}
