"""Convolutions of a network put in the place of plain ones, by a recipe that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, cast

from torch import nn

from fpgmlab.common.modules import split_name
from fpgmlab.errors import unknown
from fpgmlab.models.convolutions import ConvOptions, convolution


class Recipe(TypedDict, total=False):
    """What stands in a plain convolution's place: its kind, and what the plain one does not tell."""

    kind: str
    groups: int
    dilation: int


def put_convolutions(model: nn.Module, recipes: Mapping[str, Recipe]) -> None:
    """Replace convolutions of a network, in place: by name, each by another kind of the same shape.

    Raises
    ------
    ValueError
        With the layer's name: where there is no such convolution, and where it cannot be of that kind.
    """
    modules = dict(model.named_modules())
    for name, recipe in recipes.items():
        old = modules.get(name)
        if not isinstance(old, nn.Conv2d):
            raise ValueError(unknown("convolution", name, [n for n, m in modules.items() if isinstance(m, nn.Conv2d)]))
        try:
            new = _like(old, recipe)
        except ValueError as error:
            raise ValueError(f"{name!r} cannot be replaced: {error}") from error
        parent, key = split_name(name)
        setattr(modules[parent], key, new)


def _like(conv: nn.Conv2d, recipe: Recipe) -> nn.Module:
    """Return a new convolution that takes and gives what a plain one does, on its device and in its mode."""
    kernel_size, padding = cast("tuple[int, int]", conv.kernel_size), cast("tuple[int, int] | str", conv.padding)
    if (step := recipe.get("dilation", 1)) > 1 and not isinstance(padding, str):
        more = [(step - 1) * (size - 1) for size in kernel_size]
        if any(m % 2 for m in more):
            raise ValueError(f"with dilation {step} its kernel of {kernel_size} would give another size")
        padding = (padding[0] + more[0] // 2, padding[1] + more[1] // 2)
    options = {key: value for key, value in recipe.items() if key != "kind"}
    options |= {"stride": conv.stride, "padding": padding, "padding_mode": conv.padding_mode}
    options["bias"] = conv.bias is not None
    made = convolution(recipe["kind"], conv.in_channels, conv.out_channels, kernel_size, **cast("ConvOptions", options))
    return made.requires_grad_(conv.weight.requires_grad).to(conv.weight).train(conv.training)
