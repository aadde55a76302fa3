"""INT8: what is written agrees with the float file, runs in whole numbers, and keeps in float what it says."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common.processor import processor
from fpgmlab.deployment import OnnxNetwork
from fpgmlab.deployment.profiling import Profile, profile_onnx
from fpgmlab.deployment.quantization.layers import Layers
from fpgmlab.deployment.quantization.writing import Prepared
from fpgmlab.models.boxes import Decoded


@pytest.fixture(scope="module")
def few() -> fl.tasks.Classification:
    return fl.tasks.fashion_mnist().subset(train=64, val=300)


@pytest.fixture(scope="module")
def exported(few: fl.tasks.Classification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "resnet20.onnx"
    fl.export_onnx(fl.models.load("resnet20-fashion"), few.example_input, path, opset=17)
    return path


def kernels(path: Path, folder: Path) -> Counter[str]:
    """Return what ONNX Runtime really runs of a file, by kind of kernel."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3  # that such a file is for this machine alone
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_the_file_is_whole_numbers_and_agrees(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    before = exported.read_bytes()
    report = fl.quantize(exported, few, tmp_path / "int8.onnx", samples=64, fastest=False, progress=False)
    assert exported.read_bytes() == before
    assert report.before == pytest.approx(fl.evaluate(fl.models.load("resnet20-fashion"), few)["accuracy"], abs=1e-6)
    assert report.after == pytest.approx(fl.evaluate(OnnxNetwork(tmp_path / "int8.onnx"), few)["accuracy"], abs=1e-6)
    assert report.drop == pytest.approx(report.before - report.after)
    assert abs(report.drop) < 0.02
    assert report.agreement > 0.97
    assert report.bytes == (tmp_path / "int8.onnx").stat().st_size
    assert report.bytes_ratio < 0.32
    assert (report.samples, report.calibration) == (300, 64)
    run = kernels(tmp_path / "int8.onnx", tmp_path)
    assert run["QLinearConv"] + run["QGemm"] == len(report.layers) == 22
    assert set(report.frame()["dtype"]) == {"int8"}
    assert "INT8 alone" in str(report)
    images, _ = next(few.val_batches(300))
    want, got = OnnxNetwork(exported)(images), OnnxNetwork(tmp_path / "int8.onnx")(images)
    assert isinstance(want, Tensor)
    assert isinstance(got, Tensor)
    assert report.error == pytest.approx(float((got - want).norm() / want.norm()), rel=1e-3)


def test_weights_have_a_scale_for_each_channel(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    fl.quantize(exported, few, tmp_path / "int8.onnx", samples=64, fastest=False, progress=False)
    made = onnx.load(tmp_path / "int8.onnx")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    makers = {node.output[0]: node for node in made.graph.node}
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    floats = {node.name: node for node in onnx.load(exported).graph.node}
    whole = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(exported).graph.initializer}
    for node in convolutions:
        quantized, scale, zero = (tensors[name] for name in makers[node.input[1]].input)
        assert quantized.dtype == np.int8
        assert len(scale) == len(quantized)
        assert not zero.any()
        wanted = whole[floats[node.name].input[1]]
        error = np.abs(quantized * scale[:, None, None, None] - wanted).max(axis=(1, 2, 3))
        assert (error <= scale * 0.5001).all()


@pytest.mark.parametrize("count", [1, 5, 12, 22])
def test_what_stays_in_float_is_computed_in_float(
    few: fl.tasks.Classification, exported: Path, tmp_path: Path, count: int
):
    network = OnnxNetwork(exported)
    images, _ = next(few.val_batches(16))
    prepared = Prepared.of(exported, [{"input": images.numpy()}], "minmax", False)
    weighted = prepared.layers.weighted
    stay = [weighted[int(i)] for i in np.random.default_rng(count).permutation(22)[:count]]
    used = prepared.layers.in_int8(stay)
    prepared.write(tmp_path / "mixed.onnx", used)
    run = kernels(tmp_path / "mixed.onnx", tmp_path)
    assert not set(stay) & set(used)
    assert run["QLinearConv"] + run["QGemm"] == len(set(weighted) & set(used))
    assert run["Conv"] + run["Gemm"] == 22 - len(set(weighted) & set(used))
    got, want = OnnxNetwork(tmp_path / "mixed.onnx")(images), network(images)
    assert isinstance(got, Tensor)
    assert isinstance(want, Tensor)
    assert float((got - want).norm() / want.norm()) < (1e-6 if count == 22 else 0.1)


def test_layers_go_back_to_float_until_the_metric_holds(tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 2)
    )
    with torch.no_grad():  # one channel drowns what the others tell
        model[2].weight[0] = 0
        model[2].bias[0] = 1e4
        model[5].weight.view(2, 16, 4, 4)[:, 0] = 0
    images = torch.randn(200, 1, 8, 8)
    labels = model(images).argmax(1)
    data = torch.utils.data.TensorDataset(images, labels)
    task = fl.tasks.Classification(data, data, classes=2, name="noise")
    fl.export_onnx(model, images[:2], tmp_path / "float.onnx")
    # Where pairs of products are added in 16 bits, all of them overflow: DEPLOYMENT.md.
    narrow = "avx2" in processor()[1] and not {"avx512_vnni", "avx_vnni"} & set(processor()[1])
    options = {"samples": 64, "fastest": False, "progress": False, "reduce_range": narrow}
    whole = fl.quantize(tmp_path / "float.onnx", task, tmp_path / "int8.onnx", **options)
    assert whole.before == 1
    assert whole.drop > 0.05
    report = fl.quantize(tmp_path / "float.onnx", task, tmp_path / "int8.onnx", max_drop=0.05, **options)
    assert report.drop <= 0.05
    frame = report.frame()
    assert 0 < (frame["dtype"] == "int8").sum() < 3
    assert set(frame["reason"]) >= {"", "sensitive"}


