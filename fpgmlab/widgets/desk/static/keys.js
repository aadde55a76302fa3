import { barsRange } from "./pointer.js";

const BARS_PAGE = 0.1; // ratio

/** Let the keys move, set, select and lock bars; digits type a ratio. */
export function barsKeys(store, row, bars, changes, goTo, dragging) {
  const { groups } = store.calculator;
  let typed = null;

  const type = (text) => {
    typed = text;
    bars[store.focus].setTyped(text);
  };
  const walk = (g, extend) => {
    const to = Math.max(0, Math.min(groups.length - 1, g));
    if (!extend) dragging.setAnchor(to);
    store.select(extend ? barsRange(dragging.anchor(), to) : [to], to);
    goTo(to);
  };
  const enter = (event) => {
    if (event.shiftKey) return false; // runs the notebook's cell
    if (typed === null) return true;
    const ratio = Number(typed) / 100;
    type(null);
    if (Number.isFinite(ratio)) store.set(changes.to(Math.min(1, ratio)));
    return true;
  };
  const escape = () => {
    if (dragging.active()) dragging.giveUp();
    else if (typed !== null) type(null);
    else if (store.selected.size > 1) walk(store.focus, false);
    else return false;
    return true;
  };
  const plain = {
    ArrowUp: () => store.set(changes.step(1)),
    ArrowDown: () => store.set(changes.step(-1)),
    PageUp: () => store.set(changes.by(BARS_PAGE)),
    PageDown: () => store.set(changes.by(-BARS_PAGE)),
    Home: () => store.set(changes.to(0)),
    End: () => store.set(changes.to(1)),
    ArrowLeft: (event) => walk(store.focus - 1, event.shiftKey),
    ArrowRight: (event) => walk(store.focus + 1, event.shiftKey),
    Escape: escape,
    Enter: enter,
    Backspace: () => typed !== null && type(typed.slice(0, -1)),
    l: changes.lock,
    L: changes.lock,
    f: () => store.openFilters(!store.looking()),
    F: () => store.openFilters(!store.looking()),
  };

  function pressed(event) {
    if (event.altKey && !event.ctrlKey && !event.metaKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      store.set(changes.single(event.key === "ArrowUp" ? 1 : -1));
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.altKey || event.key.toLowerCase() !== "a") return false;
      store.select(groups.flatMap(({ protected: reason }, g) => (reason ? [] : [g])), store.focus);
      return true;
    }
    if (/^[\d.,]$/.test(event.key)) {
      type(((typed ?? "") + event.key.replace(",", ".")).slice(0, 5));
      return true;
    }
    const act = plain[event.key];
    return act !== undefined && act(event) !== false;
  }

  row.addEventListener("keydown", (event) => {
    if (!event.target.closest(".fl-desk-bar") || !pressed(event)) return;
    event.preventDefault();
    event.stopPropagation(); // else JupyterLab takes it
  });
  row.addEventListener("focusout", () => typed !== null && type(null));
  // The focus can come without a pointer or an arrow: from a screen reader.
  row.addEventListener("focusin", (event) => {
    const g = bars.findIndex((bar) => bar.slider === event.target);
    if (g >= 0 && g !== store.focus) store.select([g], g);
  });
}
