"""PyTorch itself, an operation after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensors_in
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.runtime import Runtime, Session, Source, Weighted


@dataclass(frozen=True)
class TorchEager(Runtime):
    """Layers and models run by PyTorch, without gradients."""

    package: ClassVar[str] = "torch"

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        @torch.inference_mode()
        def run() -> object:
            return layer(example)

        return run

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        if not isinstance(source, nn.Module):
            raise ValueError(f"{self.package} runs models, no files: {str(source)!r}")
        return torch_session(source, source, example)

    @contextmanager
    def threads(self, count: int | None) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(before if count is None else count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def torch_session(model: nn.Module, run_by: Callable[..., object], example: Arguments) -> Session:
    """Return a session of a model, called as its example says, by itself or by what was compiled of it."""

    @torch.inference_mode()
    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        left = iter(inputs)
        given = example.map(lambda tensor: torch.from_numpy(next(left)))
        return [tensor.numpy() for tensor in tensors_in(run_by(*given.args, **given.kwargs))]

    return Session(run, sum(t.nbytes for t in {id(t): t for t in chain(model.parameters(), model.buffers())}.values()))
