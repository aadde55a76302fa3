"""Run a model again with some of its layers changed, and take from memory what they cannot have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call as call_model
from fpgmlab.common.modules import tensors_in


class ReplayError(RuntimeError):
    """The model does not do the same each time it runs, so that its past cannot stand in for its present."""


@dataclass
class _Call:
    """One call of a module: when it began and ended, what it gave, and the calls of other modules within it."""

    start: int
    end: int
    output: Any
    versions: list[int]  # of the output's tensors when it ended
    within: Counter = field(default_factory=Counter)


ONE_PIECE = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


class Replay:
    """The memory of one forward pass; made by `replaying`.

    A model of fixed control flow calls its modules in the same order each time. What ended before the first changed
    layer begins is as it was, so whole containers are not run but answered from memory. An output that is
    overwritten later (``x += y``, ``ReLU(inplace=True)``) is noticed by its version counter, and kept as a copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._in_one_piece = any(isinstance(module, ONE_PIECE) for module in model.modules())
        self._calls: dict[tuple[str, int], _Call] = {}
        self._counts: Counter = Counter()
        self._clock = 0
        self._recording = False
        self._from = -1  # what ended before this time is answered from memory
        self._copied: set[tuple[str, int]] = set()
        self._handed: list[tuple[str, int]] = []
        self._inputs: object = None

    def record(self, inputs: object) -> object:
        """Run the model as it is and remember every module's output.

        Parameters
        ----------
        inputs : Tensor, tuple or dict
            As for `fpgmlab.trace`; copied where the model overwrites them.
        """
        self._inputs = inputs
        known = -1
        while known < len(self._copied):  # again until no output is overwritten that is not kept as a copy
            known = len(self._copied)
            output = self._record()
            self._copied |= {key for key in self._calls if key not in self._copied and self._overwritten(key)}
        return output

    def run(self, changed: Collection[str]) -> object:
        """Return the model's output for the recorded inputs, with the weights that it has now.

        Parameters
        ----------
        changed : collection of str
            Names of the modules whose weights are not as when it was recorded.

        Raises
        ------
        ReplayError
            When the model calls its modules in another order than when it was recorded.
        """
        self._from = min((self._begin(name) for name in changed), default=self._clock)
        while True:
            self._counts, self._handed = Counter(), []
            output = self._call()
            spoilt = {key for key in self._handed if key not in self._copied and self._overwritten(key)}
            if not spoilt:
                return output
            self._copied |= spoilt  # the changed run overwrites what the first one did not: remember anew
            self.record(self._inputs)

    def _record(self) -> object:
        self._calls, self._counts, self._clock, self._recording = {}, Counter(), 0, True
        try:
            return self._call()
        finally:
            self._recording = False

    def _call(self) -> object:
        # Torch's own transformers run in one piece, unless a mode watches: then they call their modules.
        with BaseTorchFunctionMode() if self._in_one_piece else nullcontext():
            return call_model(self.model, _copied(self._inputs))

    def _overwritten(self, key: tuple[str, int]) -> bool:
        call = self._calls[key]
        return [tensor._version for tensor in tensors_in(call.output)] != call.versions

    def _begin(self, name: str) -> int:
        """Return when a module is first called; where only its weights are used, when the one around it is."""
        while (name, 0) not in self._calls:
            if not name:
                return 0
            name = name.rpartition(".")[0]
        return self._calls[name, 0].start

    def _answer(self, name: str, forward: Callable, args: tuple, kwargs: dict) -> object:
        key = (name, self._counts[name])
        self._counts[name] += 1
        if self._recording:
            return self._remember(key, forward, args, kwargs)
        call = self._calls.get(key)
        if call is None:
            raise ReplayError(
                f"{type(self.model).__name__} called {name!r} {key[1] + 1} times, more often than when recorded: "
                "its control flow depends on the values. Evaluate it without memory."
            )
        if call.end >= self._from:
            return forward(*args, **kwargs)
        self._counts += call.within
        self._handed.append(key)
        return _copied(call.output) if key in self._copied else call.output

    def _remember(self, key: tuple[str, int], forward: Callable, args: tuple, kwargs: dict) -> object:
        before, start = self._counts.copy(), self._clock
        self._clock += 1
        output = forward(*args, **kwargs)
        kept = _copied(output) if key in self._copied else output
        versions = [tensor._version for tensor in tensors_in(kept)]
        self._calls[key] = _Call(start, self._clock, kept, versions, self._counts - before)
        self._clock += 1
        return output


@contextmanager
def replaying(model: nn.Module) -> Iterator[Replay]:
    """Let a model's modules answer from memory while the context lasts, and yield that memory; on exit it is as before.

    Use it within ``torch.no_grad()`` and in eval mode; inference mode has no version counters.
    """
    replay = Replay(model)
    patched = []
    try:
        for name, module in model.named_modules():
            if not name or isinstance(module, torch.jit.ScriptModule):
                continue
            had = vars(module).get("forward")
            module.forward = _Answering(replay, name, module.forward)
            patched.append((module, had))
        yield replay
    finally:
        for module, had in patched:
            if had is None:
                del module.forward
            else:
                module.forward = had


@dataclass(frozen=True, eq=False)
class _Answering:
    """Stands in for a module's ``forward``."""

    replay: Replay
    name: str
    forward: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        return self.replay._answer(self.name, self.forward, args, kwargs)


def _copied(value: Any) -> Any:
    return tree_map_only(Tensor, Tensor.clone, value)
