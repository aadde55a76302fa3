"""Models on disk: what is saved is what is loaded, and nothing that is read is executed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import fpgmlab as fl
from fpgmlab.checkpoints.weights import read_weights
from tests.checks import check_same
from tests.noted import CALLED, Call, noted

X = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def outputs(model: nn.Module, x: torch.Tensor = X) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(x)


def pruned_once(graph: fl.ChannelGraph, ratio: float = 0.4) -> nn.Module:
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "fpgm"), ratio, multiple=1))


def test_an_unpruned_model_comes_back(resnet: nn.Module, tmp_path: Path):
    fl.save(resnet, tmp_path / "a.safetensors")
    check_same(fl.load(tmp_path / "a.safetensors"), resnet, X)


def test_pruned_twice_is_loaded_as_pruned_twice(graph: fl.ChannelGraph, tmp_path: Path):
    once = pruned_once(graph)
    twice = pruned_once(fl.trace(once, X[:1]), 0.3)
    fl.save(twice, tmp_path / "twice.safetensors")
    loaded = fl.load(tmp_path / "twice.safetensors")
    check_same(loaded, twice, X)
    assert fl.provenance(loaded) == fl.provenance(twice)
    assert len(fl.provenance(loaded).plans) == 2
    assert not loaded.training
    assert loaded.layer1[0].conv1.out_channels == twice.layer1[0].conv1.out_channels
    thrice = pruned_once(fl.trace(loaded, X[:1]), 0.2)
    fl.save(thrice, tmp_path / "thrice.safetensors")
    check_same(fl.load(tmp_path / "thrice.safetensors"), thrice, X)


def test_training_goes_on_after_loading(graph: fl.ChannelGraph, fashion: fl.tasks.Classification, tmp_path: Path):
    fl.save(pruned_once(graph), tmp_path / "a.safetensors")
    loaded = fl.load(tmp_path / "a.safetensors")
    before = outputs(loaded)
    history = fl.fit(loaded, fashion.subset(train=256, val=100), lr=0.01, progress=False)
    assert len(history) == 1
    assert not torch.equal(outputs(loaded), before)


class Mine(nn.Module):
    """A user's own model: depthwise and grouped convolutions, layer norm, a shared weight, half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
        self.grouped = nn.Conv2d(16, 24, 3, groups=4)
        self.up = nn.ConvTranspose2d(24, 8, 2)
        self.norm = nn.GroupNorm(2, 8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.again = nn.Conv2d(8, 8, 1)
        self.again.weight = self.mix.weight
        self.act = nn.PReLU(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.up(self.grouped(self.depthwise(self.stem(x)))))
        return self.head(self.act(self.again(self.mix(x))).mean((2, 3)))


def test_a_models_own_class_needs_a_fresh_instance(tmp_path: Path):
    model = Mine().eval()
    graph = fl.trace(model, X[:1])
    pruned = fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1))
    fl.save(pruned, tmp_path / "mine.safetensors")
    fresh = Mine()
    state = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    loaded = fl.load(tmp_path / "mine.safetensors", model=fresh)
    check_same(loaded, pruned, X)
    assert loaded.again.weight is loaded.mix.weight
    assert all(torch.equal(state[name], tensor) for name, tensor in fresh.state_dict().items())
    with pytest.raises(ValueError, match=r"holds a tests\.models\.test_saving\.Mine: pass model="):
        fl.load(tmp_path / "mine.safetensors")


def test_the_same_model_gives_the_same_bytes(graph: fl.ChannelGraph, tmp_path: Path):
    for name in ("a", "b"):
        fl.save(pruned_once(graph), tmp_path / name, {"z": 1, "a": [2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_weights(tmp_path / "a").record["notes"] == {"z": 1, "a": [2]}


def test_channels_last_and_half_precision_are_saved(resnet: nn.Module, tmp_path: Path):
    model = resnet.to(memory_format=torch.channels_last).half()
    fl.save(model, tmp_path / "a.safetensors")
    loaded = fl.load(tmp_path / "a.safetensors")
    assert loaded.conv1.weight.dtype is torch.float16
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("writer", ["torch", "old torch", "pickle"])
def test_a_pickle_is_refused_not_executed(tmp_path: Path, writer: str):
    path = tmp_path / "model.safetensors"
    content = {"conv1.weight": torch.zeros(2), "call": Call(noted, "x")}
    CALLED.clear()
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(
        ValueError, match=r"is a pickle .* refused.* fl\.models\.yolov5\(weights='.*'\) reads it as data"
    ):
        fl.load(path)
    assert not CALLED


def test_truncated_and_foreign_files(resnet: nn.Module, tmp_path: Path):
    fl.save(resnet, tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    for cut in (0, 7, 100, len(content) - 1):
        (tmp_path / "cut.safetensors").write_bytes(content[:cut])
        with pytest.raises(ValueError, match="truncated or not a safetensors file"):
            fl.load(tmp_path / "cut.safetensors")
    (tmp_path / "text").write_text("hello, this is a text")
    with pytest.raises(ValueError, match="truncated or not a safetensors file"):
        fl.load(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"was not written by fpgmlab\.save: pass model="):
        fl.load(tmp_path / "foreign.safetensors")
    with pytest.raises(
        ValueError, match="does not belong to ResNet: it lacks .* and has a that the model does not know"
    ):
        fl.load(tmp_path / "foreign.safetensors", model=resnet)
    with pytest.raises(FileNotFoundError, match="no file"):
        fl.load(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "new.safetensors", metadata={"fpgmlab": json.dumps({"format": "x/9"})})
    with pytest.raises(ValueError, match=r"format 'x/9'; this version reads 'fpgmlab-model/1'"):
        fl.load(tmp_path / "new.safetensors")


def test_weights_of_a_wider_model_do_not_fit(tmp_path: Path):
    fl.save(fl.models.build("resnet20", channels=1, width=2.0), tmp_path / "wide.safetensors")
    with pytest.raises(
        ValueError, match=r"'conv1.weight' is \(32, 1, 3, 3\) in the file and \(16, 1, 3, 3\) in ResNet"
    ):
        fl.load(tmp_path / "wide.safetensors", model=fl.models.build("resnet20", channels=1))


def test_a_folder_that_cannot_be_written_leaves_nothing(resnet: nn.Module, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Choose a folder that you may write to"):
        fl.save(resnet, tmp_path / "file" / "a.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("given", ["resnet18", torchvision.models.resnet18, torchvision.models.resnet.ResNet])
def test_what_makes_a_network_is_no_network(tmp_path: Path, given: object):
    fl.save(torchvision.models.resnet18(num_classes=3), tmp_path / "small.safetensors")
    name = given if isinstance(given, str) else given.__name__
    with pytest.raises(TypeError, match=rf"an instance of nn\.Module: {name}\(num_classes=\.\.\.\), called; got "):
        fl.load(tmp_path / "small.safetensors", model=given)


def test_a_builders_name_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"models\.load\('resnet18'\) .* model=torchvision\.models\.resnet18\("):
        fl.load("resnet18")
    fl.save(fl.models.build("resnet20", channels=1), tmp_path / "resnet18")
    assert fl.load("resnet18").conv1.in_channels == 1
