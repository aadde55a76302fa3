"""The zoo: shapes, sizes known from the papers, and checkpoints that hold what they say."""

from __future__ import annotations

import pytest
import torch

import fpgmlab as fl


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet56", 0.85), ("resnet110", 1.7), ("vgg16", 14.7)],
)
def test_architectures_have_their_known_size(name: str, millions: float):
    model = getattr(fl.models, name)(classes=10, channels=3)
    # The papers' figures; ResNets here have two projections more.
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)
    assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
@pytest.mark.parametrize(
    ("channels", "classes", "width", "pixels"), [(1, 7, 0.25, 28), (4, 2, 0.5, 33), (3, 10, 1.5, 64)]
)
def test_any_channels_classes_width_and_size(name: str, channels: int, classes: int, width: float, pixels: int):
    model = fl.models.build(name, classes=classes, channels=channels, width=width)
    assert model(torch.randn(2, channels, pixels, pixels)).shape == (2, classes)
    record = fl.provenance(model)
    assert record.architecture == name
    assert record.options == {"classes": classes, "channels": channels, "width": width}


def test_width_scales_every_stage():
    model = fl.models.resnet20(width=0.5)
    assert [model.conv1.out_channels, model.layer2[0].conv1.out_channels, model.fc.in_features] == [8, 16, 32]


def test_checkpoints_are_listed_and_load_in_eval_mode():
    assert {"resnet20-fashion", "vgg16-fashion"} <= set(fl.models.available())
    for name in fl.models.available():
        assert not fl.models.load(name).training


def test_unknown_names_get_the_nearest_match():
    with pytest.raises(ValueError, match=r"unknown model 'resnet20-fashon': did you mean 'resnet20-fashion'"):
        fl.models.load("resnet20-fashon")
    with pytest.raises(ValueError, match=r"build\('resnet56'\) makes it untrained"):
        fl.models.load("resnet56")
    with pytest.raises(ValueError, match=r"unknown architecture 'resnet5': did you mean 'resnet56'"):
        fl.models.build("resnet5")


@pytest.mark.parametrize("option", [{"classes": 0}, {"channels": -1}, {"width": 0.0}])
def test_options_out_of_range_are_named(option: dict):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be > 0; got"):
        fl.models.build("resnet20", **option)


def test_a_depth_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"6n \+ 2"):
        fl.models.zoo.ResNet(21)
