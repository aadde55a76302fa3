"""The processes that train one network together: by Accelerate or torchrun, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
BUCKET = 25_000_000  # numbers that are sent at once
PATIENCE = timedelta(hours=2)  # the others wait while one evaluates


class Processes:
    """So many processes, each with its number; with one nothing is sent.

    Parameters
    ----------
    number, count : int
    device : torch.device
        Where this one computes.
    """

    def __init__(self, number: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.number, self.count = number, count
        self._device = device

    @property
    def main(self) -> bool:
        """Whether this is the one that evaluates, writes and tells."""
        return self.number == 0

    @property
    def here(self) -> int:
        """How many of them share this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.count)) if self.count > 1 else 1

    def from_main(self, make: Callable[[], T]) -> T:
        """Return in each process what the first one makes; what it raises is raised in each."""
        if self.count == 1:
            return make()
        found: list[object] = [None, None]
        if self.main:
            try:
                found[0] = make()
            except Exception as error:
                found[1] = error
        dist.broadcast_object_list(found, src=0)
        if isinstance(found[1], Exception):
            raise found[1]
        return found[0]  # type: ignore[return-value]  # as the first process made it

    def gathered(self, value: T) -> list[T]:
        """Return the values of all processes, in their order."""
        if self.count == 1:
            return [value]
        found: list[T] = [value] * self.count
        dist.all_gather_object(found, value)
        return found

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the values that they have in the first process, in place."""
        if self.count > 1:
            with torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor.data, src=0)

    def averaged(self, parameters: Sequence[nn.Parameter], loss: Tensor, halt: bool) -> tuple[Tensor, bool]:
        """Average gradients over the processes, in place; return the mean loss and whether any process wants a halt.

        A parameter that has a gradient in some processes only has had zero in the others.
        """
        if self.count == 1:
            return loss, halt
        there = torch.tensor([float(p.grad is not None) for p in parameters])
        told = torch.cat([loss.detach().reshape(1).cpu().float(), torch.tensor([float(halt)]), there])
        told = told.to(loss.device)
        dist.all_reduce(told)
        values = told.tolist()
        with_gradient = [p for p, count in zip(parameters, values[2:], strict=True) if count > 0]
        for bucket in _buckets(with_gradient):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in bucket])
            dist.all_reduce(flat)
            flat /= self.count
            for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.copy_(part.view_as(parameter))
        return told[0] / self.count, values[1] > 0


def _buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Part parameters so that those of a part have one type, and are not too many numbers."""
    found: dict[tuple[torch.dtype, torch.device], list[list[nn.Parameter]]] = {}
    for parameter in parameters:
        parts = found.setdefault((parameter.dtype, parameter.device), [[]])
        if sum(p.numel() for p in parts[-1]) >= BUCKET:
            parts.append([])
        parts[-1].append(parameter)
    return [part for parts in found.values() for part in parts]


def launched(device: torch.device) -> Processes:
    """Return the processes that were launched to train together; this one alone where nothing says otherwise.

    Parameters
    ----------
    device : torch.device
        Where the network lies.

    Raises
    ------
    ImportError
        When there are several and Accelerate is not installed.
    ValueError
        When the network lies on another device than this process has.
    """
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size(), device)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "LOCAL_RANK" not in os.environ:
        return Processes()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            f"this is one of {os.environ['WORLD_SIZE']} processes, and to train in several needs Accelerate: "
            "pip install 'fpgmlab[accelerate]'"
        ) from error
    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    if device.type != "cpu" and state.device != device:
        raise ValueError(
            f"the network lies on {device}, but this process has {state.device}: "
            "model.to(accelerate.PartialState().device) before"
        )
    return Processes(state.process_index, state.num_processes, device)
