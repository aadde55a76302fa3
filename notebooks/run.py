#!/usr/bin/env python
"""Run a notebook headless: ``python notebooks/run.py 00_quickstart [-p name value] ...``.

Paths among the values start from where this is called. The executed notebook goes to ``outputs/<name>/`` (without the
number), beside what the notebook itself writes there. The last line is the summary of its ``report.json``;
notes that belong to it stand above.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", help="its name without ending, such as 00_quickstart")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args()
    source = ROOT / "notebooks" / f"{options.notebook}.ipynb"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb")))
        raise SystemExit(f"no notebook {options.notebook!r}; there are: {known}")
    _check_environment()
    parameters = {name: _value(text) for name, text in options.parameter}
    known = names_in(source)
    if unknown := sorted(set(parameters) - set(known)):
        raise SystemExit(f"{source.name} has no parameter {', '.join(unknown)}; there are: {', '.join(known)}")
    output = Path(parameters.get("output", ROOT / "outputs" / source.stem.partition("_")[2])).absolute()
    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    _execute(source, output / source.name, {**parameters, "output": str(output)})
    report = output / "report.json"
    summary = json.loads(report.read_text()).get("summary") if report.is_file() else None
    told, notes = (summary or "").splitlines()[:1], (summary or "").splitlines()[1:]
    print(*notes, sep="\n", end="\n" if notes else "")
    print("; ".join([*told, f"files in {output}", f"{time.perf_counter() - started:.0f} s"]))


def _check_environment() -> None:
    """Go on in ``.venv``, where `make` has put all that this needs, if it is not here; or say how to get it."""
    if find_spec("papermill"):
        return
    python = ROOT / ".venv" / "bin" / "python"
    if python.is_file() and Path(sys.prefix) != ROOT / ".venv":
        os.execv(python, [str(python), *sys.argv])
    raise SystemExit(f"{sys.executable} has no papermill: run 'make venv' in {ROOT}, or pip install 'fpgmlab[lab]'")


def _execute(source: Path, target: Path, parameters: Mapping[str, object]) -> None:
    """Run a notebook in a kernel that starts from here, with a bar that tells of the bars of its cells."""
    import papermill  # takes a second, which who mistypes a name need not wait
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class Client(PapermillNotebookClient):
        def process_message(self, message: dict[str, Any], *place: Any) -> Any:
            output = super().process_message(message, *place)
            begins = message["msg_type"] == "execute_input"  # a cell
            found = "" if begins else bar_text(self.widget_state, message["content"].get("comm_id"))
            if found is not None and self.nb_man.pbar and sys.stderr.isatty():
                self.nb_man.pbar.set_postfix_str(found)
            return output

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: object) -> None:
            Client(nb_man, kernel_name=kernel_name, startup_timeout=300).execute()

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it looks for names in lines of one name only
    papermill_engines.register("bars", Engine)
    papermill.execute_notebook(
        source, target, parameters=dict(parameters), engine_name="bars", kernel_name="python3", cwd=os.getcwd()
    )


def names_in(notebook: Path) -> list[str]:
    """Return the names of a notebook's parameters."""
    cells = json.loads(notebook.read_text())["cells"]
    cell = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    targets = (node for node in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(node, ast.Name))
    return list(dict.fromkeys(node.id for node in targets if isinstance(node.ctx, ast.Store)))


def bar_text(widgets: Mapping[str, Mapping[str, Any]], identity: str | None) -> str | None:
    """Return what stands before a progress bar of tqdm, such as ``"fit: 40%"``; None for any other widget."""
    if identity is None or widgets.get(identity, {}).get("_model_name") != "FloatProgressModel":
        return None
    boxes = (box.get("children") or [] for box in widgets.values())
    box = next((children for children in boxes if f"IPY_MODEL_{identity}" in children), [""])
    said = widgets.get(box[0].removeprefix("IPY_MODEL_"), {}).get("value")
    return " ".join(said.split()) if said else None


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
