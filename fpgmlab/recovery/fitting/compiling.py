"""The forward pass compiled, where that works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from fpgmlab.common.warned import warn


def compiled(model: nn.Module, attempt: Callable[[nn.Module], Tensor]) -> nn.Module:
    """Return a network compiled by ``torch.compile``, of the same weights; itself, with a warning, where that fails.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    attempt : callable
        Returns the loss of a batch by the network that it is given; what fails, fails there.
    """
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        with torch.random.fork_rng():
            fast = cast(nn.Module, torch.compile(model))
            attempt(fast).backward()
    except Exception as error:  # whatever a compiler may say; an error of the network's own comes again without it
        said: Any = (str(error).strip() or type(error).__name__).splitlines()[0]
        warn(
            f"{type(model).__name__} is trained as it is, not compiled: {type(error).__name__}: {said[:200]}",
        )
        return model
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for parameter, gradient in gradients:
            parameter.grad = gradient
    return fast
