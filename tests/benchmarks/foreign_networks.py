"""Other people's networks, listed by rule: timm's, torchvision's, segmentation-models-pytorch's, ultralytics' recipes,
diffusers'.

A name is ``package:network``. A network is built with random weights in which every tensor matters, for pictures of 64
pixels where it takes them, else of its own size.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.foreign import surroundings_kept
from tests.surgery import made
from tests.surgery.test_brought import PIXELS, TIMM, alive

Built = tuple[nn.Module, object]  # with what it is called with
SMALL = 64  # pixels
MOST = 90_000_000  # parameters
EACH = 3  # of each family in a file of timm's
SMP_ENCODERS = ("resnet18", "mobilenet_v2")
DIFFUSERS = {
    "unet2d": {"down": ("DownBlock2D", "AttnDownBlock2D"), "up": ("AttnUpBlock2D", "UpBlock2D")},
    "unet2d-convolutions": {"down": ("DownBlock2D", "DownBlock2D"), "up": ("UpBlock2D", "UpBlock2D")},
}


def listed(folder: Path) -> list[str]:
    """Return the names of all networks of the packages that are installed; sizes are kept in a folder."""
    found = [f"timm:{name}" for name in timm_names(folder)]
    found += [f"torchvision:{name}" for name in torchvision_names()]
    if find_spec("segmentation_models_pytorch"):
        import segmentation_models_pytorch as smp

        names = sorted(set(smp.MODEL_ARCHITECTURES_MAPPING) - {"dpt"})  # which takes transformers alone
        found += [f"smp:{name}-{encoder}" for name in names for encoder in SMP_ENCODERS]
    if find_spec("ultralytics"):
        found += [f"ultralytics:{name}" for name in recipes()]
    if find_spec("diffusers"):
        found += [f"diffusers:{name}" for name in DIFFUSERS]
    return found


def built(name: str) -> Built:
    """Return a network and what it is called with."""
    torch.manual_seed(0)
    package, _, rest = name.partition(":")
    if package == "torchvision":
        return made.build(rest)
    builders: dict[str, Callable[[str], Built]] = {
        "timm": _timm, "smp": _smp, "ultralytics": _ultralytics, "diffusers": _diffusers
    }  # fmt: skip
    return builders[package](rest)


def picture(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


# timm ----------------------------------------------------------------------------------------------------------------


def timm_names(folder: Path) -> list[str]:
    """Return the test set's networks, and of each family in each file of timm the smallest ones.

    A family is what a name begins with, up to its first digit or underscore: resnet, seresnet, vit.
    """
    import timm
    from timm.models import list_modules

    def count(name: str) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in timm.create_model(name).parameters())

    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module in sorted(list_modules()):
        for name in timm.list_models(module=module):
            families[module, re.split(r"[\d_]", name)[0]].append(name)
    sizes = _sizes(folder / "timm_sizes.json", [name for names in families.values() for name in names], count)
    found = [
        name
        for names in families.values()
        for name in sorted(names, key=lambda name: (sizes[name], name))[:EACH]
        if 0 < sizes[name] <= MOST
    ]
    return list(dict.fromkeys([*TIMM, *found]))


def _sizes(path: Path, names: list[str], count: Callable[[str], int]) -> dict[str, int]:
    """Return how many parameters each network has, 0 for one that cannot be counted; kept in a file."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name not in known:
            known[name] = 0
            with suppress(Exception):  # what cannot be built without memory is left out
                known[name] = count(name)
            path.write_text(json.dumps(known))
    return known


def _timm(name: str) -> Built:
    import timm

    for options in ({"img_size": SMALL}, {}):
        with suppress(Exception):  # too small for its windows or strides
            model = timm.create_model(name, num_classes=7, **options)
            x = picture(model.pretrained_cfg.get("input_size", (3,))[0], *(PIXELS.get(name, SMALL),) * 2)
            with torch.no_grad():
                model.eval()(x)
            return alive(model, x), x
    model = timm.create_model(name, num_classes=7)
    x = picture(*model.pretrained_cfg["input_size"])
    return alive(model, x), x


# The others ----------------------------------------------------------------------------------------------------------


def torchvision_names() -> list[str]:
    """Return torchvision's classifiers but for the large ones."""
    from torchvision import models

    def count(name: str) -> int:
        return next(iter(models.get_model_weights(name))).meta["num_params"]

    return [name for name in models.list_models(module=models) if count(name) <= MOST]


def _smp(name: str) -> Built:
    import segmentation_models_pytorch as smp

    kind, encoder = name.split("-")
    x = picture(3, *(4 * SMALL if kind == "pan" else SMALL,) * 2)  # its pyramid halves what is left of it
    return alive(smp.create_model(kind, encoder, encoder_weights=None, classes=3), x), x


def recipes() -> list[str]:
    """Return ultralytics' recipes of convolutions at their smallest scale."""
    import yaml

    (package,) = find_spec("ultralytics").submodule_search_locations
    found = []
    for path in sorted(Path(package, "cfg", "models").glob("*/yolo*.yaml")):
        scales = yaml.safe_load(path.read_text()).get("scales") or {}
        if path.parent.name.startswith("v3") or "world" in path.stem or "yoloe" in path.stem:
            continue  # large, or asks for texts
        scale = next(iter(scales), "") if isinstance(scales, dict) else ""
        found.append(re.sub(r"^(yolov?\d+)(?![a-z\d])", rf"\g<1>{scale}", path.stem))
    return found


def _ultralytics(recipe: str) -> Built:
    with surroundings_kept():
        from ultralytics import YOLO

        model = YOLO(f"{recipe}.yaml").model.eval()
    x = picture(3, SMALL, SMALL).abs()
    return model, x


def _diffusers(name: str) -> Built:
    from diffusers import UNet2DModel

    blocks = DIFFUSERS[name]
    model = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=blocks["down"], up_block_types=blocks["up"], norm_num_groups=8, attention_head_dim=16,
    )  # fmt: skip
    x = {"sample": picture(3, 16, 16), "timestep": torch.tensor([3])}
    made.fill(model.eval())
    return model, x
