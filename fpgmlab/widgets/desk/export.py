"""A folder with a pruned network and all that belongs to it, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fpgmlab.deployment.export import export_onnx
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.models.saving import save
from fpgmlab.widgets.desk.job import Made
from fpgmlab.widgets.desk.report import report_json, report_page

if TYPE_CHECKING:
    import pandas as pd

FILES = ("model.safetensors", "model.onnx", "plan.json", "report.json", "report.md")


def write_folder(
    folder: str | os.PathLike[str],
    graph: ChannelGraph,
    made: Made,
    frame: pd.DataFrame,
    check_inputs: Sequence[Tensor] = (),
    tell: Callable[[str, int, int], None] = lambda words, step, steps: None,
) -> tuple[str, ...]:
    """Write a pruned network as safetensors and ONNX, with its plan and a report.

    Parameters
    ----------
    folder : path-like
        Made when it is missing. Files of the same names are replaced, others stay.
    graph : ChannelGraph
        Of the unpruned network; its example input is the export's.
    made : Made
    frame : pandas.DataFrame
        See `report_frame`.
    check_inputs : sequence of Tensor
        As in `fpgmlab.export_onnx`.
    tell : callable
        Called before each step with words, its number from 0, and how many there are; may raise an exception.

    Returns
    -------
    tuple of str
        The paths of the files.

    Raises
    ------
    OSError
        When the folder cannot be written.
    TypeError
        For a network that takes other than one tensor, which cannot be exported.
    RuntimeError, ImportError
        As `fpgmlab.export_onnx`.
    """
    example = graph.example_input
    if not isinstance(example, Tensor):
        raise TypeError(f"only a network of one tensor can be exported; this was traced with {type(example).__name__}")
    with _whole(Path(folder)) as new:
        tell("Writing ONNX, and comparing it in ONNX Runtime", 0, 3)
        found = asdict(export_onnx(made.model, example, new / "model.onnx", check_inputs=check_inputs))
        found |= {"path": "model.onnx", "outputs": _outputs(new / "model.onnx")}
        report = report_json(graph, made, frame, found)
        tell("Writing the weights", 1, 3)
        save(made.model, new / "model.safetensors", notes=report)
        tell("Writing the report", 2, 3)
        made.plan.to_json(new / "plan.json")
        (new / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (new / "report.md").write_text(report_page(report), encoding="utf-8")
    return tuple(os.fspath(Path(folder) / name) for name in FILES)


def _outputs(path: Path) -> dict[str, list[int | str]]:
    """Return the shape of each output of a file by its name; a size that is free has a name of its own."""
    import onnx

    given = onnx.load(path, load_external_data=False).graph.output
    shapes = {each.name: each.type.tensor_type.shape.dim for each in given}
    return {name: [size.dim_param or size.dim_value for size in shape] for name, shape in shapes.items()}


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside another one; on success its files move up, on any failure they go."""
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (folder / name).is_dir():
                raise IsADirectoryError(f"{name!r} is a folder there")
        new = Path(tempfile.mkdtemp(prefix=".export.", dir=folder))
    except OSError as error:
        raise type(error)(
            f"cannot write to the folder {str(folder)!r}: {error.strerror or error}. Choose one that you may write to."
        ) from error
    try:
        yield new
        for name in FILES:
            os.replace(new / name, folder / name)
        there = True
    finally:
        shutil.rmtree(new)
        if not there:
            folder.rmdir()
