"""An exported file as a network that is called like any other."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.files import as_path
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes import onnx_session


class OnnxNetwork(nn.Module):
    """An ONNX file, run by ONNX Runtime on the CPU, as a module: `fpgmlab.evaluate` takes it like the model itself.

    It gives a tensor, or a tuple of several. A file of fixed batch size is run in parts of that size; what is missing
    to the last part is filled up with its first example, and left out of the answer.

    Parameters
    ----------
    path : path-like
    threads : int, optional
        Within one operation; ONNX Runtime chooses when left out.

    Raises
    ------
    TypeError
        For what is no path.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        super().__init__()
        self.path = os.fspath(as_path(path))
        self.session = onnx_session(path, threads)
        self.shapes = {entry.name: tuple(entry.shape) for entry in self.session.get_inputs()}

    @property
    def batch(self) -> int | None:
        """How many examples it takes at once; None where that is free."""
        first = next(iter(self.shapes.values()), ())
        return first[0] if first and isinstance(first[0], int) else None

    def forward(self, *args: object, **kwargs: object) -> Tensor | tuple[Tensor, ...]:
        """Return the outputs, (batch, ...) each, for what the exported model was called with: its args and kwargs."""
        parts = [self.session.run(None, feed) for feed in self.feeds(Arguments(args, kwargs))]
        count = Arguments(args, kwargs).batch
        outputs = []
        for pieces in zip(*parts, strict=True):
            whole = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
            padded = self.batch is not None and count is not None and len(pieces) * self.batch > count
            outputs.append(torch.from_numpy(whole[:count] if padded else whole))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def feeds(self, arguments: Arguments) -> list[dict[str, np.ndarray]]:
        """Return what the session takes for these arguments, (batch, ...) by name; parts where its batch is fixed.

        Raises
        ------
        ValueError
            For inputs of another number or shape than the file takes, with both.
        """
        named = {name: tensor.detach().cpu().numpy() for name, tensor in arguments.named.items()}
        if missing := [name for name in self.shapes if name not in named]:
            raise ValueError(f"{self.path!r} takes {list(self.shapes)}; {missing} is missing among {list(named)}")
        feed = {name: named[name] for name in self.shapes}
        for name, wanted in self.shapes.items():
            free = 0 if self.batch is None else 1  # the batch is told apart below
            given = feed[name].shape
            fits = len(given) == len(wanted) and all(
                not isinstance(w, int) or w == g for w, g in zip(wanted[free:], given[free:], strict=True)
            )
            if not fits:
                raise ValueError(f"{self.path!r} takes {name!r} as {_shown(wanted)}; got {given}")
        size, count = self.batch, arguments.batch
        if size is None or count is None or size == count:
            return [feed]
        parts = []
        for start in range(0, count, size):
            numbers = [i if i < count else start for i in range(start, start + size)]
            parts.append({name: array[numbers] if len(array) == count else array for name, array in feed.items()})
        return parts


def _shown(shape: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
