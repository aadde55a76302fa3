"""Which operations of a recording are one: a convolution with its batch norm, a sum and an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from fpgmlab.sensitivity.replay.kernels import ACTIVATIONS, AFTER_SUM, Activation
from fpgmlab.sensitivity.replay.recording import Recording

aten = torch.ops.aten
_BATCH_NORMS = {  # op: whether it has a "training" flag
    aten.native_batch_norm.default: True,
    aten.cudnn_batch_norm.default: True,
    aten.miopen_batch_norm.default: True,
    aten._native_batch_norm_legit_no_training.default: False,
}


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


def folded(recording: Recording, chain: Chain) -> tuple[Tensor, Tensor | None]:
    """Return a chain's weight and bias with the batch norm in them."""
    of = operands(chain.convolution)
    weight, bias = recording.tensors[of.weight], None if of.bias is None else recording.tensors[of.bias]
    if chain.norm is None:
        return weight, bias
    _, *given = chain.norm.args[:5]
    gamma, beta, mean, variance = (None if arg is None else recording.tensors[_node(arg)] for arg in given)
    epsilon = chain.norm.args[-1]
    if mean is None or variance is None or not isinstance(epsilon, (int, float)):
        raise TypeError(f"a batch norm must have a mean, a variance and an epsilon; got {chain.norm.args}")
    scale = (1 if gamma is None else gamma) / (variance + epsilon).sqrt()
    shift = ((0 if bias is None else bias) - mean) * scale + (0 if beta is None else beta)
    return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), shift


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
