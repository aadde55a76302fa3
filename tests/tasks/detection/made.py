"""Detectors, data and pictures on disk that are made in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.networks import loss_options

HEAD_OPTIONS = loss_options(64**2, 2, (4.0, 1.0))
ANCHORS = (((12.0, 12.0), (20.0, 20.0)), ((24.0, 24.0), (32.0, 32.0)))


class Squares(Dataset):
    """Dark pictures of several shapes with a bright square each; class 0 is red, class 1 is green."""

    classes = ("red", "green")

    def __init__(self, count: int = 4, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.items = []
        for i in range(count):
            height, width = (48, 64) if i % 2 else (64, 64)
            image = torch.randint(40, (3, height, width), generator=generator, dtype=torch.uint8)
            x, y, side = (
                int(torch.randint(low, high, (), generator=generator)) for low, high in ((0, 36), (0, 20), (12, 28))
            )
            image[i % 2, y : y + side, x : x + side] = 250
            self.items.append((image, torch.tensor([[x, y, x + side, y + side]]).float(), torch.tensor([i % 2])))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.items[index]


class TinyDetector(nn.Module):
    """Two levels of two anchors, strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.a = self._block(3, 12, 2)
        self.b = self._block(12, 16, 2)
        self.c = self._block(16, 16, 2)
        self.heads = nn.ModuleList(nn.Conv2d(16, 2 * 7, 1) for _ in range(2))

    @staticmethod
    def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        fine = self.b(self.a(x))
        return self.heads[0](fine), self.heads[1](self.c(fine))


def sure(model: nn.Module) -> None:
    """Make the network sure of something, so that there is something to agree with."""
    for head in model.heads:
        nn.init.normal_(head.weight, 0, 1.0)
        nn.init.constant_(head.bias, 0.5)


def draw(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path, **options)
    return path


def yolo_folder(root: Path, labels: dict[str, str], yaml: str = "names: [cat, dog]\ntrain: images/train\n") -> Path:
    for name, text in labels.items():
        draw(root / "images" / "train" / f"{name}.png")
        (root / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (root / "labels" / "train" / f"{name}.txt").write_text(text)
    path = root / "data.yaml"
    path.write_text(yaml)
    return path


class Given:
    """A head whose outputs are the detections: (batch, count, 6) rows of box, score, label."""

    stride = 1

    def detections(self, outputs: Tensor, confidence: float) -> list[dict[str, Tensor]]:
        sure = [rows[rows[:, 4] >= confidence] for rows in outputs]
        return [{"boxes": r[:, :4], "scores": r[:, 4], "labels": r[:, 5].long()} for r in sure]


def write_squares(folder: Path, count: int = 8) -> Path:
    """Write pictures with one coloured square each in YOLO's layout, half to train on; return its ``data.yaml``."""
    generator = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for i in range(count):
        pixels = generator.integers(0, 40, (64, 64, 3), dtype=np.uint8)
        x, y = (int(n) for n in generator.integers(0, 40, 2))
        pixels[y : y + 24, x : x + 24, i % 2] = 250
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        (folder / "labels" / f"{i}.txt").write_text(f"{i % 2} {(x + 12) / 64} {(y + 12) / 64} {24 / 64} {24 / 64}\n")
    data = folder / "data.yaml"
    for split, numbers in (("train", range(count // 2)), ("val", range(count // 2, count))):
        (folder / f"{split}.txt").write_text("".join(f"images/{i}.png\n" for i in numbers))
    data.write_text("train: train.txt\nval: val.txt\nnames: [red, green]\n")
    return data
