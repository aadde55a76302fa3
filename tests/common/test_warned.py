"""Warnings point to the line that called into the package."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.common.warned import warn
from tests.conftest import blobs


class Deep(torch.nn.Module):
    """What a user's own code warns of in the midst of the package's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        warn("deep")
        return x


def test_the_nearest_line_outside_is_told():
    with pytest.warns(UserWarning, match="near") as caught:
        warn("near")
    with pytest.warns(UserWarning, match="deep") as deeper:
        torch.no_grad()(torch.nn.Sequential(Deep()))(torch.zeros(1))
    assert [Path(each[0].filename) for each in (caught, deeper)] == [Path(__file__)] * 2


def test_decorators_of_torch_and_dataclasses_do_not_hide_it(tmp_path: Path):
    """A data class's `__init__`, a function under `torch.no_grad` and one that calls others."""
    few = fl.tasks.Classification(blobs(6), blobs(3, seed=1), classes=3)
    for ask in (
        lambda: fl.tasks.Classification(blobs(6), blobs(6), classes=3).holdout(1),
        lambda: few.holdout(1),
        lambda: fl.recovery.repair(*_pruned(), few, samples=64, progress=False),
    ):
        with pytest.warns(UserWarning, match="only 6 of|to validate|to train on") as caught:
            ask()
        assert {Path(each.filename) for each in caught} == {Path(__file__)}


def _pruned() -> tuple[fl.ChannelGraph, fl.Plan]:
    graph = fl.trace(fl.models.build("resnet20", classes=3, channels=1, width=0.5).eval(), torch.zeros(1, 1, 12, 12))
    return graph, fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)


def test_a_category_and_the_end_of_the_stack_do(monkeypatch: pytest.MonkeyPatch):
    with pytest.warns(RuntimeWarning, match="slow"):
        warn("slow", RuntimeWarning)
    monkeypatch.setattr("fpgmlab.common.warned._BETWEEN", _Everything())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("all of the stack is inside")
    assert [str(each.message) for each in caught] == ["all of the stack is inside"]


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def test_nothing_in_the_package_warns_otherwise():
    root = Path(fl.__file__).parent
    others = [path for path in root.rglob("*.py") if "warnings.warn(" in path.read_text(encoding="utf-8")]
    assert others == [root / "common" / "warned.py"]
