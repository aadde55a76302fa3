"""The four panels without a kernel: what each sends to its browser, and a page that shows it as JupyterLab does."""

from __future__ import annotations

import base64
import sys
from functools import cache
from pathlib import Path

import torch

import fpgmlab as fl
from fpgmlab.widgets.common.panel import Panel

PANELS = ("explorer", "gammas", "sweep", "desk")
ROOTS = {"explorer": "fl-explorer", "gammas": "fl-gamma", "sweep": "fl-sweep", "desk": "fl-desk"}  # and their classes
UNSEEN = ("_esm", "_css", "layout", "tabbable")  # of what a panel sends, what its own code does not read
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"

# Opens panels (of `window.sent`) as anywidget does: a module of its own for each, a style sheet for each kind at the
# end of the head.
OPEN = """async ({ order, pixels }) => {
  const revive = (value) => {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(revive);
    if ("$bytes" in value) return new DataView(Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)).buffer);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revive(each)]));
  };
  window.closing?.abort();
  window.closing = new AbortController();
  for (const style of document.querySelectorAll("style[data-panel]")) style.remove();
  document.body.replaceChildren();
  for (const name of order) {
    const { esm, css, state } = window.sent[name];
    if (!document.querySelector(`style[data-panel=${name}]`)) {
      const style = Object.assign(document.createElement("style"), { textContent: css });
      style.dataset.panel = name;
      document.head.append(style);
    }
    const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    const { default: widget } = await import(url);
    URL.revokeObjectURL(url);
    const values = revive(state), el = document.createElement("div");
    const nothing = { save_changes() {}, send() {}, on() {}, off() {} };
    const model = { get: (key) => values[key], set: (key, value) => (values[key] = value), ...nothing };
    el.style.cssText = `width: ${pixels}px; margin-bottom: 12px`;
    el.dataset.panel = name;
    document.body.append(el);
    widget.render({ model, el, signal: window.closing.signal });
  }
  await settled();
}"""

# Functions of the page: `settled` waits until all is drawn; `looks` tells the looks of a panel's parts, three of each
# kind; `differences` compares them with how they looked before.
LOOKS = """() => {
  const LOOK = `
    display visibility position zIndex opacity cursor width height minWidth maxWidth minHeight maxHeight
    margin padding border borderRadius boxShadow outline background color font fontVariantNumeric textAlign
    textDecoration whiteSpace textOverflow writingMode overflow flex gap gridTemplateColumns gridColumn
    alignItems justifyContent verticalAlign transform translate transition animationName fill stroke
    strokeWidth strokeDasharray paintOrder content contentVisibility willChange tableLayout borderCollapse
  `.match(/\\w+/g);
  window.settled = async () => {
    for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    for (const each of document.getAnimations()) {
      if (each instanceof CSSTransition) each.finish();
      else each.pause(), (each.currentTime = 0);
    }
  };
  const kindOf = (node) => `${node.tagName} ${node.getAttribute("class") ?? ""}`;
  window.looks = (root) => {
    const from = root.getBoundingClientRect(), kinds = new Map(), all = [root, ...root.querySelectorAll("*")];
    const parts = all.filter((node) => {
      const kind = `${kindOf(node.parentNode)} > ${kindOf(node)}`, count = (kinds.get(kind) ?? 0) + 1;
      kinds.set(kind, count);
      return count <= 3;
    });
    return parts.map((node) => {
      const box = node.getBoundingClientRect(), shown = node.getClientRects().length > 0, found = new Map();
      const place = shown ? [box.left - from.left, box.top - from.top, box.width, box.height] : [];
      found.set("box", place.map((value) => value.toFixed(1)).join(" "));
      for (const part of ["", "::before", "::after"]) {
        const style = getComputedStyle(node, part || null);
        if (part && style.content === "none") continue;
        for (const name of LOOK) found.set(`${part} ${name}`, style[name].replace(/^url.*#.*/, "url"));
      }
      return { name: kindOf(node), found };
    });
  };
  window.differences = (before, after) => {
    if (before.length !== after.length) return [`${before.length} parts, then ${after.length}`];
    // Places are rounded to tenths of a pixel: further down on the page they may round to the next.
    const apart = (a, b) => a.split(" ").some((value, k) => !(Math.abs(value - b.split(" ")[k]) <= 0.11));
    return before.flatMap(({ name, found }, i) => [...found]
      .filter(([key, value]) => after[i].found.get(key) !== value)
      .filter(([key, value]) => key !== "box" || value === "" || apart(value, after[i].found.get(key)))
      .map(([key, value]) => `${name}: ${key} is ${after[i].found.get(key)}, alone ${value}`));
  };
}"""


@cache
def sent() -> dict[str, dict]:
    """Return what each panel sends to its browser, with something to see in every part of it."""
    torch.manual_seed(0)
    task = fl.tasks.fashion_mnist().subset(train=8, val=64)
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    explorer = fl.widgets.FilterExplorer(graph, group="layer1.0.conv1")
    explorer.selected = 3
    gammas = fl.widgets.GammaPanel(graph, ratio=0.8)
    sweep = fl.widgets.SweepPanel(graph, fl.score(graph), task, ratios=(0.3, 0.6), metrics="accuracy")
    sweep.start()
    sweep.wait()
    curves = fl.sensitivity.shipped("resnet20-fashion")
    desk = fl.widgets.PlanEditor(
        graph, curves, task, plan=fl.Plan.uniform(graph, curves.scores, 0.3, multiple=1), multiple=1
    )
    for name in ("first", "second"):
        desk.snapshot(name)
    desk.locked = [4]
    panels = {"explorer": explorer, "gammas": gammas, "sweep": sweep, "desk": desk}
    found = {name: sent_by(panel) for name, panel in panels.items()}
    trained = {"steps": [[step, 2 / step] for step in range(1, 9)], "total": 8, "metric": "accuracy",
               "epochs": [{"epoch": 1, "accuracy": 0.8}, {"epoch": 2, "accuracy": 0.85}]}  # fmt: skip
    work = found["desk"]["state"]["work"]
    work |= trained | {"running": "fine-tune", "share": 0.4, "message": "what went wrong"}
    work["can"] = dict.fromkeys(work["can"], False) | {"cancel": True, "save": True}
    found["desk"]["state"]["notice"] = {"id": 1, "kind": "info", "words": "what there is to say"}
    for panel in panels.values():
        panel.close()
    return found


def sent_by(panel: Panel) -> dict:
    """Return what a panel sends to its browser."""
    state = {key: value for key, value in panel.get_state().items() if key not in UNSEEN}
    return {"esm": str(panel._esm), "css": str(panel._css), "state": _as_json(state)}


def _as_json(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


def theme(name: str) -> str:
    """Return JupyterLab's variables of its theme "light" or "dark"."""
    return (THEMES / f"theme-{name}-extension" / "index.css").read_text()
