"""A second opinion: torch-pruning's dependency graph on real networks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import fpgmlab as fl
from tests.networks import Model, conv, pooled

AGREE = [
    "alexnet",
    "densenet121",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "resnext50_32x4d",
    "squeezenet1_1",
]


def build(name: str) -> nn.Module:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", AGREE)
def test_both_couple_the_same_layers(name: str):
    graph = fl.trace(build(name), torch.randn(1, 3, 64, 64))
    table = fl.crosscheck(graph)
    assert list(table.columns) == ["group", "same", "only_here", "only_there"]
    assert list(table["group"]) == [group.name for group in graph.values() if group.protected is None]
    assert table["same"].all(), table[~table["same"]].to_string()
    assert (table["only_here"] == "").all()
    assert (table["only_there"] == "").all()


def test_shipped_network(graph: fl.ChannelGraph):
    before = {name: tensor.clone() for name, tensor in graph.model.state_dict().items()}
    assert fl.crosscheck(graph)["same"].all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in graph.model.state_dict().items())


def test_a_difference_is_told():
    # torch-pruning couples by autograd's record: what runs without gradients is not in it.
    def unrecorded(m: Model, x: torch.Tensor) -> torch.Tensor:
        x = m.conv(x)
        with torch.no_grad():
            gate = m.gate(x).sigmoid()
        return m.fc(pooled(x * gate))

    layers = {"conv": conv(3, 8), "gate": conv(8, 8, 1), "fc": nn.Linear(8, 5)}
    table = fl.crosscheck(fl.trace(Model(unrecorded, layers), torch.randn(1, 3, 8, 8))).set_index("group")
    assert not table.loc["conv", "same"]
    assert table.loc["conv", "only_here"] == "gate:in, gate:out"


def test_networks_beyond_torch_pruning_are_named():
    graph = fl.trace(build("shufflenet_v2_x0_5"), torch.randn(1, 3, 64, 64))
    with pytest.raises(RuntimeError, match="torch-pruning cannot trace ShuffleNetV2"):
        fl.crosscheck(graph)
