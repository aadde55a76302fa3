"""Which operations of a recording are one: a convolution with its batch norm, a sum and an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from fpgmlab.sensitivity.replay.kernels import ACTIVATIONS, AFTER_SUM, Activation, Convolution
from fpgmlab.sensitivity.replay.recording import Recording

aten = torch.ops.aten
_BATCH_NORMS = {  # op: whether it has a "training" flag
    aten.native_batch_norm.default: True,
    aten.cudnn_batch_norm.default: True,
    aten.miopen_batch_norm.default: True,
    aten._native_batch_norm_legit_no_training.default: False,
}


@dataclass(frozen=True, eq=False)
class Fold:
    """What a batch norm makes of the weight and bias of the convolution before it.

    Attributes
    ----------
    scale : Tensor or None, (filters,)
        None without a batch norm.
    shift : Tensor or None, (filters,)
        The bias, with the batch norm in it.
    """

    scale: Tensor | None
    shift: Tensor | None

    def weight(self, weight: Tensor) -> Tensor:
        """Return a weight (filters, ...) with the batch norm in it."""
        return weight if self.scale is None else weight * self.scale.reshape(-1, *(1,) * (weight.ndim - 1))

    def bias(self, offset: Tensor | None) -> Tensor | None:
        """Return the bias with the batch norm in it, when something is added to the convolution."""
        if offset is None:
            return self.shift
        moved = offset if self.scale is None else self.scale * offset
        return moved if self.shift is None else self.shift + moved


@dataclass(frozen=True, eq=False)
class Folded:
    """A convolution whose weight is its own: how it is computed, for inputs of a size, in a type."""

    convolution: Convolution
    fold: Fold
    size: tuple[int, ...]
    dtype: torch.dtype

    def packed(self, weight: Tensor, offset: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias, with the batch norm in them, as the kernel likes them.

        Parameters
        ----------
        weight : Tensor
            Of the convolution itself.
        offset : Tensor or None, (filters,)
            What is added to its output.
        """
        weight, bias = converted(self.fold.weight(weight), self.dtype), self.fold.bias(offset)
        return self.convolution.pack(weight, None if bias is None else converted(bias, self.dtype), self.size)


def converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as it is computed with: channels last, in a type unless it holds whole numbers."""
    if tensor.ndim == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


class Operands(NamedTuple):
    """What a convolution is of."""

    x: fx.Node
    weight: fx.Node
    bias: fx.Node | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True, eq=False)
class Chain:
    """A convolution and what follows it alone.

    Attributes
    ----------
    convolution : fx.Node
    norm : fx.Node or None
    other : fx.Node or None
        What is added to the (normalised) convolution.
    activation : Activation or None
    last : fx.Node
        Its value is what the chain gives.
    inner : frozenset of fx.Node
        All others.
    """

    convolution: fx.Node
    norm: fx.Node | None
    other: fx.Node | None
    activation: Activation | None
    last: fx.Node
    inner: frozenset[fx.Node]


def chains(recording: Recording) -> dict[fx.Node, Chain]:
    """Return the chain of every convolution (transposed ones have none), by its last node."""
    recording.graph.eliminate_dead_code()
    taken: set[fx.Node] = set()
    found = {}
    for node in recording.graph.nodes:
        if node.target is not aten.convolution.default or node.args[6]:
            continue
        chain = _chain(node, recording, taken)
        taken |= {chain.last, *chain.inner}
        found[chain.last] = chain
    return found


def operands(convolution: fx.Node) -> Operands:
    """Return the arguments of a recorded convolution by name."""
    x, weight, bias, stride, padding, dilation, _, _, groups = convolution.args
    inputs = (_node(x), _node(weight), None if bias is None else _node(bias))
    (parts,) = _whole_numbers([groups])
    return Operands(*inputs, _whole_numbers(stride), _whole_numbers(padding), _whole_numbers(dilation), parts)


def fold(recording: Recording, chain: Chain) -> Fold:
    """Return what a chain's batch norm makes of its convolution's weight and bias."""
    of = operands(chain.convolution)
    bias = None if of.bias is None else recording.tensors[of.bias]
    if chain.norm is None:
        return Fold(None, bias)
    _, *given = chain.norm.args[:5]
    gamma, beta, mean, variance = (None if arg is None else recording.tensors[_node(arg)] for arg in given)
    epsilon = chain.norm.args[-1]
    if mean is None or variance is None or not isinstance(epsilon, (int, float)):
        raise TypeError(f"a batch norm must have a mean, a variance and an epsilon; got {chain.norm.args}")
    scale = (1 if gamma is None else gamma) / (variance + epsilon).sqrt()
    return Fold(scale, ((0 if bias is None else bias) - mean) * scale + (0 if beta is None else beta))


def _chain(convolution: fx.Node, recording: Recording, taken: set[fx.Node]) -> Chain:
    nodes, norm, other, activation = [convolution], None, None, None
    fixed = all(arg is None or arg in recording.tensors for arg in convolution.args[1:3])
    following = _only_user(nodes[-1])
    if fixed and following is not None and _folds(following, nodes[-1], recording):
        norm = following
        (value,) = norm.users
        nodes += [norm, value]
        following = _only_user(nodes[-1])
    if following is not None and following not in taken and _adds(following, recording):
        other = next(arg for arg in following.all_input_nodes if arg is not nodes[-1])
        nodes.append(following)
        following = _only_user(nodes[-1])
    allowed = ACTIVATIONS if other is None else AFTER_SUM
    if following is not None and following.target in allowed and following.args[0] is nodes[-1]:
        activation = Activation(following.target, tuple(following.args[1:]), tuple(following.kwargs.items()))
        nodes.append(following)
    return Chain(convolution, norm, other, activation, nodes[-1], frozenset(nodes[:-1]))


def _node(value: object) -> fx.Node:
    if not isinstance(value, fx.Node):
        raise TypeError(f"a recorded operation must work on recorded values; got {value!r}")
    return value


def _whole_numbers(values: object) -> tuple[int, ...]:
    found = tuple(values) if isinstance(values, (list, tuple)) else (None,)
    if not all(isinstance(value, int) for value in found):
        raise TypeError(f"a recorded operation must have whole numbers as its options; got {values!r}")
    return found


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _folds(norm: fx.Node, value: fx.Node, recording: Recording) -> bool:
    if norm.target not in _BATCH_NORMS or norm.args[0] is not value or (_BATCH_NORMS[norm.target] and norm.args[5]):
        return False
    if any(arg is not None and arg not in recording.tensors for arg in norm.args[1:5]):
        return False
    return len(norm.users) == 1  # its first value; the others are statistics of training


def _adds(node: fx.Node, recording: Recording) -> bool:
    if node.target is not aten.add.Tensor or node.kwargs or len(set(node.args)) != 2:
        return False
    shapes = {recording.shapes.get(arg) for arg in node.args if isinstance(arg, fx.Node)}
    return len(node.all_input_nodes) == 2 and len(shapes) == 1 and None not in shapes
