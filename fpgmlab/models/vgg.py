"""VGG-16 with batch norm for small images (Simonyan & Zisserman, 2015; the CIFAR variant of network slimming)."""

from __future__ import annotations

from torch import Tensor, nn

# "M" halves the picture. The fifth pooling of the original is the global average at the end.
_LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


class VGG(nn.Module):
    """Thirteen 3x3 convolutions with batch norm, four poolings, a global average and one linear layer.

    Parameters
    ----------
    classes, channels : int
        Outputs, and channels of the input image.
    width : float
        Factor on every layer's channels.
    """

    def __init__(self, classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        last = channels
        for entry in _LAYERS:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(2))
                continue
            out = max(1, round(entry * width))
            layers += [nn.Conv2d(last, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            last = out
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (batch, 512w, height/16, width/16)
        return self.classifier(self.pool(x).flatten(1))  # (batch, classes)
