"""Several processes train as one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import fpgmlab as fl
from fpgmlab.recovery.fitting.processes import launched
from tests.recovery.fitting.made import QUIET, assert_near

CASES = {
    "plain": "model, task = small_network(), small_task()",
    "norms": "model, task = small_network(norm=True), small_task()",
    "parts": "model, task, more = small_network(norm=True), small_task(70), {'accumulate': 2, 'batch_size': 9}",
    "odd": "model, task, more = small_network(norm=True), small_task(23), {'accumulate': 2, 'workers': 1}",
    "own": "model, task, more = Named(small_network()), Own(23), {'batch_size': 8, 'accumulate': 2, 'workers': 1}",
    "extras": "model, task, more = small_network(), small_task(), {'extras': [Counts(), fl.EMA(0.5), fl.EarlyStop(1)]}",
}
SCRIPT = """
import sys, warnings
import torch
import fpgmlab as fl
from tests.recovery.fitting.made import QUIET, Counts, Own, small_network, small_task
from tests.recovery.fitting.test_loop import Named

warnings.simplefilter("error")
folder, number, processes = sys.argv[1], int(sys.argv[2]), sys.argv[3]
more = {}
CASE
torch.manual_seed(int(sys.argv[2]))
if number:
    for tensor in model.parameters():
        tensor.data += torch.randn_like(tensor)  # the first process's count
told = []
options = {"epochs": 3, "lr": 0.1, "seed": 5, **QUIET, **more}
history = fl.fit(model, task, on_epoch=told.append, checkpoint=f"{folder}/run.pt", **options)
assert len(told) == (0 if number else len(history))
torch.save({"state": model.state_dict(), "rows": history.drop(columns="seconds").to_dict("list")},
           f"{folder}/{processes}-{number}.pt")
"""


def run(script: str, folder: Path, processes: int, **environment: str) -> list[str]:
    """Run a script in so many processes, as torchrun does; return what each wrote as errors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = []
    for number in range(processes):
        own = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        if processes > 1:
            own |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes)}
            own |= {"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-c", script, str(folder), str(number), str(processes)]
        running.append(subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True))
    return [process.communicate()[1] for process in running]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(tmp_path: Path, case: str):
    script = SCRIPT.replace("CASE", CASES[case])
    for processes in (1, 2):
        (folder := tmp_path / str(processes)).mkdir()
        errors = run(script, folder, processes)
        assert all("Error" not in error for error in errors), errors
    names = ("1/1-0.pt", "2/2-0.pt", "2/2-1.pt")
    one, first, second = (torch.load(tmp_path / name, weights_only=True) for name in names)
    assert_near(one["state"], first["state"], 1e-6)
    assert_near(first["state"], second["state"], 0)
    assert first["rows"] == second["rows"]
    assert one["rows"]["loss"] == pytest.approx(first["rows"]["loss"], rel=1e-4)
    assert one["rows"]["train_loss"] == pytest.approx(first["rows"]["train_loss"], rel=1e-4)
    assert sorted(os.listdir(tmp_path / "2")) == ["2-0.pt", "2-1.pt", "run.pt"]


BROKEN = """
import sys
import torch
import fpgmlab as fl
from tests.recovery.fitting.made import QUIET, small_network, small_task

folder, number, processes = sys.argv[1], int(sys.argv[2]), sys.argv[3]
model, task, options, seen = small_network(), small_task(), {"epochs": 5, **QUIET}, []
CASE
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("fl.fit(model, task, **options | {'batch_size': 2})", "3 processes are more than the examples of a batch: b"),
        ("fl.fit(model, small_task(2), **options)", "are 2 examples to train on. Launch fewer"),
        (
            "class Poison(fl.Extra):\n"
            "    def loss(self, *args):\n"
            "        seen.append(0)\n"
            "        return float('nan') if number == 1 and len(seen) == 7 else 0.0\n"
            "fl.fit(model, task, extras=[Poison()], **options)",
            "loss is nan in epoch 2, step 3; the model has its weights after epoch 1 again",
        ),
        (
            "history = fl.fit(model, task, stop=lambda: seen.append(0) or (number == 2 and len(seen) > 6), **options)\n"
            "assert history.attrs['interrupted'] and len(history) == 1\n"
            "raise SystemExit('ended together')",
            "ended together",
        ),
        (
            "import os, signal\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "def stop():\n"
            "    seen.append(0)\n"
            "    if number == 1 and len(seen) == 6:\n"
            "        os.kill(os.getpid(), signal.SIGINT)\n"
            "history = fl.fit(model, task, stop=stop, **options)\n"
            "assert history.attrs['interrupted'] and len(history) == 1\n"
            "raise SystemExit('ended together')",
            "ended together",
        ),
        (
            "task.__class__.val_batches = lambda self, *args: iter([(torch.zeros(0), 1 / 0)])\n"
            "fl.fit(model, task, **options)",
            "division by zero",
        ),
    ],
    ids=["batch", "data", "nan", "stop", "ctrl-c", "evaluation"],
)
def test_all_end_together(tmp_path: Path, case: str, words: str):
    errors = run(BROKEN.replace("CASE", case), tmp_path, 3)
    assert len(errors) == 3
    for error in errors:
        assert words in error.splitlines()[-1], error


def test_without_accelerate_one_process_trains_and_several_are_told(
    monkeypatch: pytest.MonkeyPatch, task: fl.tasks.Classification, tiny: nn.Module
):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert launched(torch.device("cpu")).count == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched(torch.device("cpu")).count == 1  # a cluster's own words: nothing was launched here
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(
        ImportError, match=r"one of 4 processes, .* needs Accelerate: pip install 'fpgmlab\[accelerate\]'"
    ):
        fl.fit(tiny, task, **QUIET)
    assert not dist.is_initialized()
