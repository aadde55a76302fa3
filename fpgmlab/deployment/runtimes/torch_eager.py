"""PyTorch itself, an operation after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.deployment.runtimes.runtime import Runtime, Weighted


@dataclass(frozen=True)
class TorchEager(Runtime):
    """Layers run by PyTorch, without gradients."""

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        @torch.inference_mode()
        def run() -> object:
            return layer(example)

        return run

    @contextmanager
    def threads(self, count: int | None) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(before if count is None else count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
