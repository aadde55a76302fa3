"""What the layers of a network give for some inputs, and those at the ends of its stages."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import device_of, eval_mode, tensors_in


def shapes_of(model: nn.Module, inputs: object) -> tuple[dict[str, tuple[int, ...] | str], set[str]]:
    """Run a model once in eval mode and return what each of its modules gives; it is left as it is.

    Returns
    -------
    shapes : dict
        The shape of the last output, or the type's name where it is no tensor, by module name in the order in which
        they were done; the model itself, ``""``, last.
    outputs : set of str
        Modules whose output is one of the model's.
    """
    found: dict[str, object] = {}

    def note(name: str, output: object) -> None:
        found.pop(name, None)  # the last run counts, also for the order
        found[name] = output

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad(), eval_mode(model), left_as_it_is(model), torch.random.fork_rng(devices=[]):
            call(model, on_device(inputs, device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    last = {id(tensor) for tensor in tensors_in(found[""])}
    shapes = {n: tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__ for n, out in found.items()}
    return shapes, {name for name, out in found.items() if any(id(t) in last for t in tensors_in(out))}


def stage_ends(
    shapes: dict[str, tuple[int, ...] | str], outputs: Iterable[str], theirs: dict[str, tuple[int, ...] | str]
) -> list[str]:
    """Return the modules at which maps of one size end: the last one of each size, the largest maps first.

    Parameters
    ----------
    shapes, outputs
        Of the student, from `shapes_of`. What it returns itself is left out, and maps of one pixel.
    theirs : dict
        Shapes of the teacher: a module counts where it gives a map of the same size there.
    """
    ends: dict[tuple[int, ...], str] = {}
    for name, shape in shapes.items():
        other = theirs.get(name)
        if isinstance(shape, str) or other is None or isinstance(other, str) or name in {"", *outputs}:
            continue
        if len(shape) > 3 and max(shape[2:]) > 1 and shape[2:] == other[2:]:
            ends[shape[2:]] = name
    return [ends[size] for size in sorted(ends, reverse=True)]
