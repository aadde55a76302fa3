"""The equations of one layer: what it reads in the pruned network against what it gave in the whole one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fpgmlab.geometry.least_squares import ROUNDING, Equations, Fit, Solver, best_ridge
from fpgmlab.geometry.rows import gathered
from fpgmlab.graph.calls import LayerCall, from_matrix
from fpgmlab.recovery.repairing.activations import Activation

ROUNDS = 2  # of fitting anew to what an activation makes of it


@dataclass(frozen=True, eq=False)
class Sums:
    """A layer's equations, as their second moments where they are many: those that are solved, and held-out ones."""

    train: Equations
    held: Equations

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.train + other.train, self.held + other.held)


def sums_of(call: LayerCall, targets: Tensor, places: Tensor, used: int, exact: bool) -> Sums:
    """Return some of a layer's equations, or their second moments where they are many.

    Parameters
    ----------
    call : LayerCall
        In the pruned network.
    targets : Tensor, (places, outputs)
        What the layer shall give there.
    places : Tensor, (places,) int64
    used : int
        The equations after the first so many are held out.
    exact : bool
        Multiply in float64.
    """
    return sums_of_rows(wide(call.rows(places)), by_group(targets, call.groups), used, exact)


def sums_of_rows(rows: Tensor, targets: Tensor, used: int, exact: bool) -> Sums:
    """Return what is solved of equations: (groups, places, features) and (groups, places, outputs of a group)."""
    return Sums(gathered(rows[:, :used], targets[:, :used], exact), gathered(rows[:, used:], targets[:, used:], exact))


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in at least single precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def by_group(values: Tensor, groups: int) -> Tensor:
    """Split (places, outputs) into (groups, places, outputs of a group)."""
    return wide(values).reshape(len(values), groups, -1).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class Part:
    """Equations of one batch as they are: `rows`, `targets`, and what becomes of the outputs.

    Attributes
    ----------
    rows : Tensor, (groups, places, features)
    targets : Tensor, (groups, places, outputs of a group)
    shift : Tensor, (groups, places or 1, outputs of a group)
        Added to the scaled outputs.
    used : int
        The equations after the first so many are held out.
    """

    rows: Tensor
    targets: Tensor
    shift: Tensor
    used: int

    @property
    def train(self) -> Part:
        """Those that are not held out."""
        return self._some(slice(None, self.used))

    @property
    def held(self) -> Part:
        """Those that are held out."""
        return self._some(slice(self.used, None))

    def _some(self, which: slice) -> Part:
        shift = self.shift if self.shift.shape[1] == 1 else self.shift[:, which]
        return Part(self.rows[:, which], self.targets[:, which], shift, 0)


@dataclass(frozen=True, eq=False)
class Beyond:
    """What becomes of outputs next: ``activation(scale * output + shift)``."""

    scale: Tensor  # (groups, 1, outputs of a group)
    activation: Activation

    def wanted(self, part: Part) -> Tensor:
        """Return what the activation shall take."""
        return self.scale * part.targets + part.shift

    def aims(self, given: Tensor, wanted: Tensor, part: Part) -> Tensor:
        """Return targets so that what comes out beyond comes nearer to what is wanted; see `Activation.aims`."""
        aim = self.activation.aims(self.scale * given + part.shift, wanted)
        idle = self.scale.abs() < 1e-12
        if not bool(idle.any()):
            return (aim - part.shift) / self.scale
        return torch.where(idle, part.targets, (aim - part.shift) / torch.where(idle, 1.0, self.scale))

    def errors(self, given: Sequence[Tensor], wanted: Sequence[Tensor], parts: Sequence[Part]) -> tuple[float, float]:
        """Return the sum of squared errors beyond, and the wanted values' own variation."""
        error = spread = 0.0
        for made, want, part in zip(given, wanted, parts, strict=True):
            if not part.targets.shape[1]:
                continue
            want = self.activation(want)
            out = self.activation(self.scale * made + part.shift)
            error += float((out - want).square().sum(dtype=torch.float64))
            middle = want.mean(1, keepdim=True, dtype=torch.float64).to(want.dtype)
            spread += float((want - middle).square().sum(dtype=torch.float64))
        return error, spread


