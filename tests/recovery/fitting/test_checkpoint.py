"""Checkpoints: a training that goes on ends as one that was never stopped, and no other reads them."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import fpgmlab as fl
from tests.recovery.fitting.made import QUIET, Counts, assert_near, small_network, small_task

OPTIONS: dict[str, Any] = {"epochs": 4, "lr": 0.1, **QUIET}


def everything(**changed: Any) -> dict[str, Any]:
    return OPTIONS | {"extras": [Counts(), fl.EarlyStop(3), fl.EMA(0.8)]} | changed


class Stop:
    """Ask for the end at a step, as who is called before each does."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def assert_same(some: tuple[nn.Module, pd.DataFrame], other: tuple[nn.Module, pd.DataFrame]) -> None:
    assert_near(some[0].state_dict(), other[0].state_dict(), 0)
    pd.testing.assert_frame_equal(some[1].drop(columns="seconds"), other[1].drop(columns="seconds"))
    assert [some[1].attrs[name] for name in ("kept", "began")] == [other[1].attrs[name] for name in ("kept", "began")]


@pytest.mark.parametrize("options", [{"optimizer": "adamw"}, {"keep": "last", "accumulate": 2}, {"amp": "bfloat16"}])
@pytest.mark.parametrize("fresh", [True, False])
def test_stopped_and_called_again_it_ends_as_if_it_had_not_been(tmp_path: Path, options: dict, fresh: bool):
    task, path = small_task(), tmp_path / "run.pt"
    options = everything(**options)
    whole = small_network(norm=True, dropout=0.3)
    history = fl.fit(whole, task, **options)
    model, resumed = small_network(norm=True, dropout=0.3), []
    for step in (5, 2, 6, 99):  # 4 steps an epoch, or 2
        if fresh:
            model = small_network(norm=True, dropout=0.3)
        torch.rand(3)  # whatever the generators were
        found = fl.fit(model, task, checkpoint=path, stop=Stop(step), **options)
        resumed.append(found.attrs["resumed"])
        if not found.attrs["interrupted"]:
            break
    assert resumed[0] == 0
    assert resumed[-1] > 0
    assert_same((model, found), (whole, history))
    assert os.listdir(tmp_path) == ["run.pt"]
    again = small_network(norm=True, dropout=0.3)
    steps: list[dict] = []
    assert_same((again, fl.fit(again, task, checkpoint=path, on_step=steps.append, **options)), (whole, history))
    assert steps == []


def test_the_weights_from_before_compete_also_where_it_was_stopped(tmp_path: Path):
    start = small_network()
    fl.fit(start, small_task(), **OPTIONS)
    options = OPTIONS | {"lr": 3000.0}  # at 30 the last epoch is perfect on some processors
    histories, models = [], [copy.deepcopy(start) for _ in range(2)]
    with pytest.warns(UserWarning, match="no epoch was as good"):
        histories.append(fl.fit(models[0], small_task(), **options))
    with pytest.warns(UserWarning, match="no epoch was as good"):
        stopped = fl.fit(models[1], small_task(), checkpoint=tmp_path / "run.pt", stop=Stop(9), **options)
    with pytest.warns(UserWarning, match="no epoch was as good"):
        histories.append(fl.fit(models[1], small_task(), checkpoint=tmp_path / "run.pt", **options))
    assert (len(stopped), histories[1].attrs["resumed"], histories[1].attrs["kept"]) == (2, 2, 0)
    assert_same((models[1], histories[1]), (models[0], histories[0]))
    assert_near(models[1].state_dict(), start.state_dict(), 0)


