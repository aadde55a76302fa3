"""What is said of the processor."""

from __future__ import annotations

import warnings

import pytest
import torch

from fpgmlab.common import processor
from fpgmlab.common.processor import warn_where_int8_overflows, warn_where_slow

CPU = torch.device("cpu")


@pytest.fixture(params=["bf16", "fp16"])
def kind(request, monkeypatch):
    """A kind of half precision for which oneDNN has no kernels here."""
    monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{request.param}_supported", lambda: False)
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[request.param]


def test_half_precision_without_kernels_is_told(kind: torch.dtype):
    with pytest.warns(UserWarning, match=f"no quick kernels for {kind} on this processor .*. off is quicker here"):
        warn_where_slow(CPU, kind, "off")


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float32), ("cpu", None), ("meta", torch.bfloat16)])
def test_all_else_is_not(device: str, dtype: torch.dtype | None, kind: torch.dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_where_slow(torch.device(device), dtype, "off")


def test_kernels_that_are_there_are_no_news(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_where_slow(CPU, torch.bfloat16, "off")


@pytest.mark.parametrize(
    ("extensions", "overflows"),
    [(("avx2",), True), (("avx2", "avx512f"), True), (("avx2", "avx_vnni"), False), (("avx2", "avx512_vnni"), False),
     (("asimd", "asimddp"), False), ((), False)],
)  # fmt: skip
def test_where_int8_can_overflow_it_is_told(extensions: tuple[str, ...], overflows: bool, monkeypatch):
    monkeypatch.setattr(processor, "processor", lambda: ("a processor", extensions))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_where_int8_overflows("reduce_range=True")
    assert ["For such processors pass reduce_range=True." in str(each.message) for each in told] == [True] * overflows
