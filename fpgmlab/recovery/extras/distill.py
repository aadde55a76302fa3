"""Distillation: learn from a teacher's outputs, or from what its layers give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.common.calling import call
from fpgmlab.common.modules import eval_mode
from fpgmlab.errors import one_of
from fpgmlab.recovery.extras.distilling.distances import relative_difference, soft_divergence
from fpgmlab.recovery.extras.distilling.matching import Layers, Pair, match, same_places
from fpgmlab.recovery.extras.distilling.running import LayersDistilled, OutputsDistilled
from fpgmlab.recovery.extras.distilling.teacher import teacher_of
from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.tasks.task import Task, head_of

WEIGHTS = {"logits": 0.5, "features": 5.0, "attention": 10.0, "detector": 0.5}  # by kind
ADAPTERS = ("auto", "always", "never")


@dataclass(frozen=True, eq=False)
class Distill(Extra):
    """Learn from a teacher, beside the task's own targets.

    Adds ``weight`` times a distance of the student from its teacher for the same inputs. Several with one teacher run
    it once a batch: ``extras=[fl.Distill(teacher), fl.Distill(teacher, kind="features")]``.

    Parameters
    ----------
    teacher : nn.Module
        Usually the unpruned model; it is run in eval mode without gradients and left as it is.
    temperature : float
        Of logits; above 1 softens both distributions.
    weight : float, optional
        Of the term, beside the task's own loss; by kind, `WEIGHTS`, when left out.
    compare : callable, optional
        For ``"logits"``: ``(outputs, wanted) -> scalar Tensor``, of the student's and the teacher's outputs.
    kind : {"logits", "features", "attention", "detector"}
        What is compared.

        ``"logits"``: the outputs (Hinton, Vinyals & Dean, 2015, arXiv:1503.02531): for logits (batch, classes)
        ``temperature**2 * KL(teacher || student)`` of the softened class probabilities; by ``compare`` where it is
        given; else by `relative_difference`, which knows nothing of their meaning.

        ``"features"``: what layers give (Romero et al., *FitNets*, ICLR 2015, arXiv:1412.6550, eq. 3), the mean over
        layers of the squared difference over the variance of the teacher's. A pruned student is compared with those of
        the teacher's channels that it still has, by the plans in its `provenance`: they are the same channels, nothing
        stands between them, and a teacher of the same groups and widths is taken to be the network that was pruned.
        Where they are not the same ones, a 1x1 convolution leads from the student's channels to the teacher's, is
        trained along and dropped.

        ``"attention"``: where layers look (Zagoruyko & Komodakis, ICLR 2017, arXiv:1612.03928, eq. 2), the mean over
        layers of the squared distance of maps of norm 1; as many channels on both sides are not needed.

        ``"detector"``: by the task's ``task.head.imitation``: boxes and classes where the teacher sees objects (Mehta &
        Ozturk, 2018, arXiv:1805.06361).
    layers : sequence or mapping of str, optional
        For ``"features"`` and ``"attention"``: names of modules of both networks, or ``{student's: teacher's}``; the
        last module of each size of maps when left out, which are the ends of a network's stages.
    adapters : {"auto", "always", "never"}
        For ``"features"``: 1x1 convolutions where they are needed, everywhere, or an error where they would be.

    Raises
    ------
    ValueError
        For options out of range or of another kind; as a training begins for layers that do not exist, do not run or
        differ in size, with their names and shapes, for a task without such a head, and for a teacher on another
        device.
    TypeError
        For a ``compare`` that is no function.

    Examples
    --------
    >>> fl.Distill(model, kind="features")
    Distill(teacher=ResNet, kind='features', weight=5.0)
    """

    teacher: nn.Module
    temperature: float = 4.0
    weight: float | None = None
    compare: Callable[[object, object], Tensor] | None = None
    kind: str = "logits"
    layers: Layers = None
    adapters: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in WEIGHTS:
            raise ValueError(one_of("kind", self.kind, WEIGHTS))
        if self.weight is None:
            object.__setattr__(self, "weight", WEIGHTS[self.kind])
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0; got {self.temperature}")
        if not self._weight >= 0:
            raise ValueError(f"weight must be >= 0; got {self.weight}")
        if self.compare is not None and not callable(self.compare):
            raise TypeError(f"compare must be a function of two networks' outputs; not {self.compare!r}")
        if self.adapters not in ADAPTERS:
            raise ValueError(one_of("adapters", self.adapters, ADAPTERS))
        if isinstance(self.layers, str):
            raise ValueError(f"layers must be names in a list, such as [{self.layers!r}]")
        if self.layers is not None and not self.layers:
            raise ValueError("layers names no layer; left out, the ends of the stages are taken")
        for name, value, kinds in (
            ("compare", self.compare, ("logits",)),
            ("layers", self.layers, ("features", "attention")),
        ):
            if value is not None and self.kind not in kinds:
                raise ValueError(f"{name} is for kind {' or '.join(map(repr, kinds))}; not for {self.kind!r}")

    @property
    def _weight(self) -> float:
        return WEIGHTS[self.kind] if self.weight is None else self.weight

    def __repr__(self) -> str:
        options = {"teacher": type(self.teacher).__name__}  # not all of its layers
        if self.kind == "logits":
            options["temperature"] = str(self.temperature)
        else:
            options["kind"] = repr(self.kind)
        options["weight"] = str(self.weight)
        if self.compare is not None:
            options["compare"] = str(getattr(self.compare, "__qualname__", self.compare))
        if self.layers is not None:
            options["layers"] = str(self.layers)
        if self.adapters != "auto":
            options["adapters"] = repr(self.adapters)
        return f"Distill({', '.join(f'{name}={value}' for name, value in options.items())})"

    def loss(self, model: nn.Module, inputs: object, outputs: object, targets: object) -> Tensor:
        if self.kind != "logits":
            raise RuntimeError(f"Distill(kind={self.kind!r}) needs to begin before it is asked, as in fpgmlab.fit")
        with torch.no_grad(), eval_mode(self.teacher):
            wanted = call(self.teacher, inputs)
        return self._weight * self._distance(outputs, wanted)

    def _distance(self, outputs: object, wanted: object) -> Tensor:
        if self.compare is not None:
            return self.compare(outputs, wanted)
        if isinstance(outputs, Tensor) and isinstance(wanted, Tensor) and outputs.ndim == wanted.ndim == 2:
            return soft_divergence(outputs, wanted, self.temperature)
        return relative_difference(outputs, wanted)

    def begin(self, model: nn.Module, task: Task, epochs: int, steps: int) -> RunningExtra:
        """Return the distillation of one training.

        Parameters
        ----------
        model, task, epochs, steps
            As of `fpgmlab.recovery.Extra`.

        Raises
        ------
        ValueError
            As the class.
        """
        distance: Callable[[object, object], Tensor] = self._distance
        if self.kind == "detector":
            imitation = getattr(head_of(task), "imitation", None)
            if imitation is None:
                head = head_of(task)
                has = "it has no head" if head is None else f"its head is {type(head).__name__}"
                raise ValueError(
                    f"{type(task).__name__} tells nothing of how detections are imitated ({has}): that is "
                    "task.head.imitation, which fpgmlab.tasks.YOLOv5Head has. kind='features' asks nothing of a task."
                )
            distance = imitation
        if self.kind in {"logits", "detector"}:
            return OutputsDistilled(teacher_of(model, self.teacher), distance, self._weight)
        pairs = self._pairs(model, next(iter(task.val_batches(2, 2)))[0])
        return LayersDistilled(
            model, teacher_of(model, self.teacher), pairs, self._weight, attention=self.kind == "attention"
        )

    def _pairs(self, model: nn.Module, inputs: object) -> list[Pair]:
        if self.kind == "features":
            return match(model, self.teacher, inputs, self.layers, self.adapters)
        found = same_places(model, self.teacher, inputs, self.layers)
        if flat := [name for name, at in found.items() if len(at.shape) < 3]:
            raise ValueError(f"layer {flat[0]!r} gives {found[flat[0]].shape}: attention needs positions")
        return [Pair(name, at.teacher, at.dim) for name, at in found.items()]
