"""Run the notebooks at small settings, several at once; one whose content was run before is not run again."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import resource
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = "executed"  # the folder of notebooks that were run, within the book's
LONGEST = ("07_yolov5", "03_sensitivity", "04_plan_editor", "06_repair")  # so that no processor waits at the end
TIMED = ("08_efficient_convolutions", "09_deployment")  # they measure times: one after the other, with none beside


def small_settings() -> dict[str, dict[str, object]]:
    """Return what each notebook runs with, by its name without ending."""
    return tomllib.loads((NOTEBOOKS / "small.toml").read_text())


def settings(name: str, full: bool = False) -> dict[str, object]:
    """Return what a notebook runs with: its small settings, or its own."""
    return {} if full else small_settings()[name]


def execute(names: Iterable[str], folder: Path, workers: int = 2, full: bool = False) -> dict[str, float]:
    """Run notebooks into a folder, and return the seconds of each that was run.

    Parameters
    ----------
    full : bool
        Whether they run with their own settings, in place of the small ones.

    Raises
    ------
    RuntimeError
        If cells raise; the message names the notebooks. The others are run all the same.
    """
    missing = [name for name in names if recorded(name, folder).get("all") != key(name, full)]
    seconds, failures = {}, []
    timed = [name for name in missing if name in TIMED]
    first = sorted(set(missing) - set(timed), key=lambda name: (name not in LONGEST, name))
    for batch, at_once in ((first, workers), (timed, 1)):
        with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = {pool.submit(run, name, folder, full): name for name in batch}
            for done in as_completed(running):
                name = running[done]
                if done.exception():
                    failures.append(f"{name}: {done.exception()}")
                else:
                    seconds[name] = done.result()
                    print(f"{name}: {seconds[name]:.0f} s", flush=True)
    if failures:
        raise RuntimeError("\n".join(failures))
    return seconds


def run(name: str, folder: Path, full: bool = False) -> float:
    """Run one notebook; it and its key are there afterwards, or neither. Return the seconds."""
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it guesses parameters, and says which it did not find
    os.environ["OMP_NUM_THREADS"] = "1"  # for the kernel that is started from here
    started, before, keys = (
        time.perf_counter(),
        _processor_seconds(),
        {"content": content(name), "all": key(name, full)},
    )
    result = folder / EXECUTED / f"{name}.ipynb"
    result.parent.mkdir(parents=True, exist_ok=True)
    record(result).unlink(missing_ok=True)
    output = folder / "runs" / name.partition("_")[2]
    parameters = settings(name, full) | {"output": os.path.relpath(output, NOTEBOOKS)}
    output.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb", result, parameters, cwd=NOTEBOOKS, kernel_name="python3", progress_bar=False
    )
    seconds = time.perf_counter() - started
    took = {"seconds": round(seconds, 1), "processor_seconds": round(_processor_seconds() - before, 1)}
    record(result).write_text(json.dumps(keys | took) + "\n")
    return seconds


def _processor_seconds() -> float:
    """Return what the kernels that were started from here and have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def record(result: Path) -> Path:
    return result.with_suffix(".json")


def recorded(name: str, folder: Path) -> dict[str, object]:
    """Return what a notebook was run with last, and how long it took; nothing if it did not run to its end."""
    path = record(folder / EXECUTED / f"{name}.ipynb")
    return json.loads(path.read_text()) if path.is_file() else {}


def content(name: str) -> str:
    """Return a hash of a notebook's code: what was run with another has other outputs."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def key(name: str, full: bool = False) -> str:
    """Return a hash of all that a run depends on: the notebook's code, its settings, the library, stored results."""
    digest = hashlib.sha256(content(name).encode())
    digest.update(json.dumps(settings(name, full), sort_keys=True).encode())
    for path in _sources():
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from sorted((ROOT / "fpgmlab").rglob("*.py"))
    yield from sorted(path for path in (ROOT / "data" / "results").iterdir() if path.is_file())
