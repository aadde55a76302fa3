"""ONNX: the file agrees with the model at any batch size, or is not written."""

from __future__ import annotations

import hashlib
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
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.4, multiple=1)).train()


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


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(288, 4)).eval()


@pytest.mark.parametrize("opset", [11, 17, 18, 25])
def test_the_opset_is_the_one_that_was_asked_for(tiny: nn.Module, tmp_path: Path, opset: int):
    report = fl.export_onnx(tiny, torch.rand(2, 3, 8, 8), tmp_path / "a.onnx", opset=opset)
    (version,) = [entry.version for entry in onnx.load(tmp_path / "a.onnx").opset_import if not entry.domain]
    assert report.opset == version == opset


def test_dynamos_file_is_converted_to_an_opset_that_it_does_not_write(tiny: nn.Module, tmp_path: Path):
    report = fl.export_onnx(tiny, torch.rand(2, 3, 8, 8), tmp_path / "a.onnx", opset=15, exporter="dynamo")
    assert (report.opset, report.exporter) == (15, "dynamo")
    with pytest.raises(RuntimeError, match=r"its opset \d\d cannot be converted to 11: .*\. Ask for \d\d"):
        fl.export_onnx(tiny, torch.rand(2, 3, 8, 8), tmp_path / "b.onnx", opset=11, exporter="dynamo")
    with pytest.raises(ValueError, match=r"opset must be a whole number of at least 1; got 13\.0"):
        fl.export_onnx(tiny, torch.rand(2, 3, 8, 8), tmp_path / "b.onnx", opset=13.0)
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(ValueError, match=rf"opset must be at most {newest}.*got {newest + 1}\. Leave it out"):
        fl.export_onnx(tiny, torch.rand(2, 3, 8, 8), tmp_path / "b.onnx", opset=newest + 1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_shapes_can_be_fixed(tiny: nn.Module, tmp_path: Path, exporter: str):
    images = torch.rand(2, 3, 8, 8)
    report = fl.export_onnx(tiny, images, tmp_path / "a.onnx", dynamic=False, exporter=exporter)
    assert not report.dynamic
    (entry,) = onnx.load(tmp_path / "a.onnx").graph.input
    assert [dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [2, 3, 8, 8]
    network = fl.deployment.OnnxNetwork(tmp_path / "a.onnx")
    five = torch.rand(5, 3, 8, 8)
    with torch.no_grad():  # in parts of two
        torch.testing.assert_close(network(five), tiny(five), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"takes 'input' as \(2, 3, 8, 8\); got \(2, 3, 9, 9\)"):
        network(torch.rand(2, 3, 9, 9))
    with pytest.raises(ValueError, match="takes 2 examples at once; check_inputs has one of 3"):
        fl.export_onnx(tiny, images, tmp_path / "b.onnx", dynamic=False, check_inputs=[torch.rand(3, 3, 8, 8)])


def test_half_precision_is_told_apart_from_pruning(small: nn.Module, fashion: fl.tasks.Classification, tmp_path: Path):
    whole = fl.export_onnx(small, fashion.example_input, tmp_path / "whole.onnx", opset=17)
    half = fl.export_onnx(small, fashion.example_input, tmp_path / "half.onnx", opset=17, dtype="float16")
    assert (whole.dtype, half.dtype) == ("float32", "float16")
    assert half.bytes_float32 == pytest.approx(whole.bytes, abs=8)
    assert 0.5 < half.bytes / half.bytes_float32 < 0.6
    assert half.channels_left == whole.channels_left == pytest.approx(0.6, abs=0.02)
    assert 1e-6 < half.max_rel_error < 1e-2
    made = onnx.load(tmp_path / "half.onnx")
    weights = [t.data_type for t in made.graph.initializer if len(t.dims) == 4]
    assert set(weights) == {onnx.TensorProto.FLOAT16}
    kinds = {entry.type.tensor_type.elem_type for entry in (*made.graph.input, *made.graph.output)}
    assert kinds == {onnx.TensorProto.FLOAT}
    with pytest.raises(ValueError, match="weights in float16"):
        fl.quantize(tmp_path / "half.onnx", fashion, tmp_path / "int8.onnx", samples=16)
    with pytest.raises(ValueError, match=r"dtype must be one of 'float32', 'float16' or INT8 by fpgmlab\.quantize"):
        fl.export_onnx(small, fashion.example_input, tmp_path / "a.onnx", dtype="int8")


def test_a_file_says_where_it_comes_from_and_whether_it_was_changed(
    fashion: fl.tasks.Classification, resnet: nn.Module, tmp_path: Path
):
    graph = fl.trace(resnet, fashion.example_input)
    plan = fl.Plan.from_ratios(graph, fl.score(graph, "l1"), {"layer1.0.conv1": 0.5})
    model = fl.repair(graph, plan, fashion, samples=16, progress=False)
    path = tmp_path / "a.onnx"
    report = fl.export_onnx(model, fashion.example_input, path, opset=17, notes={"criterion": "l1"})
    record = fl.check_export(path)
    assert record.sha256 == report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record.plans, record.repaired) == ((plan,), (True,))
    assert (record.architecture, record.dtype, record.opset) == ("resnet20", "float32", 17)
    assert record.notes == {"criterion": "l1"}
    assert record.versions["fpgmlab"] == fl.__version__
    assert record.versions["torch"] == torch.__version__
    assert b".py" not in path.read_bytes(), "where the exporter's code lies is nobody's business"
    fl.save(model, tmp_path / "a.safetensors")
    assert fl.provenance(fl.load(tmp_path / "a.safetensors")).repaired == (True,)
    assert fl.provenance(fl.prune(graph, plan)).repaired == (False,)

    images, _ = next(fashion.val_batches(16))
    fl.quantize(path, [images], tmp_path / "int8.onnx", samples=16, progress=False)
    whole = fl.check_export(tmp_path / "int8.onnx")
    assert (whole.plans, whole.repaired, whole.dtype) == ((plan,), (True,), "int8")
    assert whole.notes["quantized"]["source"] == record.sha256

    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of a weight
    path.write_bytes(content)
    with pytest.raises(ValueError, match="was changed after it was exported"):
        fl.check_export(path)
    with pytest.raises(ValueError, match="was changed after it was exported"):
        fl.quantize(path, [images], tmp_path / "b.onnx", samples=16)
    path.write_bytes(content[:1000])
    with pytest.raises(ValueError, match="is not an ONNX file, or only a part of one"):
        fl.check_export(path)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), path)
    with pytest.raises(ValueError, match="was not written by fpgmlab"):
        fl.check_export(path)


def test_latency_takes_turns(small: nn.Module, fashion: fl.tasks.Classification, tmp_path: Path):
    path = tmp_path / "a.onnx"
    fl.export_onnx(small, fashion.example_input, path, opset=17)
    frame = fl.latency({"a": path, "b": path}, fashion.example_input, runs=5, threads=1)
    assert list(frame.columns) == ["name", "median_ms", "low_ms", "high_ms", "relative", "runs", "note"]
    assert (frame["low_ms"] <= frame["median_ms"]).all()
    assert (frame["median_ms"] <= frame["high_ms"]).all()
    assert frame["relative"].iloc[0] == 1
    assert frame["note"].iloc[0] == ""
    with pytest.raises(ValueError, match="runs must be at least 1"):
        fl.latency({"a": path}, fashion.example_input, runs=0)
