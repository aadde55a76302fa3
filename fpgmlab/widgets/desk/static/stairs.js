// What layers take by a latency table, and where a runtime's steps end: fpgmlab.deployment.staircases in the browser.

const STAIRS_SAME = 1.003; // times the time of the layers that a group touches: less is no difference; allocation/staircase.py

/** Return the calculations on a desk's table; `fill(kept)` puts channels into z, of which layers' counts are sums. */
export function stairsOf({ groups, latency }, whole, z, fill) {
  const { layers, kernels, overhead } = latency, found = groups.map(() => new Map()), near = new Map();

  const counted = (l) => [stairsSum(layers[l].inputs, z), stairsSum(layers[l].outputs, z)];
  const isQuick = (l, counts) => kernels[layers[l].kernel].alignment.every((multiple, side) => counts[side] % multiple === 0);

  /** Return a layer's milliseconds at its numbers of channels; `quick` tells of those beside it whether they go their quick way. */
  function layerTime(l, [inputs, outputs], quick) {
    const { kernel, weights, layout, beside } = layers[l], mine = quick(l);
    const [taken, made] = kernels[kernel][mine ? "aligned" : "odd"], first = mine ? 0 : 5;
    const i = stairsAt(taken, inputs), o = stairsAt(made, outputs);
    const misfit = outputs % layout !== 0 || beside.some((other) => !quick(other));
    return weights[first] + i * weights[first + 1] + o * weights[first + 2] + i * o * weights[first + 3] + (misfit ? outputs / 64 : 0) * weights[first + 4];
  }

  /** Return the milliseconds of what z holds; those of the layers that make a group's channels are put into `byGroup`. */
  function time(byGroup) {
    const counts = layers.map((_, l) => counted(l)), quick = counts.map((each, l) => isQuick(l, each));
    let total = overhead;
    layers.forEach(({ group }, l) => {
      const ms = layerTime(l, counts[l], (other) => quick[other]);
      total += ms;
      if (group >= 0) byGroup[group] += ms;
    });
    return total;
  }

  /** Return the layers whose time a group's number of channels changes. */
  function touched(g) {
    if (!near.has(g)) {
      const { first, cells } = groups[g], mine = ([cell]) => cell >= first && cell < first + cells;
      const own = new Set(layers.flatMap(({ inputs, outputs }, l) => (inputs.some(mine) || outputs.some(mine) ? [l] : [])));
      near.set(g, layers.flatMap(({ beside }, l) => (own.has(l) || beside.some((other) => own.has(other)) ? [l] : [])));
    }
    return near.get(g);
  }

  /** Return the milliseconds of the layers that a group touches when it keeps so many channels, and all others are whole. */
  function alone(g, count) {
    if (!found[g].has(count)) {
      fill(whole.map((all, other) => (other === g ? count : all)));
      const quick = new Map(), isSo = (l) => {
        if (!quick.has(l)) quick.set(l, isQuick(l, counted(l)));
        return quick.get(l);
      };
      found[g].set(count, touched(g).reduce((sum, l) => sum + layerTime(l, counted(l), isSo), 0));
    }
    return found[g].get(count);
  }

  /** Return the most channels that a group could keep at no more time than a number of them, or null where that is the most. */
  function wasted(g, count) {
    const { steps } = groups[g];
    if (!steps || steps.includes(count)) return null;
    let best = null; // from step to step the time rises
    for (const more of steps) {
      if (more < count) continue;
      if (alone(g, more) > alone(g, count) * STAIRS_SAME) break;
      best = more;
    }
    return best;
  }

  return { time, alone, wasted };
}

function stairsSum(terms, z) {
  let sum = 0;
  for (const [cell, each] of terms) sum += each * z[cell];
  return sum;
}

/** Return what so many channels of one side cost: fpgmlab.deployment.staircases.steps.Steps.at in the browser. */
function stairsAt({ block, counts, units }, channels) {
  const top = channels < block ? channels : Math.ceil(channels / block) * block;
  const last = counts.length - 1;
  const place = counts.findLastIndex((n) => n <= top);
  if (place < 0) return units[0];
  if (place === last) return units[last] + (last ? ((units[last] - units[0]) / (counts[last] - counts[0])) * (top - counts[last]) : 0);
  return units[place] + ((units[place + 1] - units[place]) * (top - counts[place])) / (counts[place + 1] - counts[place]);
}
