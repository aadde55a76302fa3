"""What measuring a latency table asks of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Weighted = nn.Linear | _ConvNd  # the kinds of layers that are measured


class Runtime(Protocol):
    """What `fpgmlab.latency_table` asks of a runtime, on the CPU; subclass it, or write the same two methods.

    A new one is a file beside this one and an entry in `fpgmlab.deployment.runtimes.RUNTIMES`.
    """

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        """Return a function that runs a layer once on an example; all that is slow is done before.

        Parameters
        ----------
        layer : nn.Module
            A convolution, transposed or not, of one to three dimensions, padded with zeros, or a linear layer; with a
            bias, in eval mode.
        example : Tensor
            Its input; its shape is fixed.
        threads : int, optional
            Within one operation; the runtime chooses when left out.
        """
        ...

    def threads(self, count: int | None) -> AbstractContextManager[None]:
        """Hold around a measurement: here a runtime sets threads that are the same for all its layers."""
        return nullcontext()
