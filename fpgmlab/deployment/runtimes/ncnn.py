"""ncnn, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
from torch import Tensor

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.ncnn_layers import layer_files
from fpgmlab.deployment.runtimes.runtime import Runtime, Session, Source, Weighted

# Half precision in storage and arithmetic, which ncnn takes by itself where a processor has it.
HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


@dataclass(frozen=True)
class Ncnn(Runtime):
    """Layers and files run by ncnn in float32, one example at a time: its tensors have no batch."""

    package: ClassVar[str] = "ncnn"
    extra: ClassVar[str] = "ncnn"
    reads: ClassVar[tuple[str, ...]] = (".ncnn.param",)
    examples: ClassVar[int | None] = 1

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        self.awake()
        if len(example) != 1:
            raise ValueError(f"ncnn runs one example at a time; there are {len(example)}")
        text, weights = layer_files(layer)
        with TemporaryDirectory() as folder:
            param = Path(folder) / "layer.ncnn.param"
            param.write_text(text, encoding="utf-8")
            param.with_suffix(".bin").write_bytes(weights)
            run = _network(param, threads)
        arrays = [example.numpy()]
        return lambda: run(arrays)

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        path = Path(str(source))
        _check(path, [tuple(tensor.shape) for tensor in example.named.values()])
        return Session(_network(path, threads), path.stat().st_size + path.with_suffix(".bin").stat().st_size)


def _network(path: Path, threads: int | None) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return what runs the network of a file and the one with its weights beside it."""
    import ncnn

    net = ncnn.Net()
    for name in HALF:
        setattr(net.opt, name, False)
    net.opt.openmp_blocktime = 0
    if threads is not None:
        net.opt.num_threads = threads
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError(f"ncnn could not load {path.name} and the weights beside it")
    names, outputs = net.input_names(), net.output_names()

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        extractor = net.create_extractor()
        for name, array in zip(names, inputs, strict=True):
            extractor.input(name, ncnn.Mat(array[0]).clone())  # layers that work in place need memory of its own
        found = []
        for name in outputs:
            failed, mat = extractor.extract(name)
            if failed:
                raise RuntimeError(f"ncnn could not compute {name}")
            found.append(np.array(mat)[None])
        return found

    return run


def _check(path: Path, shapes: list[tuple[int, ...]]) -> None:
    """Raise an error where the inputs are not those that a file names: ncnn itself does not look at their sizes."""
    told = input_shapes(path)
    if None in told:
        raise ValueError(
            f"{path.name} does not say the shape of its input (0=width 1=height 2=channels of its Input layer), and "
            "ncnn does not check it: write it by fpgmlab.export_ncnn"
        )
    if told != [shape[1:] for shape in shapes] or any(shape[0] != 1 for shape in shapes):
        raise ValueError(f"the file takes {[(1, *s) for s in told if s]}; the example is {shapes}")


def input_shapes(path: Path) -> list[tuple[int, ...] | None]:
    """Return the shape of each input of a file, without the batch; None where it is not told."""
    found: list[tuple[int, ...] | None] = []
    for line in path.read_text(encoding="utf-8").splitlines()[2:]:
        kind, _, _, _, _, *options = line.split()
        if kind == "Input":
            sizes = dict(option.split("=") for option in options)
            found.append(tuple(int(sizes[key]) for key in ("2", "1", "0") if key in sizes) or None)
    return found
