"""A model's computation as a flat list of operations, free of modules, views of mutated tensors and Python."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import TreeSpec, tree_flatten

from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import eval_mode


class NotRecordableError(RuntimeError):
    """The model's computation cannot be written down as a fixed list of operations."""


@dataclass(frozen=True, eq=False)
class Recording:
    """The operations of one forward pass, for inputs of one shape.

    Attributes
    ----------
    graph : torch.fx.Graph
        Placeholders, tensors (``get_attr``) and calls of operators without side effects.
    tensors : dict of fx.Node to Tensor
        The model's parameters and buffers and all other constants, by the node that stands for them.
    names : dict of fx.Node to str
        The dotted names of parameters and buffers.
    inputs : tuple of fx.Node
        The tensors among the model's inputs, in order.
    outputs : tuple of fx.Node or object
        What is no tensor is as the model gave it.
    structure : TreeSpec
        Of the outputs.
    shapes : dict of fx.Node to tuple of int
        Of what each operation gives, where that is one tensor.
    """

    graph: fx.Graph
    tensors: dict[fx.Node, Tensor]
    names: dict[fx.Node, str]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[object, ...]
    structure: TreeSpec
    shapes: dict[fx.Node, tuple[int, ...]]


def record(model: nn.Module, inputs: object) -> Recording:
    """Write down what a model does in eval mode for inputs of this shape.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    inputs : Tensor, tuple or dict
        As for `fpgmlab.trace`.

    Raises
    ------
    NotRecordableError
        When the control flow depends on values, the model's state changes, or torch cannot follow it.
    """
    state = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    args, kwargs = (
        ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple) else (inputs,), {})
    )
    found: list[TreeSpec] = []

    def forward(tensors: tuple[Tensor, ...], args: tuple, kwargs: dict) -> list[Tensor]:
        values = dict(zip(state, tensors, strict=True))
        leaves, spec = tree_flatten(functional_call(model, values, args, kwargs))
        found[:] = [spec]
        return leaves

    module = _followed(model, functionalize(forward), (tuple(state.values()), args, kwargs))
    graph = module.graph
    if any(node.target is torch.ops.aten.copy_.default for node in graph.nodes):
        raise NotRecordableError(f"{type(model).__name__} writes to its own state in eval mode")
    if any(node.target is torch.ops.aten.as_strided.default for node in graph.nodes):
        raise NotRecordableError(f"{type(model).__name__} relies on how its tensors lie in memory")
    calls = [node.target for node in graph.nodes if node.op == "call_function"]
    if not all(isinstance(target, OpOverload) or target is operator.getitem for target in calls):
        raise NotRecordableError(f"{type(model).__name__} makes objects of its own")
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    tensors = dict(zip(placeholders, state.values(), strict=False))
    names = dict(zip(placeholders, state, strict=False))
    tensors |= {node: getattr(module, node.target) for node in graph.nodes if node.op == "get_attr"}
    (output,) = (node for node in graph.nodes if node.op == "output")
    outputs = tuple(output.args[0])
    shapes = {n: tuple(n.meta["val"].shape) for n in graph.nodes if isinstance(n.meta.get("val"), Tensor)}
    for node in graph.nodes:
        node.meta.clear()  # else every activation of this pass would be kept alive
    leaves = tree_flatten((args, kwargs))[0]
    given = [n for n, leaf in zip(placeholders[len(state) :], leaves, strict=True) if isinstance(leaf, Tensor)]
    return Recording(graph, tensors, names, tuple(given), outputs, found[0], shapes)


def _followed(model: nn.Module, forward: Callable, given: tuple) -> fx.GraphModule:
    """Follow a model without computing anything; where that fails (tensors that are no parameters), computing all."""
    for mode in ("fake", "real"):
        try:
            with torch.no_grad(), eval_mode(model), left_as_it_is(model):
                return make_fx(forward, tracing_mode=mode)(*given)
        except Exception as error:
            failed = error
    raise NotRecordableError(f"{type(model).__name__}: {str(failed).partition(chr(10))[0]}") from failed