@pytest.mark.parametrize(("times", "wanted"), [((1.0, 0.9), 3), ((1.0, 0.99), 4), ((1.0, 1.1), 4)])
def test_the_whole_networks_time_decides_where_depthwise_layers_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: tuple[float, float], wanted: int
):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 36, 4),
    )  # fmt: skip
    images = torch.rand(16, 3, 8, 8)
    fl.export_onnx(model, images[:2], tmp_path / "float.onnx", opset=17)
    search = "fpgmlab.deployment.quantization.search"
    monkeypatch.setattr(f"{search}.medians", lambda runs: dict(zip(runs, times, strict=True)))
    monkeypatch.setattr(f"{search}.Search._slower_inside", lambda *_: [])
    report = fl.quantize(tmp_path / "float.onnx", [images], tmp_path / "int8.onnx", samples=16, progress=False)
    frame = report.frame().set_index("dtype")
    assert len(frame.loc[["int8"]]) == wanted
    assert wanted == 4 or frame.loc["float32", "reason"] == "faster in float"


def test_layers_are_timed_inside_the_network(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    images, _ = next(few.val_batches(16))
    prepared = Prepared.of(exported, [{"input": images.numpy()}], "minmax", False)
    found = {}
    for name, used in (("float", []), ("int8", prepared.layers.in_int8([]))):
        prepared.write(tmp_path / f"{name}.onnx", used)
        found[name] = profile_onnx(tmp_path / f"{name}.onnx", prepared.layers.owned, {"input": images.numpy()}, 1)
    for profile in found.values():
        assert set(profile.layers) == set(prepared.layers.weighted)
        assert sum(ms > 0 for ms in profile.layers.values()) >= 21  # the linear layer takes less than can be told


def test_a_layer_in_float_must_win_what_it_adds_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 256, 3), nn.ReLU(), nn.Conv2d(256, 16, 1))
    images = torch.rand(16, 3, 8, 8)
    fl.export_onnx(model, images[:2], tmp_path / "float.onnx", opset=17)
    profiles = iter((0.0, 1.0))  # ms of each layer in float, in INT8; 10 in all

    def made_up(path: Path, known: dict[str, tuple[int, str]], *_: object) -> Profile:
        return Profile(dict.fromkeys((name for _, name in known.values()), next(profiles)), 0.0, 10.0)

    monkeypatch.setattr("fpgmlab.deployment.quantization.search.profile_onnx", made_up)
    monkeypatch.setattr(
        "fpgmlab.deployment.quantization.search.medians",
        lambda runs: {name: 1 / (1 + i) for i, name in enumerate(runs)},
    )
    report = fl.quantize(tmp_path / "float.onnx", [images], tmp_path / "int8.onnx", samples=16, progress=False)
    # Ten percent of the time each; the middle one has 36,864 weights, nearly all of the file.
    assert [dtype for _, _, dtype, _ in report.layers] == ["float32", "int8", "int8"]


