import { element } from "./common.js";

/** Return how far work is, as a bar with what stands beside it: `draw` takes a share, 0 to 1, and words. */
export function progressBar(label, ...beside) {
  const bar = element("div"), track = element("div", { class: "fl-meter", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  return {
    node: element("div", { class: "fl-progress" }, track, ...beside),
    draw(share, words) {
      const percent = Math.round(1000 * share) / 10;
      bar.style.transform = `scaleX(${percent / 100})`;
      track.setAttribute("aria-valuenow", percent);
      track.setAttribute("aria-valuetext", words);
    },
  };
}
