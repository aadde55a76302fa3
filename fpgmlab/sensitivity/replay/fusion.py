"""Which operations of a recording are one: a convolution with its batch norm, a sum and an activation."""

from __future__ import annotations

from dataclasses import dataclass

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


def folded(recording: Recording, chain: Chain) -> tuple[Tensor, Tensor | None]:
    """Return a chain's weight and bias with the batch norm in them."""
    constant = recording.tensors
    weight, bias = constant[chain.convolution.args[1]], constant.get(chain.convolution.args[2])
    if chain.norm is None:
        return weight, bias
    _, gamma, beta, mean, variance, *_ = chain.norm.args
    deviation = (constant[variance] + chain.norm.args[-1]).sqrt()
    scale = (constant[gamma] if gamma is not None else 1) / deviation
    shift = (bias if bias is not None else 0) - constant[mean]
    shift = shift * scale + (constant[beta] if beta is not None else 0)
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
        other = next(arg for arg in following.args if arg is not nodes[-1])
        nodes.append(following)
        following = _only_user(nodes[-1])
    allowed = ACTIVATIONS if other is None else AFTER_SUM
    if following is not None and following.target in allowed and following.args[0] is nodes[-1]:
        activation = Activation(following.target, tuple(following.args[1:]), tuple(following.kwargs.items()))
        nodes.append(following)
    return Chain(convolution, norm, other, activation, nodes[-1], frozenset(nodes[:-1]))


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
