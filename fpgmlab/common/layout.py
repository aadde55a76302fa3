"""How activations lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.common.processor import channel_block


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


def learns_channels_last(model: nn.Module, inputs: object) -> bool:
    """Tell whether a model can be trained on inputs that lie in memory with the channels last.

    Not where it could not run on them, and not where oneDNN's kernels for processors with AVX2 alone make no sound
    gradient of some narrow convolution (torch 2.14).
    """
    return not _narrow_for_avx2(model) and bears_channels_last(model, inputs)


def _narrow_for_avx2(model: nn.Module) -> bool:
    return (
        device_of(model).type == "cpu"
        and channel_block() == 8
        and any(
            isinstance(module, nn.Conv2d)
            and set(module.kernel_size) == {1}
            and max(module.stride) > 1
            and module.in_channels // module.groups < 8
            for module in model.modules()
        )
    )
