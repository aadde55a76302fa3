"""How activations lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import device_of, eval_mode, tensors_in


def bears_channels_last(model: nn.Module, inputs: object) -> bool:
    """Tell whether a model runs on inputs that lie in memory with the channels last, which convolutions prefer.

    Not where its code views an activation otherwise, as the classic ``x.view(x.size(0), -1)`` before a linear layer
    does. The model is run on two examples and left as it is.

    Parameters
    ----------
    model : nn.Module
    inputs : object
        A batch; nothing is tried where none of it is 4-D.
    """
    tensors = list(tensors_in(inputs))
    if not any(tensor.ndim == 4 for tensor in tensors):
        return False
    size = len(next(tensor for tensor in tensors if tensor.ndim == 4))
    some = tree_map_only(Tensor, lambda t: t[:2] if t.ndim and len(t) == size else t, inputs)
    some = on_device(some, device_of(model), channels_last=True)
    try:
        with torch.no_grad(), eval_mode(model), left_as_it_is(model), torch.random.fork_rng(devices=[]):
            call(model, some)
    except Exception:  # whatever its code may raise; that it does not run at all, the caller sees
        return False
    return True
