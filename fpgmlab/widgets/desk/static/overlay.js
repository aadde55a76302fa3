import { element } from "../../common/static/common.js";
import { COMPARE_DESK, compareFits } from "./compare.js";
import { handCount } from "./hand.js";
import { wordsMany } from "./words.js";

/** Mark on the bars what is not theirs alone: channels that were chosen by hand, and where plans stand that are compared. */
export function overlayOn(store, bars) {
  const slots = [...bars.querySelectorAll(".fl-desk-slot")];
  const drawHand = () => {
    const exchanged = store.exchanged();
    slots.forEach((slot, g) => {
      const count = handCount(exchanged[g]);
      if (String(slot.dataset.hand ?? 0) === String(count)) return;
      if (count) slot.dataset.hand = count;
      else delete slot.dataset.hand;
      slot.querySelector(".fl-desk-bar-lock").title = count ? `${count} ${wordsMany(store.calculator.groups[g])} chosen by hand` : "";
    });
  };
  let marks = [];
  const drawSides = () => {
    const sides = store.sides(), found = store.compared(), { groups } = store.calculator;
    for (const mark of marks) mark.remove();
    marks = compareFits(found, sides) ? sides.flatMap((side, i) => (side === COMPARE_DESK ? [] : slots.flatMap((slot, g) => {
      if (groups[g].protected) return [];
      const mark = element("div", { class: "fl-desk-bar-side", "data-side": i, style: `bottom:${100 * (1 - found.kept[i][g] / groups[g].channels)}%`, "aria-hidden": "true" });
      slot.querySelector(".fl-desk-bar").append(mark);
      return [mark];
    }))) : [];
  };
  for (const what of ["sides", "compared"]) store.on(what, drawSides);
  store.on("exchanged", drawHand);
  drawHand();
}