SCRIPT = """
import sys
import fpgmlab as fl
from tests.recovery.fitting.made import small_network, small_task
from tests.recovery.fitting.test_checkpoint import everything

model = small_network(norm=True, dropout=0.3)
print("ready", flush=True)
fl.fit(model, small_task(), checkpoint=sys.argv[1], workers=int(sys.argv[2]), **everything(epochs=30))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path: Path, workers: int):
    path = tmp_path / "run.pt"
    whole = small_network(norm=True, dropout=0.3)
    history = fl.fit(whole, small_task(), **everything(epochs=30))
    killed, wait = 0, 0.05
    while killed < 20:
        command = [sys.executable, "-c", SCRIPT, str(path), str(workers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(wait)
            if process.poll() is not None:
                break
            process.kill()
        killed, wait = killed + 1, wait * 1.3
        assert set(os.listdir(tmp_path)) <= {"run.pt", "run.pt.part"}
    assert killed > 2
    model = small_network(norm=True, dropout=0.3)
    found = fl.fit(model, small_task(), checkpoint=path, **everything(epochs=30))
    assert_same((model, found), (whole, history))
    assert os.listdir(tmp_path) == ["run.pt"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lr": 0.2}, r"lr: there 0\.1, now 0\.2\."),
        ({"epochs": 5, "seed": 1}, r"epochs: there 4, now 5; seed: there 0, now 1"),
        ({"extras": [fl.GammaL1(0.1)]}, r"extra 1: there None, now .GammaL1\(strength=0\.1"),
        ({"extras": [fl.EMA(0.5)]}, r"extra 1: there None, now 'EMA\(decay=0\.5\)'"),
        ({"average": 0.5}, r"extra 1: there None, now 'EMA\(decay=0\.5\)'"),
        ({"task": small_task(80)}, r"the task's training examples: there 64, now 80"),
        ({"task": small_task(augment=False)}, r"augmentation: there 'ShiftAndFlip.*', now 'None'"),
        ({"model": small_network(norm=True)}, r"the network's modules '1'; the network's weights .* '1'"),
        ({"model": small_network(dropout=0.1)}, r"the network's modules '5'\."),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, changed: dict, words: str):
    path = tmp_path / "run.pt"
    fl.fit(small_network(), small_task(), checkpoint=path, stop=Stop(5), **OPTIONS)
    before = path.read_bytes()
    given = {"model": small_network(), "task": small_task(), "checkpoint": path, **OPTIONS, **changed}
    with pytest.raises(ValueError, match=rf"is the checkpoint of another training: .*{words}"):
        fl.fit(**given)
    assert path.read_bytes() == before


def test_other_weights_are_another_training(tmp_path: Path):
    path, model = tmp_path / "run.pt", small_network()
    fl.fit(small_network(), small_task(), checkpoint=path, stop=Stop(5), **OPTIONS)
    model[6].bias.data += 1e-6
    with pytest.raises(ValueError, match=r"another training: the network's weights before the training '6'\."):
        fl.fit(model, small_task(), checkpoint=path, **OPTIONS)


def test_another_teacher_is_another_training(tmp_path: Path):
    path = tmp_path / "run.pt"
    teachers = [small_network(), small_network()]
    teachers[1][6].bias.data += 1
    fl.fit(small_network(), small_task(), checkpoint=path, stop=Stop(5), extras=[fl.Distill(teachers[0])], **OPTIONS)
    with pytest.raises(ValueError, match=r"another training: extra 1: there 'Distill\(.*teacher \w+', now 'Distill"):
        fl.fit(small_network(), small_task(), checkpoint=path, extras=[fl.Distill(teachers[1])], **OPTIONS)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half", "weights", "code"])
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path: Path, content: bytes | str):
    path = tmp_path / "run.pt"
    if content == "half":
        fl.fit(small_network(), small_task(), checkpoint=path, stop=Stop(5), **OPTIONS)
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "weights":
        torch.save(small_network().state_dict(), path)
    elif content == "code":
        torch.save({"run": small_network()}, path)  # a class of torch's that is no tensor
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of a training, or damaged. Delete it"):
        fl.fit(small_network(), small_task(), checkpoint=path, **OPTIONS)


class Full:
    """A disk that is full in some epoch, at some call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        self._real = getattr(os, call)
        self.full = False
        monkeypatch.setattr(os, call, self)

    def __call__(self, *arguments: Any) -> Any:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._real(*arguments)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_told_of_and_the_old_checkpoint_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    path, disk = tmp_path / "run.pt", Full(monkeypatch, call)
    whole = small_network()
    history = fl.fit(whole, small_task(), **OPTIONS)

    def fill(row: dict) -> None:
        disk.full = row["epoch"] == 2  # while that of epoch 3 is written

    model = small_network()
    with pytest.warns(UserWarning, match=r"epoch 3 is not in the checkpoint '.*run.pt': No space left on.*still there"):
        found = fl.fit(model, small_task(), checkpoint=path, on_epoch=fill, stop=Stop(14), **OPTIONS)
    assert (len(found), os.listdir(tmp_path)) == (3, ["run.pt"])
    model = small_network()
    found = fl.fit(model, small_task(), checkpoint=path, **OPTIONS)
    assert found.attrs["resumed"] == 2
    assert_same((model, found), (whole, history))


def test_where_nothing_can_be_written_is_told_before_the_training(tmp_path: Path):
    (tmp_path / "file").write_text("")
    model, steps = small_network(), []
    with pytest.raises(OSError, match="no checkpoint can be written to '.*run.pt': .*Choose a folder"):
        fl.fit(model, small_task(), checkpoint=tmp_path / "file" / "run.pt", on_step=steps.append, **OPTIONS)
    assert steps == []


def test_in_a_folder_it_has_a_name(tmp_path: Path):
    fl.fit(small_network(), small_task(), checkpoint=tmp_path, **OPTIONS)
    assert os.listdir(tmp_path) == ["fit.pt"]
    fl.fit(small_network(), small_task(), checkpoint=tmp_path / "new" / "run", **OPTIONS)
    assert os.listdir(tmp_path / "new") == ["run"]


class Odd(fl.RunningExtra):
    def state_dict(self) -> dict:
        return {"when": pickle.PickleBuffer}


def test_a_state_that_could_not_be_read_again_is_refused(tmp_path: Path):
    with pytest.raises(TypeError, match="holds tensors, texts, numbers, .*; the state of the network or of an extra"):
        fl.fit(small_network(), small_task(), checkpoint=tmp_path / "run.pt", extras=[Odd()], **OPTIONS)
    assert os.listdir(tmp_path) == []
