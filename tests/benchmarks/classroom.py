#!/usr/bin/env python
"""A class of thirty on one machine: ``python tests/benchmarks/classroom.py`` writes data/results/classroom.json.

Visitors who speak the page's protocol, and two real Chromium pages among them, open the desk one after the other. For
two minutes each draws (an edit of three bars at a time), fits a budget now and then and has its plan evaluated. What is
told: memory a visitor, times to open, from an edit to what was measured of it, and how long an evaluation takes.
On a quiet machine, 4 minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import fpgmlab as fl  # noqa: E402
from tests.browser.conftest import QUIET  # noqa: E402
from tests.widgets.classroom.visitors import Visitor, board, classroom, kernels, memory  # noqa: E402

OUTPUT = ROOT / "data" / "results" / "classroom.json"
VISITORS, PAGES, SECONDS = 30, 2, 120.0
LOOK = 6.0  # seconds that a visitor looks at what came of an edit, in the mean
EVERY = 60.0  # seconds between two evaluations of one visitor, in the mean
Times = dict[str, list[float]]


def quantiles(times: Sequence[float]) -> dict[str, float | int]:
    """Return the median, the 95th percentile and the longest, in seconds."""
    ranked = sorted(times)
    return {
        "count": len(ranked),
        "median": round(statistics.median(ranked), 2),
        "p95": round(ranked[min(len(ranked) - 1, int(0.95 * len(ranked)))], 2),
        "longest": round(ranked[-1], 2),
    }


async def use(visitor: Visitor, seconds: float, times: Times, seed: int) -> None:
    """Draw, fit and evaluate for so long."""
    chance = random.Random(seed)
    end, evaluate = time.monotonic() + seconds, time.monotonic() + chance.uniform(5, EVERY)
    free = [i for i, group in enumerate(visitor.state["desk"]["groups"]) if group["protected"] is None]
    whole = [group["channels"] for group in visitor.state["desk"]["groups"]]
    while time.monotonic() < end:
        if chance.random() < 0.15:
            before = visitor.state["confirmed"]
            began = time.monotonic()
            await visitor.ask("budget", method="allocate", kind="macs", share=round(chance.uniform(0.3, 0.9), 3))
            await visitor.until(lambda before=before: visitor.state["confirmed"] != before)
            times["fit"].append(time.monotonic() - began)
        else:
            kept = list(visitor.state["kept"])
            for place in chance.sample(free, 3):
                kept[place] = max(1, round(whole[place] * chance.uniform(0.3, 1.0)))
            times["confirmed"].append(await visitor.drag(kept))
        times["as cut"].append(await visitor.measured("as cut"))
        await asyncio.sleep(chance.expovariate(1 / LOOK))
        repaired = visitor.state["live"]["samples"].get("repaired", 0)
        times["repaired when left" if repaired else "not repaired when left"].append(1.0)
        if time.monotonic() > evaluate:
            times["evaluation"].append(await visitor.evaluate())
            evaluate = time.monotonic() + chance.uniform(0.5, 1.5) * EVERY


async def in_browser(url: str, seconds: float, times: Times) -> None:
    """Open real pages and use the keyboard."""
    if not PAGES:
        return
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        pages = []
        for _ in range(PAGES):
            page = await (await browser.new_context()).new_page()  # a browser of its own, by its cookie
            began = time.monotonic()
            await page.goto(url)
            await page.wait_for_selector(".fl-desk [role=slider]")
            times["page"].append(time.monotonic() - began)
            pages.append(page)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for page in pages:
                slider = page.locator(".fl-desk [role=slider]").nth(random.randrange(5))
                await slider.focus()
                await page.keyboard.press("ArrowUp")
            await asyncio.sleep(4)
        for page in pages:
            assert await page.locator(".fl-desk [role=slider]").count() > 5
            await page.close(run_before_unload=True)
        await asyncio.sleep(2)
        await browser.close()


async def run(url: str, process: object) -> dict:
    before = memory(process)
    visitors = [Visitor(url) for _ in range(VISITORS)]
    for visitor in visitors:
        await visitor.open()
        await asyncio.sleep(0.3)
    opened = memory(process)
    print(f"{before:.0f} MB before the first, {opened:.0f} MB with {VISITORS} desks open", file=sys.stderr)
    times: Times = {name: [] for name in (
        "page", "confirmed", "fit", "as cut", "repaired when left", "not repaired when left", "evaluation",
    )}  # fmt: skip
    boards: list[float] = []

    async def teach() -> None:
        while True:
            began = time.monotonic()
            await asyncio.to_thread(board, url, by="ms", percent="50")
            boards.append(time.monotonic() - began)
            await asyncio.sleep(3)

    teacher = asyncio.create_task(teach())
    using = [use(visitor, SECONDS, times, seed) for seed, visitor in enumerate(visitors)]
    most = []

    async def watch() -> None:
        while True:
            most.append(await asyncio.to_thread(memory, process))
            await asyncio.sleep(15)  # it looks at a million pages

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*using, in_browser(url, SECONDS, times))
    teacher.cancel()
    watcher.cancel()
    times["all at once"] = await asyncio.gather(*(visitor.evaluate() for visitor in visitors))
    after = memory(process)
    measured = board(url, by="ms", percent="50.001").partition("</p>")[0].removeprefix("<p>")
    for visitor in visitors:
        await visitor.leave()
    await asyncio.sleep(3)
    failed = [words for visitor in visitors for words in visitor.notices]
    repaired, not_repaired = (len(times.pop(name)) for name in ("repaired when left", "not repaired when left"))
    return {
        "visitors": VISITORS,
        "pages in Chromium": PAGES,
        "seconds": SECONDS,
        "failed": failed,
        "memory, MB": {
            "before the first": round(before),
            "a visitor more, opened": round((opened - before) / VISITORS, 1),
            "a visitor more, after an evaluation": round((after - before) / VISITORS, 1),
            "all, at most": round(max(most)),
            "when all have left": round(memory(process)),
        },
        "kernels when all have left": len(kernels(process)),
        "open, s": {"30th": round(visitors[-1].opened, 2), **quantiles([visitor.opened for visitor in visitors])},
        "page in Chromium, s": quantiles(times["page"]) if PAGES else None,
        "edit to its totals, s": quantiles(times["confirmed"]),
        "fit, s": quantiles(times["fit"]),
        "edit to measured as cut, s": quantiles(times["as cut"]),
        "repaired by the next edit": round(repaired / (repaired + not_repaired), 2),
        "evaluation, s": quantiles(times["evaluation"]),
        "evaluation, all at once, s": quantiles(times["all at once"]),
        "teacher's page, s": quantiles(boards),
        "teacher's page at the end": measured,
    }


def main() -> None:
    with classroom(ROOT / "notebooks" / "05_classroom_desk.ipynb") as (url, process):
        found = asyncio.run(run(url, process))
    head = fl.studies.record(
        "classroom",
        title="A class of thirty at the desk on one machine",
        command="python tests/benchmarks/classroom.py",
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs",
    )
    result = {**head, **found}
    output = Path(os.environ.get("FPGMLAB_CLASSROOM_RESULTS", OUTPUT))
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(output.read_text())


if __name__ == "__main__":
    main()
