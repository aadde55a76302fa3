"""Export to ncnn, by its converter from PyTorch, pnnx."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from fpgmlab.common.files import atomic_path
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.converters.report import ConversionReport, checked, ending, in_float32, needed
from fpgmlab.deployment.runtimes.ncnn import HALF, input_shapes

# Types of numbers in pnnx's words.
_TYPES = {torch.float32: "f32", torch.int64: "i64", torch.int32: "i32", torch.uint8: "u8", torch.int8: "i8"}

# What ncnn cannot do it may only show by ending the process: the first run is another one's.
_TRIAL = """
import os, sys, ncnn, numpy
net = ncnn.Net()
for name in sys.argv[3].split(","):
    setattr(net.opt, name, False)
assert not net.load_param(sys.argv[1]) and not net.load_model(sys.argv[2])
extractor = net.create_extractor()
for name, shape in zip(net.input_names(), sys.argv[4:]):
    array = numpy.ones([int(size) for size in shape.split(",")], "float32")  # Mat does not keep it alive
    extractor.input(name, ncnn.Mat(array).clone())
for name in net.output_names():
    assert not extractor.extract(name)[0]
os._exit(0)  # an extractor must go before its network, which Python does not know
"""


def export_ncnn(
    model: nn.Module, example_input: object, path: str | os.PathLike[str], *, tolerance: float = 1e-4
) -> ConversionReport:
    """Write a model as ``NAME.ncnn.param`` and ``NAME.ncnn.bin`` of ncnn, its weights in float32.

    The converter would halve the weights' precision if it were not told otherwise. The shapes are those of the example,
    one example at a time, and are noted in the file.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    example_input : Tensor, tuple or dict
        A real input, (batch, ...); its first example is taken. The check uses it and a random one.
    path : path-like
        ``NAME.ncnn.param``; both files are written whole, after the check, or not at all.
    tolerance : float
        Largest relative error that passes.

    Returns
    -------
    ConversionReport

    Raises
    ------
    ImportError
        Without ncnn and pnnx: install ``fpgmlab[ncnn]``.
    RuntimeError
        When the model cannot be converted, with the operations that ncnn does not have, or the result differs by more
        than ``tolerance``.
    ValueError
        For a path with another ending.
    """
    target = ending(path, ".ncnn.param")
    needed("ncnn")
    model, given = in_float32(model, example_input)
    example = given.take(1)
    names = target, target.with_suffix(".bin")
    with TemporaryDirectory() as folder, atomic_path(names[0]) as param, atomic_path(names[1]) as weights:
        files = _converted(model, example, Path(folder))
        _try(*files)
        report = checked("ncnn", model, example, files, names, tolerance)
        shutil.move(files[0], param)
        shutil.move(files[1], weights)
    return report


def _converted(model: nn.Module, example: Arguments, folder: Path) -> tuple[Path, Path]:
    """Return the files that pnnx makes of a model; it also writes others."""
    try:
        from pnnx import EXEC_PATH
    except ImportError as error:
        raise ImportError("pnnx is not installed: pip install 'fpgmlab[ncnn]'") from error
    traced = folder / "model.pt"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that traces are of yesterday, and what they fix; pnnx reads no other
        kwargs = dict(example.kwargs)
        torch.jit.trace(
            model,
            None if kwargs else example.args,
            example_kwarg_inputs=kwargs or None,
            check_trace=False,
            strict=False,
        ).save(str(traced))
    shapes = ",".join(
        f"[{','.join(map(str, tensor.shape))}]{_TYPES[tensor.dtype]}" for tensor in example.named.values()
    )
    param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    done = subprocess.run(
        [EXEC_PATH, traced, f"inputshape={shapes}", "fp16=0"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode or not param.is_file() or not weights.is_file():
        told = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"pnnx ended with {done.returncode}: {told[-1] if told else 'without a word'}")
    param.write_text(_noted(param.read_text(encoding="utf-8"), example), encoding="utf-8")
    return param, weights


def _try(param: Path, weights: Path) -> None:
    """Run a network once in a process of its own; raise an error where that does not end well."""
    shapes = [",".join(map(str, shape or ())) for shape in input_shapes(param)]
    command = [sys.executable, "-c", _TRIAL, str(param), str(weights), ",".join(HALF), *shapes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else (done.stderr.strip().splitlines() or ["?"])[-1]
        raise RuntimeError(f"ncnn cannot run what pnnx made of the model: {how}")


def _noted(text: str, example: Arguments) -> str:
    """Return ncnn's text of a network with the sizes of its inputs; raise an error for what ncnn cannot do."""
    magic, counts, *lines = text.splitlines()
    shapes = [tuple(tensor.shape[1:]) for tensor in example.named.values()]
    # What pnnx could not translate stays in its own words, such as pnnx.Expression, aten::roll, F.pad.
    lacking = sorted({kind for line in lines if not (kind := line.split()[0]).isalnum()} - {"Input"})
    if lacking:
        raise RuntimeError(f"ncnn has no {', '.join(lacking)}")
    for number, line in enumerate(lines):
        kind, _, _, _, name, *_ = line.split()
        if kind == "Input":
            shape = shapes[int(name.removeprefix("in"))]
            sizes = " ".join(f"{key}={size}" for key, size in zip((0, 1, 2), reversed(shape), strict=False))
            lines[number] = f"{line.rstrip()} {sizes}"
    return "\n".join([magic, counts, *lines, ""])
