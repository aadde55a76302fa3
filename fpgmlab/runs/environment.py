"""Where a run ran, or something went wrong: versions, machine, the state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import fpgmlab
from fpgmlab.common.files import data_dir, installed_data
from fpgmlab.common.processor import processor
from fpgmlab.deployment.machine import cores
from fpgmlab.runs.folder import now

# What a result may depend on, beside torch.
PACKAGES = {
    "with torch": (
        "torchvision", "numpy", "scipy", "pandas", "matplotlib", "torchmetrics", "torch-pruning", "safetensors",
        "pyarrow", "accelerate", "distributed",
    ),
    "runtimes": ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "ncnn", "pnnx", "executorch"),
    "notebooks": ("jupyterlab", "notebook", "ipykernel", "ipywidgets", "anywidget", "papermill", "voila"),
    "networks of others": ("ultralytics", "libreyolo", "timm", "segmentation-models-pytorch"),
}  # fmt: skip


def environment(command: str) -> dict[str, object]:
    """Return what a later reader needs to know of the machine and the versions that a command ran with."""
    name, extensions = processor()
    return {
        "command": command,
        "at": now(),
        "fpgmlab": fpgmlab.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": {package: number for kind in PACKAGES for package, number in _versions(kind).items()},
        "system": platform.platform(),
        "machine": platform.node(),
        "processor": name,
        "extensions": list(extensions),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpus": _gpus(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "folder": os.getcwd(),
        "arguments": sys.argv[1:],
        "git": {
            "here": _git(Path.cwd()),
            "fpgmlab": _git(Path(__file__).parent),
        },
    }


def report_environment() -> str:
    """Return what a reader of a report of a fault needs to know: versions, processor, threads, runtimes.

    No name of a user or a machine, no path, no variable of the environment is in it.

    Returns
    -------
    str
        A line for each matter, to be printed and pasted.

    Examples
    --------
    >>> print(fl.report_environment().splitlines()[0])  # doctest: +ELLIPSIS
    fpgmlab: 0.1...
    """
    name, extensions = processor()
    checkout = Path(__file__).resolve().parents[2]  # installed, it may lie in somebody's repository
    state = _git(checkout) if (checkout / "pyproject.toml").is_file() else None
    code = "" if state is None else f", commit {str(state['commit'])[:10]}{', changed' if state['changed'] else ''}"
    lines = {
        "fpgmlab": f"{fpgmlab.__version__}{code}, data: {_data()}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": f"{name}, {' '.join(extensions) or 'no extensions that matter'}",
        "cores": f"{cores()} to use; threads of torch: {torch.get_num_threads()}",
        "GPUs": ", ".join(_gpus()) or "none",
        "torch": str(torch.__version__),
    }
    for kind in PACKAGES:
        lines[kind] = ", ".join(f"{package} {number}" for package, number in _versions(kind).items()) or "none"
    return "\n".join(f"{matter}: {told}" for matter, told in lines.items())


def _data() -> str:
    """Return in words where the data come from."""
    if os.environ.get("FPGMLAB_DATA"):
        return "FPGMLAB_DATA"
    try:
        return "fpgmlab-data" if data_dir() == installed_data() else "the checkout"
    except FileNotFoundError:
        return "none"


def _gpus() -> list[str]:
    return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]


def _versions(kind: str) -> dict[str, str]:
    """Return the version of each package of a kind that is installed."""
    return {package: number for package in PACKAGES[kind] if (number := _version(package)) is not None}


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