def _given(fit: Fit, part: Part) -> Tensor:
    return part.rows @ fit.weight.to(part.rows.dtype) + fit.offset.to(part.rows.dtype).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class Refit:
    """What became of a layer.

    Attributes
    ----------
    weight : Tensor or None
        As the layer has it; None where the one that is there is kept.
    offset : Tensor, (outputs,)
        The constant beside the weights; zero where there is no place for it.
    equations, unknowns : int
        For each output.
    before, after : float
        Squared error on held-out positions, relative to the variance of what the layer shall give, or what the
        activation makes of it.
    ridge : float
        Relative to the mean diagonal of the second moments.
    note : str
        Why weights were kept, or what else is to be said.
    """

    weight: Tensor | None
    offset: Tensor
    equations: int
    unknowns: int
    before: float
    after: float
    ridge: float
    note: str = ""


def refitted(
    sums: Sums, call: LayerCall, bias: Tensor | None, offset: bool, importance: Tensor, ridge: float | None,
    beyond: Beyond | None = None, parts: Sequence[Part] = (),
) -> Refit:  # fmt: skip
    """Solve a layer's equations.

    Parameters
    ----------
    sums : Sums
    call : LayerCall
        Has the weights that are there.
    bias : Tensor or None, (outputs,)
        The layer's own.
    offset : bool
        Whether an offset can be expressed, by a bias or a batch norm.
    importance : Tensor, (outputs,)
        Factors of the squared errors of each output.
    ridge : float, optional
        Chosen by the held-out equations when left out.
    beyond : Beyond, optional
        The activation that takes the outputs next.
    parts : sequence of Part
        The equations themselves, where there is one.
    """
    start = call.matrix().double()
    weights = importance.double().reshape(call.groups, -1)
    zero = torch.zeros_like(weights)
    now = Fit(start, zero if bias is None else bias.detach().double().reshape(call.groups, -1))
    train, held = sums.train, sums.held
    both = train + held
    spread = float(((held.yy - held.y.square() / max(1, held.count)).clamp_min(0) * weights).sum())

    def share(error: float, whole: float) -> float:
        return max(0.0, error) / whole if whole else float("nan")

    def plain(fit: Fit) -> float:
        return share(float((fit.error(held) * weights).sum()), spread)

    before = plain(now)
    kept = Refit(None, zero.flatten(), both.count, start.shape[1] + offset, before, before, 0.0)
    if before <= 1e-9:
        return replace(kept, note="its inputs are what they were")
    if spread <= ROUNDING * float((held.yy * weights).sum()):
        return replace(kept, note="what it gives is constant on these pictures")
    if beyond is not None:
        trained, checked = [part.train for part in parts], [part.held for part in parts]
        wanted, wanted_held = (list(map(beyond.wanted, some)) for some in (trained, checked))
        error, whole = beyond.errors([_given(now, part) for part in checked], wanted_held, checked)
        if whole:
            before = share(error, whole)
            kept = replace(kept, before=before, after=before)
        else:
            beyond = None  # nothing of it comes through
    if ridge is None:
        ridge, solver, fit = best_ridge(train, held, start, offset, weights)
    else:
        solver = Solver(train, ridge, offset)
        fit = solver.solve(train, start)
    after = plain(fit)
    if beyond is not None:
        given: list[Tensor] = []
        if after > 1e-6:  # else it is solved already
            for _ in range(ROUNDS):
                train = train.with_targets(_aims(beyond, fit, wanted, trained))
                fit = solver.solve(train, start)
            held = held.with_targets(_aims(beyond, fit, wanted_held, checked, given))
        given = given or [_given(fit, part) for part in checked]
        after = share(*beyond.errors(given, wanted_held, checked))
    if not after < before:
        return replace(kept, ridge=ridge, note="held-out pictures show no gain")
    both = train + held
    fit = Solver(both, ridge, offset).solve(both, start)
    note = "fewer equations than unknowns" if kept.equations < kept.unknowns else ""
    weight = from_matrix(fit.weight, call.weight, call.transposed)
    return replace(kept, weight=weight, offset=fit.offset.flatten(), after=after, ridge=ridge, note=note)


def _aims(
    beyond: Beyond, fit: Fit, wanted: Sequence[Tensor], parts: Sequence[Part], given: list[Tensor] | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield equations with what to aim at next, part by part as long as its rows are near; note what is given now."""
    for want, part in zip(wanted, parts, strict=True):
        made = _given(fit, part)
        if given is not None:
            given.append(made)
        yield part.rows, beyond.aims(made, want, part)
