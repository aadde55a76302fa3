const BARS_GRASP = 8; // pixels from the handle where it is taken as it is, and does not jump to the pointer
const BARS_WHEEL = 40; // pixels of the wheel for a step
const BARS_REST = 250; // milliseconds after which turns of the wheel are one change

/** Let a pointer drag, set and select bars, and the wheel move those with the focus; returns how a drag is asked for and given up. */
export function barsPointer(store, row, bars, changes, goTo, signal) {
  let drag = null, turned = 0, resting = null, anchor = store.focus;

  row.addEventListener("pointerdown", (event) => {
    const slot = event.button === 0 && event.target.closest(".fl-desk-slot");
    if (!slot) return;
    const g = Number(slot.dataset.g);
    event.preventDefault(); // no text is selected
    const { slider } = bars[g], onBar = slider.contains(event.target);
    pick(g, event, onBar);
    goTo(g);
    if (event.shiftKey || event.ctrlKey || event.metaKey || !onBar || !changes.free().includes(g)) return;
    const { bottom, height } = slider.getBoundingClientRect(), ratio = changes.ratio(g), away = (bottom - event.clientY) / height - ratio;
    drag = { g, bottom, height, grip: Math.abs(away) * height <= BARS_GRASP ? away : 0, from: new Map(changes.free().map((each) => [each, changes.ratio(each)])) };
    slider.setPointerCapture(event.pointerId);
    move(event);
  });
  row.addEventListener("pointermove", (event) => drag && move(event));
  row.addEventListener("pointerup", () => end(store.commit));
  row.addEventListener("pointercancel", () => end(store.revert));

  function pick(g, { shiftKey, ctrlKey, metaKey }, onBar) {
    const { selected } = store;
    if (shiftKey) {
      store.select(barsRange(anchor, g), g);
      return;
    }
    anchor = g;
    if (ctrlKey || metaKey) store.select(selected.has(g) && selected.size > 1 ? [...selected].filter((each) => each !== g) : [...selected, g], g);
    else store.select(onBar && selected.has(g) ? selected : [g], g); // those that are selected are dragged together
  }

  function move(event) {
    const ratio = (drag.bottom - event.clientY) / drag.height - drag.grip;
    store.preview(changes.from(drag.from, Math.max(0, Math.min(1, ratio)) - drag.from.get(drag.g)));
  }

  function end(how) {
    if (!drag) return;
    drag = null;
    how();
  }

  // Only the bar with the focus takes the wheel: else the page could not be scrolled over the desk.
  row.addEventListener("wheel", (event) => {
    const focused = bars[store.focus].slider;
    if (!focused.matches(":focus") || !focused.contains(event.target) || Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
    event.preventDefault();
    turned += event.deltaMode === 0 ? -event.deltaY : -event.deltaY * BARS_WHEEL;
    if (Math.abs(turned) < BARS_WHEEL) return;
    store.preview(changes.step(Math.sign(turned)));
    turned = 0;
    clearTimeout(resting);
    resting = setTimeout(store.commit, BARS_REST);
  }, { passive: false });
  signal.addEventListener("abort", () => clearTimeout(resting));

  return {
    active: () => drag !== null,
    giveUp: () => end(store.revert),
    anchor: () => anchor,
    setAnchor: (g) => (anchor = g),
  };
}

/** Return all groups from one to the other. */
export function barsRange(a, b) {
  return Array.from({ length: Math.abs(a - b) + 1 }, (_, i) => Math.min(a, b) + i);
}
