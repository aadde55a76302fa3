"""Which operations of an ONNX graph can be computed in INT8, and which had better not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What ONNX Runtime has kernels for in INT8, or what only moves numbers: a chain of them stays in INT8.
BETWEEN = frozenset({
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Relu",
    "Reshape", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
MOVING = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, eq=False)
class Layers:
    """The operations of a graph by name, and how they hang together.

    Attributes
    ----------
    nodes : dict
        In the order of the file; each has a name.
    constants : dict
        Shapes of tensors that are weights or other constants, by name.
    """

    nodes: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Layers:
        """Return those of a model; nodes without a name get one."""
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        return cls({node.name: node for node in model.graph.node}, constants)

    @cached_property
    def makers(self) -> Mapping[str, str]:
        """The node that makes each tensor."""
        return {tensor: name for name, node in self.nodes.items() for tensor in node.output}

    def before(self, name: str) -> Iterator[str]:
        """Yield the nodes that make what a node reads."""
        return (self.makers[tensor] for tensor in self.nodes[name].input if tensor in self.makers)

    @cached_property
    def weighted(self) -> tuple[str, ...]:
        """Convolutions and products with constant weights, without those that decode."""
        found = [
            name
            for name, node in self.nodes.items()
            if node.op_type in WEIGHTED and node.input[1] in self.constants and node.input[0] not in self.constants
        ]
        return tuple(name for name in found if not self._decodes(name))

    @cached_property
    def depthwise(self) -> tuple[str, ...]:
        """Convolutions whose channels are each for themselves."""
        return tuple(name for name in self.weighted if self._is_depthwise(name))

    @cached_property
    def between(self) -> tuple[str, ...]:
        """What lies behind one weighted layer and before another; what only comes after the last ones decodes."""
        after: set[str] = set()
        for name in self.nodes:  # files are in topological order
            if name in self.weighted or any(maker in after for maker in self.before(name)):
                after.add(name)
        ahead: set[str] = set()
        for name in reversed(list(self.nodes)):
            if name in self.weighted or name in ahead:
                ahead.update(self.before(name))
        both = after & ahead
        return tuple(name for name, node in self.nodes.items() if name in both and node.op_type in BETWEEN)

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """Sigmoids and products between the weighted layers: two lookups more in INT8 than a fused float kernel."""
        return tuple(name for name in self.between if self.nodes[name].op_type in {"Sigmoid", "Mul"})

    @cached_property
    def owned(self) -> Mapping[str, tuple[int, str]]:
        """The weighted layer that each node and each tensor follows, the last one, with its place in the file."""
        owner: dict[str, tuple[int, str]] = {}
        for place, name in enumerate(self.nodes):
            before = [owner[maker] for maker in self.before(name) if maker in owner]
            if name in self.weighted or before:
                owner[name] = (place, name) if name in self.weighted else max(before)
        return owner | {tensor: owner[maker] for tensor, maker in self.makers.items() if maker in owner}

    def in_int8(self, in_float: Collection[str]) -> list[str]:
        """Return the nodes to compute in INT8 when some layers are to stay in float.

        ONNX Runtime computes a float convolution in INT8 all the same, with one scale for all of its channels, when
        what it reads comes from INT8 and what it gives goes there. So what it reads is made in float as well: the
        activation before it, or where there is none, the convolution.
        """
        stay = set(in_float)
        waiting = [name for name in self.weighted if name in stay]
        while waiting:
            for maker in self.before(waiting.pop()):
                if maker not in stay:
                    stay.add(maker)
                    waiting += [maker] if maker in self.weighted else []
        used = {name for name in (*self.weighted, *self.between) if name not in stay}
        while alone := {name for name in used.intersection(self.between) if not self._is_amid(name, used)}:
            used -= alone
        return [name for name in self.nodes if name in used]

    def after(self, name: str) -> Iterator[str]:
        """Yield the nodes that read what a node makes."""
        return (reader for tensor in self.nodes[name].output for reader in self._readers.get(tensor, ()))

    @cached_property
    def _readers(self) -> Mapping[str, Sequence[str]]:
        readers: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            for tensor in node.input:
                readers.setdefault(tensor, []).append(name)
        return readers

    def _is_amid(self, name: str, used: Collection[str]) -> bool:
        """Tell whether something in INT8 is before and behind a node; else it would only be turned to and fro."""
        return any(n in used for n in self.before(name)) and any(n in used for n in self.after(name))

    def _decodes(self, name: str) -> bool:
        """Tell whether a convolution takes the mean of a distribution, as heads with distances in steps do."""
        waiting = list(self.before(name))
        while waiting:
            maker = self.nodes[waiting.pop()]
            if maker.op_type == "Softmax":
                return True
            if maker.op_type in MOVING:
                waiting.extend(self.before(maker.name))
        return False

    def _is_depthwise(self, name: str) -> bool:
        groups = next((a.i for a in self.nodes[name].attribute if a.name == "group"), 1)
        shape = self.constants[self.nodes[name].input[1]]
        return groups > 1 and shape[1] == 1
