"""ONNX: the file agrees with the model at any batch size, or is not written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.deployment.runtimes import onnx_session, run_onnx


@pytest.fixture(scope="module")
def small() -> nn.Module:
    model = fl.models.load("resnet20-fashion")
    graph = fl.trace(model, fl.tasks.fashion_mnist().example_input)
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.4)).train()


@pytest.mark.parametrize(("opset", "exporter"), [(None, "dynamo"), (13, "torchscript")])
def test_the_file_agrees_with_the_model(
    small: nn.Module, fashion: fl.tasks.Classification, tmp_path: Path, opset: int | None, exporter: str
):
    path = tmp_path / "small.onnx"
    images, _ = next(fashion.val_batches(32))
    report = fl.export_onnx(small, fashion.example_input, path, opset=opset, check_inputs=[images])
    assert small.training
    assert report.exporter == exporter
    assert report.opset >= 18 if opset is None else report.opset == opset
    assert report.bytes == path.stat().st_size
    assert report.max_rel_error <= 1e-4
    assert report.max_abs_error <= 1e-4 * 100
    assert report.examples > 32
    assert [p.name for p in tmp_path.iterdir()] == ["small.onnx"]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnx_session(path)
    for count in (1, 5, 32):  # the batch size is free
        with torch.no_grad():
            wanted = small.eval()(images[:count])
        small.train()
        (got,) = run_onnx(session, images[:count])
        np.testing.assert_allclose(got, wanted, atol=1e-4 * float(wanted.abs().max()))


class Counting(nn.Module):
    """Its exported file cannot be right: it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) + self.calls


class Unexportable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x.T @ x).real


def test_a_file_that_disagrees_is_not_written(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"differs from the model: relative error .* nothing was written"):
        fl.export_onnx(nn.Linear(4, 2), torch.randn(3, 4), tmp_path / "a.onnx", exporter="torchscript", tolerance=0.0)
    with pytest.raises(RuntimeError, match="Counting answers the same input differently each time"):
        fl.export_onnx(Counting(), torch.randn(3, 4), tmp_path / "a.onnx", exporter="torchscript")
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_exported_says_so(tmp_path: Path):
    with pytest.raises(RuntimeError, match="Unexportable could not be exported to ONNX"):
        fl.export_onnx(Unexportable(), torch.randn(3, 4), tmp_path / "a.onnx", opset=13)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="'auto', 'dynamo', 'torchscript'; not 'new'"):
        fl.export_onnx(Counting(), torch.randn(3, 4), tmp_path / "a.onnx", exporter="new")


def test_latency_takes_turns(small: nn.Module, fashion: fl.tasks.Classification, tmp_path: Path):
    path = tmp_path / "a.onnx"
    fl.export_onnx(small, fashion.example_input, path, opset=17)
    frame = fl.latency({"a": path, "b": path}, fashion.example_input, runs=5, threads=1)
    assert list(frame.columns) == ["name", "median_ms", "low_ms", "high_ms", "relative", "runs"]
    assert (frame["low_ms"] <= frame["median_ms"]).all()
    assert (frame["median_ms"] <= frame["high_ms"]).all()
    assert frame["relative"].iloc[0] == 1
    with pytest.raises(ValueError, match="runs must be at least 1"):
        fl.latency({"a": path}, fashion.example_input, runs=0)
