"""Pairs of layers of a student and a teacher whose outputs are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import device_of
from fpgmlab.errors import unknown
from fpgmlab.recovery.extras.distilling.channels import Unknown, kept_channels, reading
from fpgmlab.recovery.extras.distilling.layers import shapes_of, stage_ends

Layers = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer of a student and the one of a teacher that it is compared with.

    Attributes
    ----------
    student, teacher : str
        Module names.
    dim : int
        Where the channels are.
    index : Tensor or None
        The teacher's channels that the student has, (kept,) int64; None for all of them.
    adapter : nn.Module or None
        From the student's channels to the teacher's, where these are not the same ones.
    """

    student: str
    teacher: str
    dim: int = 1
    index: Tensor | None = None
    adapter: nn.Module | None = None


@dataclass(frozen=True)
class Places:
    """What a student's layer and a teacher's give: as many positions, and channels along one dimension.

    Attributes
    ----------
    teacher : str
        The teacher's layer.
    shape, wanted : tuple of int
        Of the student's and of the teacher's output.
    dim : int
        Where the channels are.
    """

    teacher: str
    shape: tuple[int, ...]
    wanted: tuple[int, ...]
    dim: int


def same_places(student: nn.Module, teacher: nn.Module, inputs: object, layers: Layers) -> dict[str, Places]:
    """Return the layers to compare, by the student's names.

    Parameters
    ----------
    student, teacher : nn.Module
    inputs : object
        A few examples.
    layers : sequence or mapping of str, optional
        Names in both, or ``{student's: teacher's}``; the ends of the stages when left out.

    Raises
    ------
    ValueError
        For a name that is no module, a layer that does not run or gives no single tensor, and outputs of other sizes.
    """
    (mine, outputs), (theirs, _) = shapes_of(student, inputs), shapes_of(teacher, inputs)
    if layers is None:
        layers = stage_ends(mine, outputs, theirs)
        if not layers:
            raise ValueError(
                f"no layer of {type(student).__name__} has a name and a size of maps that a layer of its teacher, "
                f"{type(teacher).__name__}, has as well: name them, Distill(..., layers={{student's: teacher's}})"
            )
    found = {}
    for ours, other in layers.items() if isinstance(layers, Mapping) else zip(layers, layers, strict=True):
        shape = _shape("student", student, ours, mine)
        wanted = _shape("teacher", teacher, other, theirs)
        dim = next((d for d in _dims(student, shape) if _without(shape, d) == _without(wanted, d)), None)
        if dim is None:
            raise ValueError(
                f"layer {ours!r} of the student gives {shape}, {other!r} of the teacher {wanted}: they must agree in "
                "all but channels"
            )
        found[ours] = Places(other, shape, wanted, dim)
    return found


def match(student: nn.Module, teacher: nn.Module, inputs: object, layers: Layers, adapters: str) -> list[Pair]:
    """Return the pairs of layers, with the teacher's channels that the student has, or with adapters.

    Parameters
    ----------
    student, teacher, inputs, layers
        As in `same_places`, with its errors.
    adapters : {"auto", "always", "never"}
        Where to put a 1x1 convolution (a linear layer) from the student's channels to the teacher's: where these are
        not known to be the same ones, everywhere or nowhere.
    """
    found = same_places(student, teacher, inputs, layers)
    kept, why = {}, "another one is asked for by adapters='always'"
    if adapters != "always":
        try:
            with torch.random.fork_rng(devices=[]):
                kept = kept_channels(
                    student, teacher, inputs, {at.teacher: (at.wanted, at.dim) for at in found.values()}
                )
            why = "tracing does not see that they are"
        except Unknown as error:
            why = str(error)
    pairs = []
    for ours, at in found.items():
        channels, wanted = at.shape[at.dim], at.wanted[at.dim]
        index = kept.get(at.teacher)
        if index is not None and len(index) == channels:
            some = None if channels == wanted else torch.from_numpy(index).to(device_of(teacher))
            pairs.append(Pair(ours, at.teacher, at.dim, some))
            continue
        if adapters == "never":
            raise ValueError(
                f"layer {ours!r}: which of the teacher's {wanted} channels of {at.teacher!r} are the student's "
                f"{channels} is not known: {why}. adapters='auto' trains a 1x1 convolution between them"
            )
        adapter = reading(len(at.shape), at.dim, channels, wanted).to(device_of(student))
        pairs.append(Pair(ours, at.teacher, at.dim, None, adapter))
    return pairs


def _shape(whose: str, model: nn.Module, name: str, shapes: Mapping[str, tuple[int, ...] | str]) -> tuple[int, ...]:
    """Return what a layer gives, or say that it does not exist, does not run or gives no tensor."""
    if name not in dict(model.named_modules()):
        raise ValueError(f"the {whose}, {type(model).__name__}: {unknown('layer', name, [n for n in shapes if n])}")
    shape = shapes.get(name, "nothing: it does not run")
    if isinstance(shape, str) or not 2 <= len(shape) <= 5:
        raise ValueError(f"layer {name!r} of the {whose} must give a tensor (batch, channels, ...); it gives {shape}")
    return shape


def _dims(model: nn.Module, shape: Sequence[int]) -> tuple[int, int]:
    """Return where the channels of an output may be, the likelier first: last in (batch, tokens, channels)."""
    last = len(shape) - 1
    tokens = len(shape) == 3 and not any(isinstance(module, nn.Conv1d) for module in model.modules())
    return (last, 1) if tokens else (1, last)


def _without(shape: Sequence[int], dim: int) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])
