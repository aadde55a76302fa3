// Small things that all panels need.

const SVG = "http://www.w3.org/2000/svg";

/** Return the numbers in a DataView of bytes: int32, float32, ... */
export function numbers(bytes, Kind) {
  const { buffer, byteOffset, byteLength } = bytes;
  return new Kind(buffer.slice(byteOffset, byteOffset + byteLength)); // a copy, for the sake of alignment
}

/** Return an HTML element with attributes and children (elements or text). */
export function element(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

/** Return an SVG element with attributes and children. */
export function shape(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

function dressed(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const stem = Math.random().toString(36).slice(2); // each panel of a page has this module for itself, and counts from 0
let counter = 0;

/** Return an id that no other element of the page has. */
export function freshId(word) {
  counter += 1;
  return `fl-${word}-${stem}-${counter}`;
}

/** Return a number with four significant digits, as people write it. */
export function short(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** Return round numbers from `first` to `last`, about so many. */
export function niceSteps(first, last, about) {
  const rough = (last - first) / about || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const count = Math.floor((last - first) / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => first + i * step);
}

/** Return a function that calls `draw` once before the next picture, however often it is called itself. */
export function beforeNextPicture(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Return a function that calls `draw` once it has not been called itself for a moment, and now and then until it rests. */
export function onceRested(draw, signal, rest = 60, latest = 400) {
  let soon = null, since = null;
  signal.addEventListener("abort", () => clearTimeout(soon));
  return () => {
    const now = performance.now();
    since ??= now;
    clearTimeout(soon);
    soon = setTimeout(() => {
      since = null;
      draw();
    }, Math.max(0, Math.min(rest, since + latest - now)));
  };
}

/** Call `draw` with how wide a node is inside its padding, in whole pixels of its own, and again when that changes. */
export function onWidth(node, signal, draw) {
  let width = 0;
  const watch = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === 0 || Math.round(contentRect.width) === width) return;
    width = Math.round(contentRect.width);
    draw(width);
  });
  watch.observe(node);
  signal.addEventListener("abort", () => watch.disconnect());
}

/** Listen to changes of a widget's model until the view is closed. */
export function listen(model, names, callback, signal) {
  for (const name of names) model.on(`change:${name}`, callback);
  signal.addEventListener("abort", () => {
    for (const name of names) model.off(`change:${name}`, callback);
  });
}
