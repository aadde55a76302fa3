// A threshold on all scores, as fpgmlab.Plan.global_threshold has it: so that it can move without asking the kernel.

/** Return what a ratio and a floor leave of each group, and where its cliff is. */
export function cutAt(pooled, ratio, floor) {
  const total = pooled.values.length, count = Math.floor(ratio * total + 1e-9);
  const below = new Array(pooled.groups.length).fill(0);
  for (let i = 0; i < count; i += 1) below[pooled.owner[i]] += 1;
  const floors = floorRatios(pooled, floor);
  const cliff = Math.min(...floors);
  return {
    count, floors, cliff,
    threshold: count < total ? pooled.values[count] : Infinity,
    cliffScore: pooled.values[Math.round(cliff * total) - 1],
    kept: below.map((gone, g) => keptOf(pooled.channels[g], pooled.steps[g], gone, leastOf(pooled, g, floor))),
    atFloor: floors.map((limit) => limit <= ratio + 1e-12),
  };
}

/** Return the global ratio at which the threshold reaches each group's first channel that the floor holds back. */
function floorRatios(pooled, floor) {
  const seen = new Array(pooled.groups.length).fill(0), found = new Array(pooled.groups.length).fill(1);
  const free = pooled.channels.map((channels, g) => channels - leastOf(pooled, g, floor));
  pooled.owner.forEach((g, i) => {
    if (seen[g] === free[g]) found[g] = (i + 1) / pooled.owner.length;
    seen[g] += 1;
  });
  return found;
}

function leastOf(pooled, g, floor) {
  return Math.max(pooled.least[g], Math.ceil(floor * pooled.channels[g] - 1e-9));
}

/** Return the nearest number of channels that a group may keep, half upwards: fpgmlab.plans.rounding.kept_channels. */
function keptOf(channels, step, gone, least) {
  if (gone === 0) return channels;
  let best = channels;
  for (let kept = Math.floor(channels / step) * step; kept >= least; kept -= step) {
    if (Math.abs(kept - (channels - gone)) < Math.abs(best - (channels - gone)) - 1e-9) best = kept;
  }
  return best;
}

/** Return how many scores of each of `bins` equal intervals lie below the threshold and above it. */
export function histogram(pooled, count, bins) {
  const first = Math.min(0, pooled.values[0]), last = pooled.values[pooled.values.length - 1];
  const width = (last - first) / bins || 1;
  const below = new Array(bins).fill(0), above = new Array(bins).fill(0);
  pooled.values.forEach((value, i) => {
    const bin = Math.min(bins - 1, Math.floor((value - first) / width));
    (i < count ? below : above)[bin] += 1;
  });
  return { first, last: first + bins * width, width, below, above };
}
