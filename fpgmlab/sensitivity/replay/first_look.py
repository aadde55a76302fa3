"""A first look at a model: whether it does the same each time, and how much remembering it would take."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.sensitivity.replay.replay import ReplayError


@dataclass(frozen=True, eq=False)
class Look:
    """What one forward pass shows.

    Attributes
    ----------
    outputs : object
        The model's.
    nbytes : int
        Of all modules' outputs.
    """

    outputs: object
    nbytes: int


@torch.no_grad()
def first_look(model: nn.Module, inputs: object) -> Look:
    """Run a model twice in eval mode and hold one run against the other; it is as before afterwards.

    Parameters
    ----------
    model : nn.Module
    inputs : Tensor, tuple or dict
        As for `fpgmlab.trace`; one sample is enough.

    Raises
    ------
    ReplayError
        When the runs differ in what they call or what comes out, with the module where.
    """
    with left_as_it_is(model), eval_mode(model):  # around both: what one leaves may change the other
        (first, outputs), (second, _) = (_calls(model, inputs) for _ in range(2))
    kind = type(model).__name__
    if [name for name, _, _ in first] != [name for name, _, _ in second]:
        a, b = next((a[0], b[0]) for a, b in zip(first, [*second, ("",)], strict=False) if a[0] != b[0])
        raise ReplayError(
            f"{kind} does not call the same modules twice: {a!r}, then {b!r} in its place. A sweep needs a fixed "
            "control flow in eval mode."
        )
    for (name, given, made), (_, given_again, made_again) in zip(first, second, strict=True):
        if _same(given, given_again) and not _same(made, made_again):
            where = f"module {name!r}" if name else "the model's own code"
            raise ReplayError(
                f"{kind} gives different outputs for the same inputs in eval mode: {where} is random or keeps a state "
                "between calls (dropout that does not look at self.training?). A sweep needs the same each time."
            )
    return Look(outputs, sum(tensor.nbytes for _, _, made in first for tensor in made))


def _calls(model: nn.Module, inputs: object) -> tuple[list[tuple[str, list[Tensor], list[Tensor]]], object]:
    """Return (module name, input tensors, output tensors) of every call in the order of their ends; the outputs."""
    calls: list[tuple[str, list[Tensor], list[Tensor]]] = []
    given: list[list[Tensor]] = []

    def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
        given.append([tensor.clone() for tensor in tensors_in((args, kwargs))])

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue

        def leave(module: nn.Module, args: tuple, outputs: object, name: str = name) -> None:
            # Copies: operations in place may follow.
            calls.append((name, given.pop(), [tensor.clone() for tensor in tensors_in(outputs)]))

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        return calls, call(model, tree_map_only(Tensor, Tensor.clone, inputs))
    finally:
        for handle in handles:
            handle.remove()


def _same(one: list[Tensor], two: list[Tensor]) -> bool:
    return len(one) == len(two) and all(
        a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-6, equal_nan=True)
        for a, b in zip(one, two, strict=True)
    )
