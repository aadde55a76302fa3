"""What layers of a network give while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


class Watching:
    """Note the outputs of some layers at each pass, until `end`.

    Parameters
    ----------
    model : nn.Module
    names : iterable of str
        Of modules of it.
    when : callable
        Asked at each output whether to note it.

    Attributes
    ----------
    seen : dict of str to Tensor
        The last output of each.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str], when: Callable[[], bool] = torch.is_grad_enabled
    ) -> None:
        self.seen: dict[str, Tensor] = {}
        modules = dict(model.named_modules())
        self._handles = [
            modules[name].register_forward_hook(_noting(modules[name], name, self.seen, when)) for name in names
        ]

    def take(self) -> dict[str, Tensor]:
        """Return what was seen, and forget it."""
        seen = dict(self.seen)
        self.seen.clear()
        return seen

    def end(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self.seen.clear()


def _noting(
    module: nn.Module, name: str, seen: dict[str, Tensor], when: Callable[[], bool]
) -> Callable[[nn.Module, object, Tensor], None]:
    def note(running: nn.Module, _: object, output: Tensor) -> None:
        if running is module and when():  # a copy of the model has the hook as well
            seen[name] = output

    return note
