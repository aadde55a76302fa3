"""What is in the image, as JSON; run in the container."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

import torch

PACKAGES = ("fpgmlab", "torch", "torchvision", "onnxruntime", "jupyterlab", "ipykernel", "anywidget", "voila")


def megabytes(*folders: Path) -> int:
    """Return how much several folders take on the disk, together."""
    listed = subprocess.run(["du", "-sm", *map(str, folders)], capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[0]) for line in listed.splitlines())


packages = Path(torch.__file__).parents[1]
cuda = [folder for folder in (packages / "nvidia", packages / "triton") if folder.is_dir()]
print(
    json.dumps(
        {
            "user": getpass.getuser(),
            "versions": {
                "debian": Path("/etc/debian_version").read_text().strip(),
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in PACKAGES},
                "cuda": torch.version.cuda,
            },
            "gpu": torch.cuda.is_available(),
            "megabytes": {
                "packages": megabytes(packages),
                "of these torch": megabytes(packages / "torch"),
                "of these CUDA beside it": megabytes(*cuda) if cuda else 0,
                "project": megabytes(Path.cwd()),
            },
        }
    )
)