class Decoding(nn.Module):
    """A head whose answer is computed from what its last convolution gives: distances by a distribution, scores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.SiLU(), nn.Conv2d(8, 8, 3, groups=8), nn.SiLU())
        self.head = nn.Conv2d(8, 8, 1)
        self.mean = nn.Conv2d(4, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.head(self.body(x)).flatten(2)  # (batch, 8, cells)
        steps = raw[:, :4].unsqueeze(2).softmax(1)  # (batch, 4, 1, cells)
        return torch.cat([self.mean(steps).flatten(2) * 8, raw[:, 4:].sigmoid()], 1)


def test_a_detectors_decoding_stays_in_float(tmp_path: Path):
    torch.manual_seed(0)
    images = torch.rand(16, 3, 32, 32)
    fl.export_onnx(Decoding().eval(), images[:2], tmp_path / "float.onnx", opset=17)
    layers = Layers.of(onnx.load(tmp_path / "float.onnx"))
    assert [layers.nodes[name].input[1].rpartition(".")[0] for name in layers.weighted] == ["body.0", "body.2", "head"]
    assert [layers.nodes[name].input[1] for name in layers.depthwise] == ["body.2.weight"]
    assert [layers.nodes[name].op_type for name in layers.between] == ["Sigmoid", "Mul"] * 2
    report = fl.quantize(tmp_path / "float.onnx", [images], tmp_path / "int8.onnx", samples=16, progress=False)
    made = onnx.load(tmp_path / "int8.onnx")
    turned = {node.output[0] for node in made.graph.node if node.op_type == "DequantizeLinear"}
    softmax = next(node for node in made.graph.node if node.op_type == "Softmax")
    mean = next(node for node in made.graph.node if node.op_type == "Conv" and node.input[1] == "mean.weight")
    assert not turned & {*softmax.input, *mean.input}
    assert math.isnan(report.before)
    assert report.error < 0.05


def test_a_detector_that_decodes_is_judged_as_one_that_does_not(tmp_path: Path):
    """README's last line about detectors, and INT8 of that file."""
    model = fl.models.load("yolov5n-trees")
    task = fl.tasks.trees(size=160).subset(train=8, val=4)
    whole = fl.evaluate(model, task)
    assert whole["map50"] > 0.05
    for name, network in (("maps", model), ("boxes", Decoded(model))):
        fl.export_onnx(network, task.example_input, tmp_path / f"{name}.onnx", exporter="torchscript")
        assert fl.evaluate(OnnxNetwork(tmp_path / f"{name}.onnx"), task) == pytest.approx(whole, rel=1e-3)
    report = fl.quantize(
        tmp_path / "boxes.onnx", task, tmp_path / "int8.onnx", samples=8, fastest=False, progress=False
    )
    assert (report.metric, report.before) == ("map50", pytest.approx(whole["map50"], rel=1e-3))
    assert report.after == pytest.approx(report.before, abs=0.1)
    assert report.drop == report.before - report.after
    assert report.agreement > 0.5
    assert fl.check_export(tmp_path / "int8.onnx").architecture == "yolov5n"


