"""Killed or stopped at any moment, a gradual pruning goes on and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from torch import nn

import fpgmlab as fl
from tests.allocation.gradual.made import network, same, task
from tests.allocation.gradual.test_gradual import stop_after

ROOT = Path(__file__).resolve().parents[3]
GIVEN = {"target": 0.5, "steps": 3, "multiple": 1, "progress": False}
BETWEEN = [fl.Repair(samples=32), fl.Fit(epochs=2, lr=0.01, batch_size=16)]


def prune(path: Path | None = None, model: nn.Module | None = None, **options: Any) -> tuple[nn.Module, Any]:
    given = GIVEN | {"between": BETWEEN} | options
    return fl.prune_gradually(model or network(), given.pop("task", task()), path=path, **given)


def test_killed_at_any_moment_it_ends_the_same(tmp_path: Path):
    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-m", "tests.allocation.gradual.killing", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert len(kills) >= 5
    for name, kill in kills.items():
        assert kill["status"] == -signal.SIGKILL, name
        assert kill["resumed"] == 0, name
        assert kill["identical"], name
        assert kill["left"] == ["gradual.json", *(f"step-{n:03}.safetensors" for n in range(4))], name
    assert {kill["files"] for kill in kills.values()} == {0, 1, 2, 3}
    assert kills["training"]["checkpoints"] == kills["checkpoint"]["checkpoints"] == 1  # an epoch is not trained again


def test_it_is_the_same_with_a_folder_and_without(tmp_path: Path):
    model = network()
    for module in model.modules():
        module.train()
    model.norm2.eval()
    model.norm1.requires_grad_(False)
    without, history = prune(model=model)
    within, same_history = prune(tmp_path / "run", model)
    again, read = prune(tmp_path / "run", model)
    for other, frame in ((within, same_history), (again, read)):
        assert same(without, other)
        assert fl.provenance(other) == fl.provenance(without)
        assert {n: m.training for n, m in other.named_modules()} == {n: m.training for n, m in model.named_modules()}
        assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]
        assert frame.drop(columns="seconds").equals(history.drop(columns="seconds"))
    assert read.equals(same_history)
    step = fl.load(tmp_path / "run" / "step-002.safetensors", model)
    assert [plan.kept for plan in fl.provenance(step).plans] == [
        {"conv1": step.conv1.out_channels, "conv3": step.conv3.out_channels, "fc": 3}
    ]


@pytest.mark.parametrize("where", ["on_step", "in a function"])
def test_ctrl_c_leaves_a_folder_from_which_it_goes_on(tmp_path: Path, where: str):
    whole, _ = prune()
    calls = iter([False, True])

    def interrupt(*_: object) -> None:
        if next(calls, False):
            raise KeyboardInterrupt

    between = BETWEEN if where == "on_step" else [*BETWEEN, interrupt]
    early, history = prune(tmp_path, between=between, on_step=stop_after(1) if where == "on_step" else None)
    assert history.attrs["interrupted"]
    assert history["step"].iloc[-1] == 1
    late, history = prune(tmp_path, between=between)
    assert not history.attrs["interrupted"]
    assert same(late, whole)
    assert not same(early, late) or sum(p.numel() for p in early.parameters()) > sum(
        p.numel() for p in late.parameters()
    )


def test_a_full_disk_is_told_and_costs_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, _ = prune()
    write = safetensors.torch.save_file

    def full(tensors: object, path: Path, **options: Any) -> None:
        if "step-002" in str(path):
            raise OSError(28, "No space left on device")
        write(tensors, path, **options)

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.warns(UserWarning, match=r"step-002.* could not be written: .*No space left.*goes on"):
        small, _ = prune(tmp_path)
    assert same(small, whole)
    assert sorted(p.name for p in tmp_path.glob("step*")) == [f"step-00{n}.safetensors" for n in (0, 1, 3)]
    again, history = prune(tmp_path)
    assert same(again, whole)
    assert set(history["step"]) == {0, 1, 2, 3}


def changed(index: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = network()
        list(model.parameters())[index].data[0] += 1
        return model

    return make


def test_another_run_is_refused_with_what_differs(tmp_path: Path):
    path = tmp_path / "run"
    prune(path, on_step=stop_after(0))
    for options, words in (
        ({"model": changed(0)()}, "model: weights of 'conv1'"),
        ({"target": 0.4}, r"target\['macs'\]: stored 0.5, now 0.4"),
        ({"steps": 4}, "steps: stored 3, now 4"),
        ({"criterion": fl.criteria.L2()}, "criterion: stored 'fpgm', now 'L2'"),
        ({"between": BETWEEN[:1]}, r"between: stored '2 of them', now '1 of them'"),
        (
            {"between": [BETWEEN[0], fl.Fit(epochs=2, lr=0.02, batch_size=16)]},
            r"between\[1\].lr: stored 0.01, now 0.02",
        ),
        (
            {"between": [BETWEEN[0], fl.Fit(epochs=2, lr=0.01, batch_size=16, extras=[fl.Distill(network(1))])]},
            "Distill",
        ),
        ({"task": task(40)}, "train examples: stored '32', now '40'"),
        ({"schedule": "linear"}, "schedule: stored 'cubic', now 'linear'"),
    ):
        with pytest.raises(ValueError, match=f"holds another gradual pruning.*{words}"):
            prune(path, **options)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and holds no gradual pruning"):
        prune(other)
    (path / "step-000.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="is damaged: .* Remove it to go on from the step before"):
        prune(path)
    (path / "gradual.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged or of something else"):
        prune(path)
