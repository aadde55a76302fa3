"""What measuring asks of a runtime, and what it gives: a session that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.deployment.arguments import Arguments

Weighted = nn.Linear | _ConvNd  # the kinds of layers that are measured
Source = nn.Module | Path


@dataclass(frozen=True)
class Session:
    """A network that is ready to run.

    Attributes
    ----------
    run : callable
        Takes the inputs, arrays in the order of the example, and returns the outputs as arrays.
    bytes : int
        What the network takes on disk; of a module its parameters and buffers.
    """

    run: Callable[[Sequence[np.ndarray]], list[np.ndarray]]
    bytes: int


class Runtime:
    """What measuring asks of a runtime, on the CPU; subclass it, and write what you need of its methods.

    `fpgmlab.latency_table` needs ``ready``, `fpgmlab.benchmark` ``open``. A new one is a file beside this one and an
    entry in `fpgmlab.deployment.runtimes.RUNTIMES`.

    Attributes
    ----------
    package : str
        What it is installed as; of what has its own name on the package index.
    extra : str
        The extra of fpgmlab that installs it.
    reads : tuple of str
        The endings of files that it opens, the one that models are written in first; ``()`` for models as they are.
    examples : int, optional
        How many examples it can run at once; None for any number.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[int | None] = None

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        """Return a function that runs a layer once on an example; all that is slow is done before.

        Parameters
        ----------
        layer : nn.Module
            A convolution, transposed or not, of one to three dimensions, padded with zeros, or a linear layer; with a
            bias, in eval mode.
        example : Tensor, (batch, ...)
            Its input; its shape is fixed.
        threads : int, optional
            Within one operation; the runtime chooses when left out.
        """
        raise NotImplementedError(f"{type(self).__name__} does not run single layers")

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        """Return a session in float32, or in what a file's numbers are; it keeps no core busy between two runs.

        Parameters
        ----------
        source : nn.Module or Path
            A model in eval mode where ``reads`` is empty, else a file with one of these endings.
        example : Arguments
            Inputs of the shapes to come.
        threads : int, optional
            Within one operation; the runtime chooses when left out.
        """
        raise NotImplementedError(f"{type(self).__name__} runs single layers only")

    def threads(self, count: int | None) -> AbstractContextManager[None]:
        """Return what is held around a measurement: here a runtime sets the count of threads of all its sessions."""
        return nullcontext()

    def awake(self) -> str:
        """Return the version, the runtime loaded.

        Raises
        ------
        ImportError
            Where it is not installed, with the extra that installs it.
        """
        if not self.package:
            return ""
        try:
            import_module(self.package)
        except ImportError as error:
            raise ImportError(f"{self.package} is not installed: pip install 'fpgmlab[{self.extra}]'") from error
        return version(self.package)


def order_of(names: Sequence[str], example: Arguments) -> list[int]:
    """Return which inputs a file takes, by number: by its names, or where those are others, one by one.

    Raises
    ------
    ValueError
        Where neither will do.
    """
    given = list(example.named)
    if set(names) <= set(given):
        return [given.index(name) for name in names]
    if len(names) == len(given):
        return list(range(len(names)))
    raise ValueError(f"the file takes {', '.join(names)}; the example has {', '.join(given)}")
