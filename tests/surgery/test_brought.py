"""Networks of other people's packages: timm's, segmentation-models-pytorch's, ultralytics' recipes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import fpgmlab as fl
from tests.foreign import surroundings_kept
from tests.surgery.made import calibrate, fill
from tests.whole_way import check_cut, check_saved, check_trains

# The smallest network of each family, by the file of timm that it is in.
TIMM = """
test_nfnet test_mambaout test_convnext test_vit lcnet_035 starnet_s050 test_vit_relpos dla46x_c mobilevit_xxs
repghostnet_050 edgenext_xx_small ghostnet_050 ese_vovnet19b_slim_dw efficientvit_b0 efficientvit_m0 regnetx_002
cspnext_tiny iformer_t fasternet_t0 cs3darknet_focus_s lcnetv2_small xcit_nano_12_p8_224 swiftformer_xs
inception_next_atto efficientformerv2_s0 fastvit_t8 efficientnet_lite0 pvt_v2_b0 rexnet_100 mobileone_s1 hardcorenas_b
hgnetv2_b0 pit_ti_224 repvit_m1 resnet10t cpubone_nano tiny_vit_5m_224 coat_tiny eva02_tiny_patch14_224 convit_tiny
deit_tiny_patch16_224 efficientvim_m1 gmlp_ti16_224 shvit_s1 vit_tiny_r_s16_p8_224 crossvit_tiny_240 densenet121
levit_128s maxvit_pico_rw_256 dpn48b resnest14d visformer_tiny csatv2 hrnet_w18_small resnetv2_18 legacy_seresnet18
poolformerv2_s12 skresnet18 gcvit_xxtiny cait_xxs24_224
""".split()  # noqa: SIM905
# What splits its channels by numbers that it keeps: in lists, by halves, by slices, in rows.
SPLITTING = "mixnet_s res2net50_26w_4s cs3darknet_s cspdarknet53 skresnet18 resnest14d dpn48b rexnet_100".split()  # noqa: SIM905
PIXELS = {"crossvit_tiny_240": 240}  # 64 for all others
# Why torch counts products that belong to no convolution or linear layer, or leaves out some that do.
OTHER_PRODUCTS = {
    "csatv2": "a cosine transform by F.linear, which torch computes as a product of batches",
    "swiftformer_xs": "queries times a vector of weights",
}
SMP = {
    "unet": lambda smp: smp.Unet("resnet18", encoder_weights=None, classes=3),
    "unet_scse": lambda smp: smp.Unet("mobilenet_v2", encoder_weights=None, classes=3, decoder_attention_type="scse"),
    "fpn": lambda smp: smp.FPN("resnet18", encoder_weights=None, classes=3),
    "deeplab": lambda smp: smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=3),
    "pspnet_with_classes": lambda smp: smp.PSPNet(
        "resnet18", encoder_weights=None, classes=3, aux_params={"classes": 5}
    ),
}
RECIPES = ("yolov5n", "yolov8n", "yolo11n", "yolo26n", "yolov8n-seg")


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


def alive(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a network in which every tensor matters: many begin with zeros somewhere."""
    fill(model)
    model.eval()
    calibrate(model, x)
    return model


def timm_network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network and a picture."""
    pixels = PIXELS.get(name, 64)
    try:
        model = timm.create_model(name, num_classes=7, img_size=pixels)
    except TypeError:
        model = timm.create_model(name, num_classes=7)
    x = torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    return alive(model, x), x


def go_the_whole_way(model: nn.Module, x: torch.Tensor, build: Callable[[], nn.Module], folder: Path, **options: bool):
    """Hold simulation, surgery, costs, training, saving and loading against each other, in both modes."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = fl.trace(model, x)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    plan = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.3, multiple=1)
    small = check_cut(graph, plan, **options)
    check_trains(small, torch.cat([x, x]))
    check_saved(small, build, x, folder)
    return graph, plan


# Of each kind of trouble one: attention, computed weights, sizes in the code, a layer scale, heads over two sizes.
QUICK = {
    "test_convnext",
    "test_nfnet",
    "test_vit_relpos",
    "mobilevit_xxs",
    "skresnet18",
    "resnest14d",
    "xcit_nano_12_p8_224",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TIMM])
def test_timm(name: str, tmp_path: Path):
    model, x = timm_network(name)
    _, plan = go_the_whole_way(model, x, lambda: timm_network(name)[0], tmp_path, macs=name not in OTHER_PRODUCTS)
    assert any(plan.removed.values())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "mixnet_s" else pytest.mark.slow) for n in SPLITTING]
)
def test_numbers_that_a_network_keeps_are_written_anew(name: str, tmp_path: Path):
    model, x = timm_network(name)
    graph, _ = go_the_whole_way(model, x, lambda: timm_network(name)[0], tmp_path)
    assert graph.reach >= 0.99
    assert [group.protected for group in graph.values() if group.protected] == ["it is the model's output"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "unet_scse" else pytest.mark.slow) for n in SMP])
def test_segmentation_models(name: str, tmp_path: Path):
    import segmentation_models_pytorch as smp

    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    _, plan = go_the_whole_way(alive(SMP[name](smp), x), x, lambda: alive(SMP[name](smp), x), tmp_path)
    assert sum(bool(channels) for channels in plan.removed.values()) > 8


@pytest.mark.parametrize("recipe", [pytest.param(r, marks=() if r == "yolo26n" else pytest.mark.slow) for r in RECIPES])
def test_ultralytics_recipes(recipe: str, tmp_path: Path):
    with surroundings_kept():
        from ultralytics.nn import tasks

        kind = tasks.SegmentationModel if recipe.endswith("-seg") else tasks.DetectionModel

        def build() -> nn.Module:
            return kind(f"{recipe}.yaml", nc=3, verbose=False).eval()

        x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        _, plan = go_the_whole_way(build(), x, build, tmp_path)
    assert sum(bool(channels) for channels in plan.removed.values()) > 20


def test_there_are_sixty_families():
    assert len(set(TIMM)) == 60
