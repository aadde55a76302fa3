"""PyTorch, the whole network compiled by its own compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.runtime import Session, Source, Weighted
from fpgmlab.deployment.runtimes.torch_eager import TorchEager, torch_session


@dataclass(frozen=True)
class TorchCompiled(TorchEager):
    """Models compiled by ``torch.compile`` for the shapes of the example; it needs a C++ compiler."""

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        compiled = torch.compile(layer, dynamic=False)

        @torch.inference_mode()
        def run() -> object:
            return compiled(example)

        run()
        return run

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        if not isinstance(source, nn.Module):
            return super().open(source, example, threads)
        return torch_session(source, torch.compile(source, dynamic=False), example)
