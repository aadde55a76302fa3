import { beforeNextPicture, listen } from "../../common/static/common.js";
import { panelHead, panelKeys, panelLarge } from "../../common/static/head.js";
import { filterBoard } from "./board.js";
import { explorerControls } from "./controls.js";

/** The filters of the kernel's group, criterion and ratio; the selected one is the kernel's too. */
function render({ model, el, signal }) {
  const select = (filter) => {
    model.set("place", filter);
    model.save_changes();
  };
  const board = filterBoard({ selected: () => model.get("place"), select }, { name: "Filter explorer" }, signal), root = board.node;
  const controls = explorerControls(model), { network, groups } = model.get("choices"), free = groups.filter((group) => !group.protected).length;
  root.prepend(panelHead(network, `${groups.length} group${groups.length === 1 ? "" : "s"} · ${free} prunable · filters`, panelLarge(model, root, signal)), controls.node);
  panelKeys(root, signal);
  el.append(root);

  const draw = beforeNextPicture(() => board.show(model.get("scene"), model.get("marks"), model.get("words")));
  listen(model, ["scene", "marks", "words"], draw, signal);
  listen(model, ["group", "rule", "ratio", "choices"], controls.draw, signal);
  controls.draw();
  listen(model, ["place"], board.highlight, signal);
  draw();
}

export default { render };