def test_tensorrt_gets_signed_numbers_around_zero(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    report = fl.quantize(exported, few, tmp_path / "a.onnx", samples=64, target="tensorrt", progress=False)
    made = onnx.load(tmp_path / "a.onnx")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    turning = [node for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(turning) > 60
    for node in turning:
        assert tensors[node.input[2]].dtype == np.int8
        assert not tensors[node.input[2]].any()
    assert abs(report.drop) < 0.02


def test_nncf_is_the_second_way(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    name = next(n.name for n in onnx.load(exported).graph.node if n.op_type == "Conv")
    report = fl.quantize(
        exported, few, tmp_path / "int8.xml", method="nncf", samples=16, in_float=[name], progress=False
    )
    assert {p.name for p in tmp_path.iterdir()} == {"int8.xml", "int8.bin"}
    assert report.method == "nncf"
    assert abs(report.drop) < 0.02
    assert report.agreement > 0.97
    assert report.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    frame = report.frame()
    assert list(frame["dtype"]) == ["float32"] + ["int8"] * 21
    assert list(frame["reason"])[:2] == ["asked for", ""]
    with pytest.raises(ValueError, match=r"end in \.xml and \.bin; got '.*a\.onnx'"):
        fl.quantize(exported, few, tmp_path / "a.onnx", method="nncf")
    with pytest.raises(ValueError, match="max_drop, calibration, target and reduce_range are of method='onnxruntime'"):
        fl.quantize(exported, few, tmp_path / "a.xml", method="nncf", max_drop=0.1)


def test_the_float_file_is_not_overwritten(few: fl.tasks.Classification, exported: Path):
    before = exported.read_bytes()
    same = exported.parent / ".." / exported.parent.name / exported.name
    with pytest.raises(ValueError, match="path is the float file itself.*Choose another"):
        fl.quantize(exported, few, same, samples=16)
    assert exported.read_bytes() == before


@pytest.mark.parametrize("drop", [5, 1.0, -0.01])
def test_a_drop_of_more_than_there_is_bounds_nothing(
    few: fl.tasks.Classification, exported: Path, tmp_path: Path, drop: float
):
    with pytest.raises(ValueError, match=f"less than there is to lose.*got {drop:g}. Half a point is 0.005"):
        fl.quantize(exported, few, tmp_path / "a.onnx", samples=16, max_drop=drop)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_and_nothing_is_written(few: fl.tasks.Classification, exported: Path, tmp_path: Path):
    path = tmp_path / "int8.onnx"
    images, _ = next(few.val_batches(16))
    with (
        pytest.raises(ValueError, match="4 pictures are too few"),
        pytest.warns(UserWarning, match="only 4 of the 256"),
    ):
        fl.quantize(exported, [images[:4]], path)
    with pytest.raises(ValueError, match="the pictures are all alike"):
        fl.quantize(exported, [images[:1].expand(16, -1, -1, -1)], path, samples=16)
    with pytest.raises(ValueError, match="the pictures are constant"):
        fl.quantize(exported, [torch.rand(16, 1, 1, 1).expand(16, 1, 28, 28)], path, samples=16)
    with pytest.raises(ValueError, match=r"takes 'input' as \(batch, 1, 28, 28\); got \(16, 3, 32, 32\)"):
        fl.quantize(exported, [torch.rand(16, 3, 32, 32)], path, samples=16)
    with pytest.raises(ValueError, match="max_drop needs a task with labels"):
        fl.quantize(exported, [images], path, samples=16, max_drop=0.01)
    with pytest.raises(ValueError, match="unknown operation 'conv99'"):
        fl.quantize(exported, [images], path, samples=16, in_float=["conv99"], progress=False)
    with pytest.raises(ValueError, match="calibration must be one of 'minmax', 'percentile', 'entropy'; not 'best'"):
        fl.quantize(exported, [images], path, calibration="best")
    fl.export_onnx(fl.models.load("resnet20-fashion"), few.example_input, tmp_path / "old.onnx", opset=12)
    with pytest.raises(ValueError, match="has opset 12: a scale for each channel needs 13 or later"):
        fl.quantize(tmp_path / "old.onnx", [images], path)
    fl.quantize(exported, [images], tmp_path / "done.onnx", samples=16, progress=False)
    with pytest.raises(ValueError, match="is in INT8 already"):
        fl.quantize(tmp_path / "done.onnx", [images], path)
    assert {p.name for p in tmp_path.iterdir()} == {"old.onnx", "done.onnx"}
