"""A layer of a channel graph: which channels it takes and makes, and where its tensors have them.

All that differs between kinds of layers after tracing is here; what each does while tracing is in
`fpgmlab.graph.tracing.layers` and `fpgmlab.graph.tracing.norms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from fpgmlab.common.modules import full_name, split_name, tensor_at
from fpgmlab.graph.layer_rule import LayerRule

REFITTED = frozenset({"conv", "conv_transpose", "linear", "in_projection"})  # of which repair knows the equations
PRODUCERS = frozenset({"conv", "conv_transpose", "linear", "own"})
READERS = PRODUCERS | REFITTED  # what reads channels through weights of its own
MAKERS = PRODUCERS | {"computed"}  # what makes channels, whether it can be cut or not
UNCUT = frozenset({"number", "computed", "by_channel"})  # no tensor of theirs is cut


class Axes(NamedTuple):
    """Along which dimension of a tensor its layer's channels lie; None where they do not.

    Of a layer with several groups, dimension 0 has those of all groups, dimension 1 those of one.
    """

    inputs: int | None = None
    outputs: int | None = None


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that a group touches. Channels are numbered over all groups; -1 is a channel that no group has.

    ``kind``, ``positions``, ``dim``, ``numbers``, ``by_content`` and ``rule`` are as in
    `fpgmlab.graph.tracing.layers.TracedLayer`.
    """

    name: str
    kind: str
    inputs: np.ndarray  # (channels in,)
    outputs: np.ndarray  # (channels out,)
    groups: int
    positions: int
    dim: int
    depthwise: bool
    numbers: int = 0
    by_content: bool = False
    rule: LayerRule | None = None

    @property
    def weight(self) -> str:
        """The dotted name of the weight through which one of torch's layers reads channels."""
        return self.full("in_proj_weight" if self.kind == "in_projection" else "weight")

    @property
    def transposed(self) -> bool:
        """Whether its weight has its inputs along the first dimension, as a transposed convolution's has."""
        return self.kind == "conv_transpose"

    @property
    def reading(self) -> tuple[str, ...]:
        """The dotted names of the tensors through which it reads channels; none of a depthwise convolution."""
        if self.kind not in READERS or self.depthwise:
            return ()
        return (self.weight,) if self.rule is None else tuple(map(self.full, self.rule.reading))

    def full(self, name: str) -> str:
        """Return the dotted name of one of its own tensors."""
        return full_name(self.name, name)

    def axes(self, name: str, tensor: Tensor) -> Axes:
        """Return where one of its tensors, by dotted name, has its channels."""
        if self.kind == "tensor":
            return Axes(outputs=self.dim)
        if self.rule is not None:
            own = name.removeprefix(f"{self.name}.") if self.name else name
            outputs = self.rule.axis(own, "out")
            return Axes(self.rule.axis(own, "in"), self.rule.axis(own, "each") if outputs is None else outputs)
        if self.kind in READERS and name == self.weight:
            if self.depthwise:
                # (channels, multiplier, ...) or (channels * multiplier, 1, ...): rows follow their input channel.
                return Axes(inputs=0) if self.transposed else Axes(outputs=0)
            return Axes(0, 1) if self.transposed else Axes(1, 0)
        return Axes(outputs=0) if tensor.ndim == 1 and len(tensor) == len(self.outputs) else Axes()

    def tensors(self, modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor, Axes]]:
        """Yield (dotted name, tensor, axes) for each parameter and buffer of its own that has channels.

        Parameters
        ----------
        modules : mapping of str to nn.Module
            All of a network with the graph's names.
        """
        if self.kind in UNCUT:
            return
        if self.kind == "tensor":
            names = [self.name]
        elif self.rule is not None:
            names = [self.full(name) for name in self.rule.tensors]
        else:
            own = modules[self.name]
            names = [self.full(n) for n, _ in (*own.named_parameters(recurse=False), *own.named_buffers(recurse=False))]
        for name in names:
            tensor = tensor_at(modules, name)
            if (axes := self.axes(name, tensor)) != Axes():
                yield name, tensor, axes

    def holding(self) -> Iterator[str]:
        """Yield the modules whose own records of their channels change when it is cut, by name."""
        if self.kind == "tensor":
            yield split_name(self.name)[0]
            return
        yield self.name
        if self.rule is not None:
            yield from dict.fromkeys(split_name(self.full(name))[0] for name in self.rule.tensors)
