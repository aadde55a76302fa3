// What was measured of a plan, from all that the kernel tells: of the plan on the desk, of one that was passed through, and what it remembers.

const MEASURED_OF = { pruned: "as cut", repaired: "repaired", "fine-tuned": "fine-tuned" }; // how the kernel's results name the stages

/**
 * Return by stage ("as cut", "repaired", "fine-tuned") what was measured of these very kept channels in one metric: value, low and high (null: not
 * known), reference (the unpruned network on the same pictures, or null), samples, of. What saw the most pictures counts.
 */
export function measuredOf(kept, metric, { live, glimpse, results }) {
  const key = kept.join(","), found = {};
  const put = (stage, { value, low, high, reference }, samples, of) => {
    if (!Number.isFinite(value) || (found[stage]?.samples ?? 0) > samples) return;
    found[stage] = { value, low: measuredEnd(low), high: measuredEnd(high), reference: measuredEnd(reference), samples, of };
  };
  for (const [stage, row] of Object.entries(results?.[key] ?? {})) {
    const [low, high] = row.intervals?.[metric] ?? [];
    put(MEASURED_OF[stage] ?? stage, { value: row[metric], low, high }, row.samples ?? 0, null);
  }
  for (const told of [glimpse, live]) {
    if (told?.kept !== key) continue;
    for (const [stage, values] of Object.entries(told.networks ?? {})) {
      const samples = typeof told.samples === "number" ? told.samples : told.samples?.[stage];
      put(stage, values[metric] ?? {}, samples ?? 0, told.of ?? null);
    }
  }
  return found;
}

/** Return what `measuredOf` found in the form of the kernel's results of one plan. */
export function measuredRows(metric, found) {
  const row = ({ value, low, high, samples }) => ({ [metric]: value, samples, intervals: low === null || high === null ? {} : { [metric]: [low, high] } });
  return Object.fromEntries(Object.entries(MEASURED_OF).filter(([, stage]) => found[stage]).map(([name, stage]) => [name, row(found[stage])]));
}

/** Return the stage whose value stands for the plan: repaired before as cut, null while neither was measured. */
export function measuredFirst(found) {
  return found.repaired ? "repaired" : found["as cut"] ? "as cut" : null;
}

function measuredEnd(value) {
  return Number.isFinite(value) ? value : null;
}
