"""ExecuTorch with the kernels of XNNPACK, on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import torch

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.runtime import Runtime, Session, Source


@dataclass(frozen=True)
class ExecuTorch(Runtime):
    """Programs run by ExecuTorch; all share its threads."""

    package: ClassVar[str] = "executorch"
    extra: ClassVar[str] = "executorch"
    reads: ClassVar[tuple[str, ...]] = (".pte",)

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        loader, _ = _loaded()
        path = Path(str(source))
        program = loader.Runtime.get().load_program(path)
        method = program.load_method("forward")
        shapes = [tuple(tensor.shape) for tensor in example.named.values()]
        fixed = [method.metadata.input_tensor_meta(i).sizes() for i in range(method.metadata.num_inputs())]
        if fixed != shapes:
            raise ValueError(f"the file takes {fixed}; the example is {shapes}")

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            assert program is not None  # a method does not keep the program alive that it reads from
            return [tensor.numpy() for tensor in method.execute([torch.from_numpy(array) for array in inputs])]

        return Session(run, path.stat().st_size)

    @contextmanager
    def threads(self, count: int | None) -> Iterator[None]:
        _, pool = _loaded()
        before = pool._threadpool_get_thread_count()
        if count is not None and count != before:
            pool._unsafe_reset_threadpool(count)
        try:
            yield
        finally:
            if pool._threadpool_get_thread_count() != before:
                pool._unsafe_reset_threadpool(before)

    def awake(self) -> str:
        found = super().awake()
        _loaded()
        return found


def _loaded() -> tuple[ModuleType, ModuleType]:
    """Return what loads programs, and what holds the threads; that both are experimental is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import executorch.runtime
        from executorch.extension.pybindings import portable_lib
    return executorch.runtime, portable_lib
