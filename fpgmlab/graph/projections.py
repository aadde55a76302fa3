"""torch's own attention as the layers that it is made of: three projections in, by one weight, and one out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.graph.layer import Layer

PARTS = ("queries", "keys", "values")  # a third of the rows each, in this order

Projections = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Sequence[Tensor]]


def names_of(layer: Layer) -> tuple[str, ...]:
    """Return the names by which a pass tells of a layer that reads through weights; see `fpgmlab.graph.following`.

    An attention's queries, keys and values may be made of different tensors: each is a linear layer.
    """
    if layer.kind != "in_projection":
        return (layer.name,)
    return tuple(f"{layer.name} ({part})".strip() for part in PARTS)


def place_of(modules: Mapping[str, nn.Module], name: str) -> tuple[nn.Module, int | None]:
    """Return a layer's module by one of `names_of`, and which of its `PARTS` it is."""
    owner, _, last = name.rpartition("(")
    if name not in modules and last[:-1] in PARTS:
        return modules[owner.rstrip()], PARTS.index(last[:-1])
    return modules[name], None


def own_tensors(modules: Mapping[str, nn.Module], name: str) -> dict[str, Tensor]:
    """Return the weight of a layer by one of `names_of`, and the bias that it may have: parameters, or their rows.

    Parameters
    ----------
    modules : mapping of str to nn.Module
    name : str

    Returns
    -------
    dict of str to Tensor
        By "weight" and "bias", (outputs, inputs, ...) and (outputs,).
    """
    module, part = place_of(modules, name)
    if part is None:
        found = {key: getattr(module, key, None) for key in ("weight", "bias")}
    else:
        whole = {key: getattr(module, f"in_proj_{key}") for key in ("weight", "bias")}
        found = {key: parts(tensor)[part] for key, tensor in whole.items() if tensor is not None}
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of an attention's tensor that are its `PARTS`', as views without gradients."""
    return tensor.detach().chunk(len(PARTS))


def in_its_layers(attention: FunctionType, project: Projections) -> Callable[..., Any]:
    """Return torch's ``multi_head_attention_forward`` as what calls plain functions, which a torch function mode sees.

    It is torch's own code with all its options, but for three of the names in it: it does not ask whether to hand
    itself over as a whole, its projections are made by ``project``, and the last one has its input in the shape of the
    query.

    Parameters
    ----------
    attention : function
        As a torch function mode is given it.
    project : callable
        Takes (query, key, value, weight, bias or None) and gives what torch's ``_in_projection_packed`` gives.

    Returns
    -------
    callable
        Takes and gives what ``attention`` does.
    """

    def run(query: Tensor, *args: Any, **kwargs: Any) -> Any:
        def last(made: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            shaped = made.view(len(query), -1, made.shape[-1])  # (positions, examples, channels)
            return F.linear(shaped, weight, bias).flatten(0, 1)

        own = {"has_torch_function": lambda _: False, "_in_projection_packed": project, "linear": last}
        names = {**attention.__globals__, **own}
        code = FunctionType(attention.__code__, names, argdefs=attention.__defaults__, closure=attention.__closure__)
        return code(query, *args, **kwargs)

    return run
