import { stairsOf } from "./stairs.js";

// What a plan costs and degrades, by the same arithmetic as the kernel's: pure functions of the kept channels.

/** Return the calculations on what the kernel sent; see widgets/desk/payload.py. A plan is the kept channels of each group. */
export function deskModel(desk) {
  const { groups, cells, macs, sizes, latency } = desk;
  const whole = groups.map((group) => group.channels);
  const z = new Float64Array(cells.length + 1).fill(1);
  const counted = {}; // by multiple and group: the numbers that are allowed, asked for at each move of a pointer
  const stairs = latency ? stairsOf(desk, whole, z, fill) : null;

  /** Put the kept channels of each cell into z; `chosen` has the cells of channels that were not chosen by score. */
  function fill(kept, chosen) {
    groups.forEach((group, g) => {
      if (group.cells === 1) {
        z[group.first] = kept[g];
        return;
      }
      const row = chosen?.[g]?.[kept[g]] ?? group.table?.[kept[g] / group.step - 1] ?? cells.slice(group.first, group.first + group.cells);
      row.forEach((count, i) => (z[group.first + i] = count));
    });
  }

  /**
   * Return MACs, parameters, bytes, and milliseconds (NaN without a latency table); the MACs and the milliseconds of each group are those of the
   * layers that make its channels.
   */
  function cost(kept, chosen) {
    fill(kept, chosen);
    const byGroup = new Float64Array(groups.length), msByGroup = new Float64Array(groups.length);
    let all = 0, params = 0, bytes = 0;
    for (let t = 0; t < macs.macs.length; t++) {
      const value = macs.macs[t] * z[macs.i[t]] * z[macs.j[t]];
      all += value;
      if (macs.group[t] >= 0) byGroup[macs.group[t]] += value;
    }
    for (let t = 0; t < sizes.i.length; t++) {
      const product = z[sizes.i[t]] * z[sizes.j[t]];
      params += sizes.params[t] * product;
      bytes += sizes.bytes[t] * product;
    }
    return { macs: Math.round(all), params: Math.round(params), bytes: Math.round(bytes), byGroup, msByGroup, latency: stairs ? stairs.time(msByGroup) : NaN };
  }

  /** Return what a metric is expected to be: the sum of the drops that each group's removal alone causes. */
  function predict(metric, kept) {
    const unknown = [];
    let drop = 0, spread = 0;
    groups.forEach((group, g) => {
      if (kept[g] === group.channels) return;
      const found = at(metric.curves[g], kept[g]);
      if (!found || found.beyond) unknown.push(g);
      if (found) {
        drop += found.drop;
        spread += found.half ** 2;
      }
    });
    const worst = metric.share ? (metric.higher_is_better ? 0 : 1) : metric.higher_is_better ? -Infinity : Infinity;
    const value = metric.higher_is_better ? Math.max(worst, metric.value - drop) : Math.min(worst, metric.value + drop);
    return { value, drop, half: Math.sqrt(spread), unknown };
  }

  /** Return the numbers of channels that a group may keep, ascending; the last is all of them. */
  function allowed(g, multiple) {
    const known = (counted[multiple] ??= []);
    return (known[g] ??= allowedOf(groups[g], multiple));
  }

  /** Return the allowed number nearest to a ratio, half upwards: fpgmlab.plans.rounding.kept_channels in the browser. */
  function snapped(g, ratio, multiple) {
    if (ratio <= 0) return whole[g];
    const wish = (1 - ratio) * whole[g];
    return allowed(g, multiple).reduce((best, kept) => (Math.abs(kept - wish) <= Math.abs(best - wish) + 1e-9 ? kept : best));
  }

  /** Return the allowed number so many steps on from a number of kept channels; a positive step removes more. */
  function stepped(g, kept, steps, multiple) {
    const counts = allowed(g, multiple);
    let place = steps > 0 ? counts.findLastIndex((n) => n < kept) : counts.findIndex((n) => n > kept);
    if (place < 0) return steps > 0 ? Math.min(kept, counts[0]) : kept;
    place -= steps - Math.sign(steps);
    return counts[Math.max(0, Math.min(counts.length - 1, place))];
  }

  /** Return the most channels that a group could keep at no more time, or null: nothing is wasted, or there is no table. */
  const wasted = (g, kept) => stairs?.wasted(g, kept) ?? null;

  return { desk, groups, whole, cost, predict, allowed, snapped, stepped, wasted };
}

/** Read a curve at a number of kept channels: drop, half the interval's width, whether that is beyond what was measured. */
export function at(curve, kept) {
  if (!curve) return null;
  const { kept: counts, drop } = curve, last = counts.length - 1;
  // null: no end. A share's interval ends at 0 and 1, so the longer side tells.
  const half = (i) => (curve.high[i] === null || curve.low[i] === null ? Infinity : Math.max(curve.high[i] - curve.value[i], curve.value[i] - curve.low[i]));
  if (kept <= counts[last]) return { drop: drop[last], half: half(last), beyond: kept < counts[last] };
  const after = counts.findIndex((count) => count <= kept);
  if (counts[after] === kept) return { drop: drop[after], half: half(after), beyond: false };
  const part = (counts[after - 1] - kept) / (counts[after - 1] - counts[after]);
  const mix = (a, b) => (Number.isFinite(a) && Number.isFinite(b) ? a + part * (b - a) : Infinity);
  return { drop: mix(drop[after - 1], drop[after]), half: mix(half(after - 1), half(after)), beyond: false };
}

function allowedOf({ channels, filters, step, least, unit: wasteless, steps, protected: reason }, multiple) {
  if (reason) return [channels];
  if (multiple === "runtime" && steps?.length > 1) return steps; // by a table; where it knows of none, by the processor's blocks
  const unit = multiple === "runtime" ? wasteless : leastCommonMultiple(step, leastCommonMultiple(multiple, filters) / filters), found = [];
  for (let kept = unit; kept < channels; kept += unit) if (kept >= least) found.push(kept);
  return [...found, channels];
}

function leastCommonMultiple(a, b) {
  let [x, y] = [a, b];
  while (y) [x, y] = [y, x % y];
  return (a * b) / x;
}
