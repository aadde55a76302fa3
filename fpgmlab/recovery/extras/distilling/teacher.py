"""A teacher in a training: run once for each batch, however many extras ask."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from fpgmlab.common.calling import call
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.recovery.extras.distilling.watching import Watching

_running: WeakKeyDictionary[nn.Module, list[Teacher]] = WeakKeyDictionary()  # those of each student in training


class Teacher:
    """A network that is asked for its outputs, and those of some layers, in eval mode and without gradients.

    Parameters
    ----------
    model : nn.Module
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self._users = model, 1
        self._watching: dict[str, Watching] = {}
        self._thread = 0  # the one that runs it for this training, another one may do so for another
        self._of: list[tuple[Tensor, int, bool]] | None = None
        self._outputs: object = None
        self._seen: dict[str, Tensor] = {}

    def watch(self, *names: str) -> None:
        """Note the outputs of these layers as well."""
        for name in names:
            if name not in self._watching:
                self._watching[name] = Watching(self.model, [name], lambda: threading.get_ident() == self._thread)

    def __call__(self, inputs: object) -> tuple[object, dict[str, Tensor]]:
        """Return its outputs for a batch, and those of the layers that are watched, by name."""
        if not self._knows(inputs):
            self._thread = threading.get_ident()
            try:
                with torch.no_grad(), eval_mode(self.model):
                    self._outputs = call(self.model, inputs)
            finally:
                self._thread = 0
            self._seen = {name: output for one in self._watching.values() for name, output in one.take().items()}
            self._of = _marks(inputs)
        return self._outputs, self._seen

    def _knows(self, inputs: object) -> bool:
        if self._of is None:
            return False
        now = _marks(inputs)
        return len(now) == len(self._of) > 0 and all(
            a is b and rest == others for (a, *rest), (b, *others) in zip(now, self._of, strict=True)
        )

    def end(self) -> None:
        """Take the hooks off when nobody asks any more."""
        self._users -= 1
        if not self._users:
            for watching in self._watching.values():
                watching.end()
            for teachers in _running.values():
                teachers[:] = [teacher for teacher in teachers if teacher is not self]
            self._of = self._outputs = None
            self._seen = {}


def teacher_of(student: nn.Module, model: nn.Module) -> Teacher:
    """Return the teacher of a training: the same for all that have the same student; to be ended once by each."""
    if device_of(student) != device_of(model):
        raise ValueError(
            f"the student is on {device_of(student)}, its teacher on {device_of(model)}: bring it there first, "
            f"teacher.to({str(device_of(student))!r})"
        )
    teachers = _running.setdefault(student, [])
    for teacher in teachers:
        if teacher.model is model:
            teacher._users += 1
            return teacher
    teachers.append(Teacher(model))
    return teachers[-1]


def _marks(inputs: object) -> list[tuple[Tensor, int, bool]]:
    """Return by what a batch is known again: its tensors, not written to since, in the same precision."""
    half = torch.is_autocast_enabled(next((t.device.type for t in tensors_in(inputs)), "cpu"))
    return [(tensor, tensor._version, half) for tensor in tensors_in(inputs)]
