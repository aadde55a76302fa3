import { element, shape } from "../../common/static/common.js";

/** All bars as one thin profile, with the part in view marked; a click or drag scrolls there. Hidden when all are in view. */
export function overviewView(store, scroller, signal) {
  const { groups } = store.calculator, count = groups.length;
  const profile = shape("path", { class: "fl-desk-overview-profile" }), marks = shape("path", { class: "fl-desk-overview-stages" });
  const drawing = shape("svg", { viewBox: `0 0 ${count} 100`, preserveAspectRatio: "none" }, marks, profile);
  const view = element("div", { class: "fl-desk-overview-window" });
  const node = element("div", { class: "fl-desk-overview", "aria-hidden": "true", title: "All groups; drag to scroll" }, drawing, view);
  let drawn = "", grip = null;
  marks.setAttribute("d", groups.map(({ stage }, g) => (g > 0 && groups[g - 1].stage !== stage ? `M ${g} 0 V 100` : "")).join(""));

  const draw = () => {
    if (node.hidden) return;
    const path = groups.map(({ channels }, g) => `M ${g + 0.15} 100 V ${(100 * store.kept[g]) / channels} h 0.7 V 100`).join("");
    if (path !== drawn) profile.setAttribute("d", (drawn = path));
  };
  const place = () => {
    const { scrollLeft, scrollWidth, clientWidth } = scroller;
    node.hidden = scrollWidth <= clientWidth + 1;
    draw();
    view.style.left = `${(100 * scrollLeft) / scrollWidth}%`;
    view.style.width = `${(100 * clientWidth) / scrollWidth}%`;
  };
  const sizes = new ResizeObserver(place);
  sizes.observe(scroller);
  signal.addEventListener("abort", () => sizes.disconnect());
  scroller.addEventListener("scroll", place, { passive: true });

  const scrollTo = (event) => {
    scroller.scrollLeft = ((event.clientX - grip.left) / grip.width) * scroller.scrollWidth - scroller.clientWidth / 2;
  };
  node.addEventListener("pointerdown", (event) => {
    grip = node.getBoundingClientRect();
    node.setPointerCapture(event.pointerId);
    scrollTo(event);
  });
  node.addEventListener("pointermove", (event) => grip && scrollTo(event));
  for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, () => (grip = null));

  return { node, draw };
}
