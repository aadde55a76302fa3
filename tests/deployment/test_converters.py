"""Exports for other runtimes: both files or none, and only what agrees with the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.deployment.converters.report import errors
from tests.networks import busy

WRITERS = [(fl.export_openvino, "a.xml", "a.bin"), (fl.export_ncnn, "a.ncnn.param", "a.ncnn.bin")]
Writer = Callable[..., fl.ConversionReport]


def network() -> nn.Module:
    torch.manual_seed(0)
    return busy(nn.Sequential(nn.Conv2d(3, 100, 3), nn.ReLU(), nn.Conv2d(100, 50, 1), nn.Dropout(0.5)))


@pytest.mark.parametrize(("write", "name", "weights"), WRITERS)
def test_a_report_tells_of_files_in_float32(write: Writer, name: str, weights: str, tmp_path: Path):
    model = network().double().train()
    report = write(model, torch.randn(2, 3, 9, 9).double(), tmp_path / name)
    assert model.training
    assert next(model.parameters()).dtype == torch.float64
    assert {path.name for path in tmp_path.iterdir()} == {name, weights}
    assert report.paths == (str(tmp_path / name), str(tmp_path / weights))
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert (tmp_path / weights).stat().st_size >= 4 * sum(p.numel() for p in model.parameters())
    assert report.max_rel_error <= 1e-5
    assert report.runtime in name or name == "a.xml"


@pytest.mark.parametrize(("write", "name", "weights"), WRITERS)
def test_what_differs_is_not_written(write: Writer, name: str, weights: str, tmp_path: Path):
    with pytest.raises(
        RuntimeError, match=r"differs from the model in (openvino|ncnn): relative .* nothing was written"
    ):
        write(network(), torch.randn(1, 3, 9, 9), tmp_path / name, tolerance=0.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [fl.export_openvino, fl.export_ncnn, fl.export_executorch])
def test_another_ending_is_refused(write: Writer, tmp_path: Path):
    with pytest.raises(ValueError, match=r"the path must end in '\.(xml|ncnn\.param|pte)'; got '.*a\.model'"):
        write(network(), torch.randn(1, 3, 9, 9), tmp_path / "a.model")


def test_an_onnx_file_is_held_against_onnx_runtime(tmp_path: Path):
    fl.export_onnx(network(), torch.randn(1, 3, 9, 9), tmp_path / "a.onnx", opset=17)
    report = fl.export_openvino(tmp_path / "a.onnx", torch.randn(2, 3, 9, 9), tmp_path / "a.xml")
    assert report.max_rel_error <= 1e-5
    assert report.examples == 4


class Two(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": left * right, "left": torch.relu(left)}


def test_ncnn_takes_several_inputs_and_notes_their_shapes(tmp_path: Path):
    fl.export_ncnn(Two(), (torch.randn(1, 3, 4, 5), torch.randn(1, 1, 4, 5)), tmp_path / "a.ncnn.param")
    lines = (tmp_path / "a.ncnn.param").read_text().splitlines()
    assert [line.split()[5:] for line in lines if line.startswith("Input")] == [
        ["0=5", "1=4", "2=3"], ["0=5", "1=4", "2=1"],
    ]  # fmt: skip


def test_errors_are_relative_to_the_largest_output():
    wanted, got = [np.array([1.0, -4.0]), np.zeros(0)], [np.array([1.5, -4.0]), np.zeros(0)]
    assert errors(wanted, got) == (0.5, 0.125)
    assert errors([np.zeros(2)], [np.zeros(2)]) == (0, 0)
    with pytest.raises(ValueError, match=r"it gives \[\(2,\)\] where the model gives \[\(1, 2\)\]"):
        errors([np.zeros((1, 2))], [np.zeros(2)])
