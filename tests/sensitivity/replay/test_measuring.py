"""How much outputs change, against torch in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fpgmlab.sensitivity.replay.measuring import largest, largest_change


def change(ours: object, before: tuple[Tensor, ...]) -> float:
    return largest_change(ours, before, [largest(tensor) for tensor in before])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 3, 4), (0, 4), ()])
def test_it_is_the_largest_of_all_outputs(dtype: torch.dtype, shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    pairs = [(5 * torch.randn(2, *shape, generator=generator)).abs().to(dtype).unbind() for _ in range(2)]
    ours, before = zip(*pairs, strict=True)
    if len(shape) == 4:
        ours = tuple(tensor.contiguous(memory_format=torch.channels_last) for tensor in ours)
    expected = max((float((o.double() - b.double()).abs().max()) if o.numel() else 0.0) for o, b in pairs)
    assert change(ours, before) == pytest.approx(expected, rel=1e-2 if dtype == torch.bfloat16 else 1e-6)
    assert change(before, before) == 0


def test_rounding_is_no_change_and_what_is_no_number_is_an_infinite_one():
    before = (torch.tensor([1000.0, 0.0]), torch.tensor([1.0]))
    assert change((before[0] + torch.tensor([0.0, 9e-4]), before[1]), before) == 0
    assert change((before[0] + torch.tensor([0.0, 2e-3]), before[1]), before) == pytest.approx(2e-3)
    assert change((before[0], before[1] + 1e-5), before) == pytest.approx(1e-5, rel=0.05)  # each has its own rounding
    assert change((torch.tensor([math.nan, 0.0]), before[1]), before) == math.inf
    assert change((torch.tensor([math.inf, 0.0]), before[1]), before) == math.inf
