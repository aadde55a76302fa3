import { handCount } from "./hand.js";

/** Mark on the bars what is not theirs alone: channels that were chosen by hand. */
export function overlayOn(store, bars) {
  const slots = [...bars.querySelectorAll(".fl-desk-slot")];
  const drawHand = () => {
    const exchanged = store.exchanged();
    slots.forEach((slot, g) => {
      const count = handCount(exchanged[g]);
      if (String(slot.dataset.hand ?? 0) === String(count)) return;
      if (count) slot.dataset.hand = count;
      else delete slot.dataset.hand;
      slot.querySelector(".fl-desk-bar-lock").title = count ? `${count} channels chosen by hand` : "";
    });
  };
  store.on("exchanged", drawHand);
  drawHand();
}
