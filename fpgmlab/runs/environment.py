"""Where a run ran: versions, machine, the state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import fpgmlab
from fpgmlab.common.processor import processor
from fpgmlab.deployment.machine import cores
from fpgmlab.runs.folder import now

PACKAGES = ("torchvision", "numpy", "torchmetrics", "accelerate", "onnx", "onnxruntime", "openvino", "ncnn")


def environment(command: str) -> dict[str, object]:
    """Return what a later reader needs to know of the machine and the versions that a command ran with."""
    name, extensions = processor()
    return {
        "command": command,
        "at": now(),
        "fpgmlab": fpgmlab.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": {package: found for package in PACKAGES if (found := _version(package)) is not None},
        "system": platform.platform(),
        "machine": platform.node(),
        "processor": name,
        "extensions": list(extensions),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "folder": os.getcwd(),
        "arguments": sys.argv[1:],
        "git": {
            "here": _git(Path.cwd()),
            "fpgmlab": _git(Path(__file__).parent),
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, object] | None:
    """Return a checkout's commit, and whether files differ from it; None where there is none."""
    try:
        commit = _asked(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_asked(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _asked(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
