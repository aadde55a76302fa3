"""What tests do with a plan editor in a page: watch its clock, read its bars, use its keys."""

from __future__ import annotations

import random
import time

from tests.browser.conftest import SHOWN

# The time from a pointer's or a key's event to the first task after the next frame: all that changed has been painted.
CLOCK = """() => {
  const clock = { painted: [], since: [], confirmed: [] };
  const desk = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .fl-desk");
  window.deskClock = clock;
  const painted = (event) => {
    const begun = event.timeStamp, received = performance.now();
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        clock.painted.push(performance.now() - received);
        clock.since.push(performance.now() - begun);
      };
      port2.postMessage(0);
    });
  };
  desk.addEventListener("pointermove", (event) => event.buttons && painted(event), { capture: true });
  let released = null;
  const release = (event) => (released = { at: event.timeStamp, revision: desk.dataset.revision });
  desk.addEventListener("pointerup", release, { capture: true });
  new MutationObserver(() => {
    if (released === null || desk.dataset.revision === released.revision || desk.dataset.agrees !== "true") return;
    clock.confirmed.push(performance.now() - released.at);
    released = null;
  }).observe(desk, { attributes: true });
}"""

SETTLED = """() => {
  const desk = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .fl-desk");
  const { revision, confirmed, agrees } = desk.dataset;
  return revision === confirmed && agrees === "true";
}"""

KEPT = """() => [...document.querySelectorAll(".jp-NotebookPanel:not(.lm-mod-hidden) .fl-desk-bar")].map((bar) => {
  const words = bar.getAttribute("aria-valuetext");
  return Number(/(?:(\\d+) of \\d+|all (\\d+)) channels kept/.exec(words).slice(1).join(""));
})"""

KEYS = ("ArrowUp", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "ArrowLeft", "ArrowRight",
        "Shift+ArrowRight", "Control+z", "Control+Shift+z")  # fmt: skip


def settle(page: object, seconds: float = 30) -> None:
    """Wait until the kernel has confirmed the plan on the screen."""
    page.wait_for_function(SETTLED, timeout=1000 * seconds)


def kept_on_screen(page: object) -> list[int]:
    """Return what every bar says of its channels."""
    return page.evaluate(KEPT)


# Key events without a keyboard come as fast as a page can take them: 0 to 8 ms apart.
DISPATCH = """async (keys) => {
  for (const [key, ctrlKey, shiftKey, pause] of keys) {
    const event = new KeyboardEvent("keydown", { key, ctrlKey, shiftKey, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(event);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}"""


def press_at_random(page: object, edits: int, seed: int = 0) -> None:
    """Press keys on the bars: a tenth of them on the keyboard, the others as fast as they are taken."""
    page.locator(f"{SHOWN} .fl-desk-bar[tabindex='0']").focus()
    draw = random.Random(seed)
    keys = [draw.choice(KEYS) for _ in range(edits)]
    for key in keys[: edits // 10]:
        page.keyboard.press(key)
    parts = [key.split("+") for key in keys[edits // 10 :]]
    page.evaluate(DISPATCH, [[p[-1], "Control" in p, "Shift" in p, draw.choice((0, 0, 1, 2, 4, 8))] for p in parts])


def drag_at_random(page: object, moves: int, releases: int, seed: int = 0) -> None:
    """Drag bars up and down: so many moves of the pointer in all, let go so many times."""
    draw = random.Random(seed)
    bars = page.locator(f"{SHOWN} .fl-desk-slot:not(.fl-desk-protected):not(.fl-desk-locked) .fl-desk-bar")
    count = bars.count()
    for _ in range(releases):
        bar = bars.nth(draw.randrange(count))
        bar.scroll_into_view_if_needed()
        box = bar.bounding_box()
        x = box["x"] + box["width"] / 2
        page.mouse.move(x, box["y"] + box["height"] * draw.uniform(0.3, 0.9))
        page.mouse.down()
        for _ in range(max(1, moves // releases)):
            page.mouse.move(x, box["y"] + box["height"] * draw.uniform(0.05, 0.95))
        page.mouse.up()
        settle(page)


def heap_megabytes(page: object) -> float:
    """Return the page's JavaScript heap after a collection of garbage."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    time.sleep(0.2)
    found = session.send("Runtime.getHeapUsage")
    session.detach()
    return found["usedSize"] / 2**20


def quantile(values: list[float], share: float) -> float:
    """Return the smallest value that so large a share is at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
