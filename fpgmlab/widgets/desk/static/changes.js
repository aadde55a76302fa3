// How the selected bars change together: by the same ratio, each to a number of channels that it may keep.

/** Return the ways to change the selected bars of a desk; bars that are locked or protected stay. */
export function changesTogether(store) {
  const { groups, allowed, snapped, stepped } = store.calculator;
  const wishes = new Map(); // ratios before they were snapped: small changes add up, and bars do not drift apart
  const ratio = (g) => 1 - store.kept[g] / groups[g].channels;
  const wished = (g) => (wishes.has(g) && snapped(g, wishes.get(g), store.multiple()) === store.kept[g] ? wishes.get(g) : ratio(g));
  const most = (g) => 1 - allowed(g, store.multiple())[0] / groups[g].channels;
  const unit = (g) => {
    const [first, second = first] = allowed(g, store.multiple());
    return (second - first) / groups[g].channels;
  };
  const free = () => {
    const locked = store.locked();
    return [...store.selected].filter((g) => !groups[g].protected && !locked.has(g));
  };
  const by = (delta) => new Map(free().map((g) => {
    const wish = Math.max(0, Math.min(most(g), wished(g) + delta));
    wishes.set(g, wish);
    return [g, snapped(g, wish, store.multiple())];
  }));

  return {
    free, ratio, by,
    /** Lock all selected bars; unlock them when they are. */
    lock() {
      const mine = [...store.selected].filter((g) => !groups[g].protected), locked = store.locked();
      store.lock(mine, !mine.every((g) => locked.has(g)));
    },
    /** One step up (1) or down (-1); of several bars it is the step of the coarsest. */
    step(sign) {
      const mine = free();
      if (mine.length === 1) return new Map([[mine[0], stepped(mine[0], store.kept[mine[0]], sign, store.multiple())]]);
      return by(sign * Math.max(0, ...mine.map(unit)));
    },
    /** One channel up (1) or down (-1), or the least that the network can lose; off the steps that bars snap to. */
    single: (sign) => new Map(free().map((g) => [g, stepped(g, store.kept[g], sign, 1)])),
    /** To one ratio each: as near as its channels allow. */
    to: (value) => new Map(free().map((g) => [g, snapped(g, value, store.multiple())])),
    /** From ratios that were noted, all by so much. */
    from: (ratios, delta) => new Map(Array.from(ratios, ([g, old]) => [g, snapped(g, old + delta, store.multiple())])),
  };
}
