"""A run that ended before its end goes on and gives what it would have given."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fpgmlab.runs import read_run
from fpgmlab.runs.folder import Refused
from fpgmlab.runs.running import run

ROOT = Path(__file__).resolve().parents[2]
FILE = """
run = "{folder}"
[model]
builder = "tests.runs.brought:network"
arguments = {{width = 8}}
[task]
builder = "tests.runs.brought:task"
[sweep]
ratios = [0.5]
batch_size = 30
[plan]
how = "allocate"
macs = 0.6
multiple = 1
[repair]
samples = 64
[fit]
epochs = {epochs}
lr = 0.02
extras = ["ema"]
"""
COMMAND = [sys.executable, "-m", "fpgmlab"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
RESULTS = ("curves.csv", "plan.json", "repaired.safetensors", "fitted.safetensors", "networks.csv")


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, epochs: int = 3) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(FILE.format(folder=(tmp_path / name).as_posix(), epochs=epochs))
        return path

    return write


def left_by(path: Path) -> dict[str, bytes]:
    folder = read_run(path).folder
    return {name: (folder / name).read_bytes() for name in RESULTS}


def losses(path: Path) -> list[str]:
    """Return the history without what a clock said."""
    return [line.rsplit(",", 1)[0] for line in (read_run(path).folder / "history.csv").read_text().splitlines()]


def test_ended_after_any_line_of_the_log_it_goes_on_and_gives_the_same(file: Callable[..., Path]):
    whole, broken = file("whole"), file("broken")
    said: list[str] = []
    run("fit", read_run(whole), say=said.append)
    epochs: list[str] = []
    for lines in range(2, 2 * len(said), 2):
        heard: list[str] = []

        def ends(text: str, heard: list[str] = heard, lines: int = lines) -> None:
            heard.append(text)
            epochs.extend([text] if text.startswith("fit: epoch") else [])
            if len(heard) == lines:
                raise Killed

        try:
            run("fit", read_run(broken), resume=True, say=ends)
        except Killed:
            continue
        break
    assert lines > 8
    assert [line for line in said if line in epochs] == epochs  # each epoch once: it goes on from checkpoints
    assert left_by(broken) == left_by(whole)
    assert losses(broken) == losses(whole)
    assert not list((read_run(broken).folder / "steps").glob("*/*"))  # what is finished is not kept twice


def test_ctrl_c_keeps_what_is_finished_and_says_so(
    file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from fpgmlab.runs import command

    path = file("stopped")

    def interrupts(text: str) -> None:
        if text.startswith("fit: epoch 2"):
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_say", interrupts)
    assert command.main(["fit", str(path)]) == 130
    folder = read_run(path).folder
    assert capsys.readouterr().err == (
        f"fpgmlab: interrupted; what is finished is kept in {str(folder)!r}, --resume goes on\n"
    )
    result = json.loads((folder / "result.json").read_text())
    assert result["finished"] is False
    assert list(result["steps"]) == ["sweep", "plan", "repair"]
    monkeypatch.undo()
    assert command.main(["fit", str(path)]) == 2
    assert "holds a run that was interrupted in 'fit'. Go on with --resume" in capsys.readouterr().err
    assert command.main(["fit", str(path), "--resume", "--set", "fit.workers=1"]) == 0
    assert json.loads((folder / "result.json").read_text())["steps"]["fit"]["resumed"] == 2
    whole = file("whole")
    run("fit", read_run(whole))
    assert left_by(path) == left_by(whole)


def test_what_has_changed_is_done_anew_when_asked(file: Callable[..., Path]):
    path = file("changed", epochs=1)
    run("fit", read_run(path))
    said: list[str] = []
    with pytest.raises(Refused, match=r"of 'repair', repair.samples was 64, is 32\. .*--again"):
        run("fit", read_run(path, ["repair.samples=32"]), resume=True)
    run("fit", read_run(path, ["repair.samples=32"]), again=True, say=said.append)
    assert [line for line in said if line.endswith("finished before")] == [
        "sweep: finished before",
        "plan: finished before",
    ]
    other = file("other", epochs=1)
    run("fit", read_run(other, ["repair.samples=32"]))
    assert left_by(path) == left_by(other)


def test_two_processes_do_not_work_in_one_folder(file: Callable[..., Path]):
    path = file("held", epochs=1)

    def second(text: str) -> None:
        if text.startswith("plan: finished"):
            with pytest.raises(Refused, match="another process works in"):
                run("fit", read_run(path), resume=True)

    run("fit", read_run(path), say=second)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), [(signal.SIGKILL, 3), (signal.SIGINT, 1), (signal.SIGTERM, 1)])
def test_killed_at_random_moments_it_ends_with_the_identical_network(
    file: Callable[..., Path], number: signal.Signals, times: int
):
    whole, broken = file("whole", 8), file("broken", 8)
    run("fit", read_run(whole))
    log = (read_run(whole).folder / "log.txt").read_text()
    seconds = sum(map(float, re.findall(r"finished in ([\d.]+) s", log)))
    draw = random.Random(int(number))
    for _ in range(times):
        process = subprocess.Popen(
            [*COMMAND, "fit", str(broken), "--resume"], env=ENVIRONMENT, cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        time.sleep(draw.uniform(0, seconds))
        process.send_signal(number)
        _, errors = process.communicate()
        assert "Traceback" not in errors
        # By the signal itself where Python is about to end: a shell says 130 of it as well.
        assert process.returncode in {-signal.SIGKILL, -signal.SIGINT, 130, 0}
    subprocess.run([*COMMAND, "fit", str(broken), "--resume"], env=ENVIRONMENT, cwd=ROOT, check=True)
    assert left_by(broken) == left_by(whole)
    assert losses(broken) == losses(whole)


@pytest.mark.slow
def test_two_processes_launched_by_accelerate_train_what_one_does(file: Callable[..., Path]):
    one, two = file("one"), file("two")
    run("fit", read_run(one))
    # With --cpu Accelerate 1.15 starts one process, whatever their number, unless there is MPI; its way to several on a
    # machine is called --multi_gpu, also where there is no GPU.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["-m", "fpgmlab", "fit"]
    done = subprocess.run([*launch, str(two)], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # One process says and writes all of it, once.
    log = [line.split(" ", 2)[2] for line in (read_run(two).folder / "log.txt").read_text().splitlines()]
    assert done.stdout.splitlines() == log
    assert sum(line.startswith("fit: epoch") for line in log) == 3
    (environment,) = json.loads((read_run(two).folder / "environment.json").read_text())
    assert environment["processes"] == 2
    assert left_by(two)["repaired.safetensors"] == left_by(one)["repaired.safetensors"]
    trained = [load_file(read_run(path).folder / "fitted.safetensors") for path in (one, two)]
    for name, tensor in trained[0].items():
        torch.testing.assert_close(trained[1][name], tensor, atol=1e-6, rtol=0, msg=name)
    # What cannot be ends all of them.
    done = subprocess.run([*launch, str(two)], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "and 'fit' is finished" in done.stderr
