"""A report of the environment tells what matters and nothing of whose it is."""

from __future__ import annotations

import getpass
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.common.processor import processor
from fpgmlab.runs.environment import environment


def test_versions_processor_threads_and_runtimes_are_told():
    report = fl.report_environment()
    lines = dict(line.split(": ", 1) for line in report.splitlines())
    assert lines["fpgmlab"].startswith(fl.__version__)
    assert lines["torch"] == torch.__version__
    assert lines["Python"].startswith(platform.python_version())
    name, extensions = processor()
    assert lines["processor"].startswith(name)
    assert all(extension in lines["processor"] for extension in extensions)
    assert lines["cores"].endswith(f"; threads of torch: {torch.get_num_threads()}")
    assert f"onnxruntime {version('onnxruntime')}" in lines["runtimes"]
    assert f"torchvision {version('torchvision')}" in lines["with torch"]
    told = environment("fit")["packages"]  # a run's record has the same
    assert all(f"{package} {number}" in report for package, number in told.items())


def test_it_names_no_user_no_machine_and_no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FPGMLAB_DATA", str(tmp_path / "secret"))
    monkeypatch.setattr(platform, "node", lambda: "someones-laptop")
    monkeypatch.setenv("LOGNAME", "someone")
    report = fl.report_environment()
    for told in ("someone", "laptop", "secret", str(Path.home()), os.getcwd(), str(Path(fl.__file__).parent)):
        assert told not in report
    assert getpass.getuser() == "someone"
    assert "data: FPGMLAB_DATA" in report
    assert not re.search(r"(^|\s)/\w", report)  # nor any other path


def test_where_the_data_come_from_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FPGMLAB_DATA", raising=False)
    assert "data: the checkout" in fl.report_environment()
