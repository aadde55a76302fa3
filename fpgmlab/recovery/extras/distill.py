"""Distillation: learn from a teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import keystr, tree_flatten_with_path

from fpgmlab.common.calling import call
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.errors import few
from fpgmlab.recovery.extras.extra import Extra


@dataclass(frozen=True, eq=False)
class Distill(Extra):
    """Learn from a teacher's outputs (Hinton, Vinyals & Dean, 2015, arXiv:1503.02531).

    Adds ``weight`` times the distance of the student's outputs from the teacher's: ``compare`` where it is given; for
    logits (batch, classes) ``temperature**2 * KL(teacher || student)`` of the softened class probabilities; for all
    others `relative_difference`, which knows nothing of their meaning.

    Parameters
    ----------
    teacher : nn.Module
        Usually the unpruned model; it is run in eval mode without gradients and left as it is.
    temperature : float
        Of logits; above 1 softens both distributions.
    weight : float
        Of the term, beside the task's own loss.
    compare : callable, optional
        ``(outputs, wanted) -> scalar Tensor``, of the student's and the teacher's outputs for the same inputs. For a
        YOLOv5 ``task.head.imitation``: boxes and classes where the teacher sees objects (Mehta & Ozturk, 2018,
        arXiv:1805.06361).
    """

    teacher: nn.Module
    temperature: float = 4.0
    weight: float = 0.5
    compare: Callable[[object, object], Tensor] | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0; got {self.temperature}")
        if not self.weight >= 0:
            raise ValueError(f"weight must be >= 0; got {self.weight}")
        if self.compare is not None and not callable(self.compare):
            raise TypeError(f"compare must be a function of two networks' outputs; not {self.compare!r}")

    def __repr__(self) -> str:
        compare = "" if self.compare is None else f", compare={getattr(self.compare, '__qualname__', self.compare)}"
        teacher = type(self.teacher).__name__  # not all of its layers
        return f"Distill(teacher={teacher}, temperature={self.temperature}, weight={self.weight}{compare})"

    def loss(self, model: nn.Module, inputs: object, outputs: object, targets: object) -> Tensor:
        with torch.no_grad(), eval_mode(self.teacher):
            wanted = call(self.teacher, inputs)
        if self.compare is not None:
            return self.weight * self.compare(outputs, wanted)
        if isinstance(outputs, Tensor) and isinstance(wanted, Tensor) and outputs.ndim == wanted.ndim == 2:
            return self.weight * soft_divergence(outputs, wanted, self.temperature)
        return self.weight * relative_difference(outputs, wanted)


def soft_divergence(outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return ``temperature**2 * KL(wanted || outputs)`` of softened logits (batch, classes), in nats."""
    if wanted.shape != outputs.shape:
        raise ValueError(
            f"the teacher gives {tuple(wanted.shape)}, the student {tuple(outputs.shape)}: "
            "distillation on logits needs the same classes"
        )
    divergence = F.kl_div(
        F.log_softmax(outputs.float() / temperature, dim=1),
        F.log_softmax(wanted.float() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def relative_difference(outputs: object, wanted: object) -> Tensor:
    """Return the mean squared difference of outputs from a teacher's, relative to the variance of the teacher's.

    Parameters
    ----------
    outputs, wanted : Tensor, or tuples, lists, dicts and objects of tensors
        Of the same structure and shapes; the floating-point tensors count, each as much as any other.

    Returns
    -------
    Tensor
        A scalar, in float32: the mean over tensors of each one's mean squared difference over the teacher's variance.
        1 for a student that always gives the mean of each tensor. Where the teacher gives one number only, the
        difference is not divided.

    Raises
    ------
    ValueError
        When structures or shapes differ, or there is nothing to compare.
    """
    ours, theirs = _floating(outputs), _floating(wanted)
    shapes = [{name: tuple(tensor.shape) for name, tensor in found.items()} for found in (ours, theirs)]
    if shapes[0] != shapes[1] or not ours:
        student, teacher = (few((f"{n} {s}" for n, s in found.items()), quoted=False) or "none" for found in shapes)
        raise ValueError(
            "distillation needs floating-point tensors of the same names and shapes from both networks; the student "
            f"gives {student}; the teacher {teacher}. Distill(teacher, compare=...) takes a function of both outputs."
        )
    terms = []
    for name, tensor in ours.items():
        goal = theirs[name].float()
        spread = goal.var(correction=0)
        terms.append((tensor.float() - goal).square().mean() / torch.where(spread > 0, spread, 1.0))
    return torch.stack(terms).mean()


def _floating(outputs: object) -> dict[str, Tensor]:
    """Return the floating-point tensors of outputs by their place, such as ``outputs['boxes'][0]``."""
    leaves, _ = tree_flatten_with_path(outputs)
    found = {}
    for path, leaf in leaves:
        inside = list(tensors_in(leaf))  # several where a leaf is an object with attributes
        for i, tensor in enumerate(inside):
            if tensor.is_floating_point():
                found[f"outputs{keystr(path)}{f'.{i}' if len(inside) > 1 else ''}"] = tensor
    return found
