"""How far a student's outputs and feature maps are from a teacher's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import keystr, tree_flatten_with_path

from fpgmlab.common.modules import tensors_in
from fpgmlab.errors import few


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
        A scalar, in float32: the mean over tensors of each one's `relative_square`.

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
    return torch.stack([relative_square(tensor, theirs[name]) for name, tensor in ours.items()]).mean()


def relative_square(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared difference of two tensors of one shape over the variance of the wanted one, in float32.

    1 for outputs that are the wanted one's mean everywhere. Where it has one number only, nothing is divided.
    """
    goal = wanted.float()
    spread = goal.var(correction=0)
    return (outputs.float() - goal).square().mean() / torch.where(spread > 0, spread, 1.0)


def attention(features: Tensor, dim: int = 1) -> Tensor:
    """Return where a layer looks: squares summed over channels, of norm 1 in each example, (batch, positions) float32.

    Zagoruyko & Komodakis, *Paying More Attention to Attention*, ICLR 2017, arXiv:1612.03928: F_sum with p = 2, as
    normalised in eq. 2.

    Parameters
    ----------
    features : Tensor, (batch, channels, ...)
    dim : int
        Where the channels are.
    """
    return F.normalize(features.float().square().sum(dim).flatten(1), dim=1)


def attention_difference(features: Tensor, wanted: Tensor, dim: int = 1) -> Tensor:
    """Return the mean over examples of the squared distance of two attention maps, from 0 to 2: a term of eq. 2."""
    return (attention(features, dim) - attention(wanted, dim)).square().sum(1).mean()


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
