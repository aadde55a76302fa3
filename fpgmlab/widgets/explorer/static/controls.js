import { element } from "../../common/static/common.js";
import { controlKeys, controlLabelled, controlSelect } from "../../common/static/controls.js";

const EXPLORER_MOST = 0.99; // of the slider; a larger ratio may come from Python

/** Which group, which criterion, and which share of the group goes: as slider and as a number. */
export function explorerControls(model) {
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const number = (input) => Math.max(0, Math.min(EXPLORER_MOST, Number(input.value) || 0));
  const group = controlSelect({}, [], (name) => set("group", name));
  const rule = controlSelect({}, [], (place) => set("rule", Number(place)));
  const slider = element("input", { type: "range", class: "fl-slider", min: 0, max: EXPLORER_MOST, step: 0.01, oninput: () => set("ratio", number(slider)) });
  const exact = element("input", { type: "number", class: "fl-field", "aria-label": "Ratio, as a number", title: "The same ratio, to type in", min: 0, max: EXPLORER_MOST, step: 0.01,
    onchange: () => set("ratio", number(exact)) });
  const node = controlKeys(element("div", { class: "fl-line fl-explorer-controls" },
    controlLabelled("Channel group", group, "Channels that can only be removed together; shown are the filters of the first layer"),
    controlLabelled("Criterion", rule, "Gives each filter a score; the lowest go first"),
    element("span", { class: "fl-pair fl-explorer-ratio" }, controlLabelled("Ratio removed", slider, "The share of the group's channels to remove"), exact)));
  let drawn = null;
  return {
    node,
    draw() {
      const { groups, criteria } = model.get("choices"), ratio = model.get("ratio"), name = model.get("group");
      if (drawn !== model.get("choices")) {
        drawn = model.get("choices");
        group.replaceChildren(...groups.map((each) => element("option", { value: each.name }, `${each.name} (${each.channels}${each.protected ? ", protected" : ""})`)));
        rule.replaceChildren(...criteria.map((words, i) => element("option", { value: i }, words)));
      }
      group.value = name;
      rule.value = model.get("rule");
      slider.max = exact.max = Math.max(EXPLORER_MOST, ratio);
      if (Number(slider.value) !== ratio) slider.value = ratio;
      if (document.activeElement !== exact) exact.value = Number(ratio.toFixed(4));
      const held = groups.find((each) => each.name === name)?.protected ?? false;
      slider.disabled = exact.disabled = held;
    },
  };
}
