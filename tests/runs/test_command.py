"""The command line: a run from its file to its folder, and what it says of what cannot be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import fpgmlab as fl
from fpgmlab.runs import read_run
from fpgmlab.runs.command import main
from fpgmlab.runs.help import EXAMPLE
from tests.runs import brought

ROOT = Path(__file__).resolve().parents[2]

WHOLE = """
[run]
seed = 3
[model]
builder = "tests.runs.brought:network"
arguments = {width = 16}
[task]
builder = "tests.runs.brought:task"
[sweep]
ratios = [0.25, 0.5]
[plan]
how = "allocate"
macs = 0.6
multiple = 1
[repair]
samples = 64
[fit]
epochs = 2
lr = 0.02
extras = ["distill"]
[evaluate]
split = "test"
[export]
[benchmark]
runtimes = ["torch"]
threads = 1
rounds = 2
memory = false
"""
Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """Give what calls a command in a folder of its own, with ``run.toml`` there: exit code, output, errors."""
    (tmp_path / "run.toml").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)

    def called(command: str, *more: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([command, "run.toml", *more])
        return (code, *capsys.readouterr())

    return called


def test_a_run_leaves_all_of_it_in_one_folder(call: Called, tmp_path: Path):
    code, said, errors = call("benchmark")
    assert (code, errors) == (0, "")
    folder = tmp_path / "outputs" / "run"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "run.toml", "resolved.toml", "environment.json", "log.txt", "result.json", "curves.parquet", "curves.csv",
        "plan.json", "plan.csv", "repaired.safetensors", "repair.csv", "fitted.safetensors", "history.csv",
        "networks.csv", "benchmark.csv",
    }  # fmt: skip
    assert (folder / "run.toml").read_text() == WHOLE
    resolved = tomllib.loads((folder / "resolved.toml").read_text())
    assert resolved["fit"]["optimizer"] == "sgd"
    assert resolved["repair"]["seed"] == 3
    (environment,) = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["command"] == "benchmark"
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    result = json.loads((folder / "result.json").read_text())
    assert result["finished"] is True
    assert [row["network"] for row in result["networks"]] == ["unpruned", "repaired", "fitted"]
    assert {row["samples"] for row in result["networks"]} == {60}  # the test data
    assert list(result["steps"]) == ["sweep", "plan", "repair", "fit", "benchmark"]
    assert result["steps"]["benchmark"]["rows"][0]["runtime"] == "torch"
    logged = [line.split(" ", 2)[2] for line in (folder / "log.txt").read_text().splitlines()]
    assert logged == said.splitlines()
    # It is what the same calls in a notebook give.
    task = brought.task()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = brought.network(16).eval()
    graph = fl.trace(model, task.example_input)
    scores = fl.score(graph, "fpgm", seed=3)
    curves = fl.sweep(graph, scores, task, ratios=[0.25, 0.5], progress=False)
    pd.testing.assert_frame_equal(fl.Curves.load(folder / "curves.parquet").frame, curves.frame)
    plan = fl.allocate(graph, curves, macs=0.6, multiple=1)
    assert fl.Plan.from_json(folder / "plan.json") == plan
    small = fl.repair(graph, plan, task, samples=64, seed=3, progress=False)
    fl.save(small, tmp_path / "small.safetensors")
    small = fl.load(tmp_path / "small.safetensors", model=model)
    fl.fit(small, task, 2, lr=0.02, seed=3, extras=[fl.Distill(model)], progress=False)
    kept = fl.load(folder / "fitted.safetensors", model=model)
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, kept.state_dict()[name]), name
    assert result["networks"][2]["accuracy"] == fl.evaluate(kept, task, split="test")["accuracy"]


def test_what_is_finished_is_taken_as_it_is_and_what_differs_is_refused(call: Called, tmp_path: Path):
    assert call("plan")[0] == 0
    folder = tmp_path / "outputs" / "run"
    before = (folder / "curves.parquet").stat().st_mtime_ns
    code, said, _ = call("repair")
    assert code == 0
    assert "sweep: finished before\nplan: finished before\n" in said
    assert (folder / "curves.parquet").stat().st_mtime_ns == before
    # The same again.
    code, said, errors = call("repair")
    assert code == 2
    assert "holds this run, and 'repair' is finished" in errors
    assert "--set run.folder=..." in errors
    assert call("repair", "--resume")[0] == 0
    # A step that is not done yet may change; one that is done may not.
    code, _, errors = call("prune", "--set", "plan.macs=0.5")
    assert code == 2
    assert "holds another run: of 'plan', plan.macs was 0.6, is 0.5" in errors
    assert call("fit", "--set", "fit.epochs=1")[0] == 0
    assert call("prune", "--set", "plan.macs=0.5", "--set", "run.folder=other")[0] == 0
    assert (tmp_path / "other" / "pruned.safetensors").exists()
    # What somebody has changed is not taken.
    (folder / "plan.json").write_text("{}")
    code, _, errors = call("export", "--set", "fit.epochs=1")
    assert code == 2
    assert "plan.json' is not there any more as 'plan' left it" in errors


def test_a_failure_is_told_in_words_and_can_be_put_right(call: Called, tmp_path: Path):
    extras = "fit.extras=[{name='distill', kind='features', layers=['sceond']}]"
    code, said, errors = call("fit", "--set", extras)
    assert code == 1
    assert errors.startswith("fpgmlab: ValueError: ")
    assert "did you mean 'second'?" in errors
    assert "fit: failed: ValueError: " in said
    assert json.loads((tmp_path / "outputs" / "run" / "result.json").read_text())["finished"] is False
    assert call("fit")[0] == 0


def test_a_state_dict_is_told_how_to_become_a_file_for_a_network_of_ones_own(call: Called, tmp_path: Path):
    torch.save(brought.network().state_dict(), tmp_path / "own.pth")
    _, said, errors = call("fit", "--set", "model.file=own.pth")
    assert "give it the state dict of torch.load(..., weights_only=True) and write it with fpgmlab.save" in errors
    assert "cannot be used as" not in errors
    assert said == ""


def test_a_quiet_run_reads_pictures_without_a_bar(call: Called, tmp_path: Path):
    for number in range(24):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (9 * number, 0, 0)).save(path)
    (tmp_path / "run.toml").write_text(
        'model = {name = "resnet20", classes = 2}\ntask = {name = "image_folder", path = "pictures", size = 16}\n'
        'plan = {how = "uniform", ratio = 0.5}\n'
    )
    assert call("plan", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fit", "--set", "fit.epoch=3"), "fit.epoch: unknown key 'epoch': did you mean 'epochs'"),
        (
            ("fit", "--set", "plan.macs=50"),
            "plan.macs must be the fraction that may remain, above 0 and at most 1; got",
        ),
        (("fit", "--set", "run.folder=run.toml"), "'run.toml' is a file; run.folder must be a folder"),
        (("fit", "--set", "run.folder=."), "holds no run, but other files ('run.toml')"),
        (("fit", "--set", "task.builder=tests.runs.brought:no_task"), "is no task: it has no train_batches"),
        (("fit", "--set", "task.holdout=3"), "has test data already"),
        (("fit", "--set", "model.arguments={width='x'}"), "model.arguments.width must be a whole number; got 'x'"),
    ],
)
def test_what_is_asked_wrongly_ends_before_anything_runs(call: Called, arguments: tuple[str, ...], told: str):
    code, said, errors = call(*arguments)
    assert code == 2
    assert told in errors
    assert said == ""
    assert "Traceback" not in errors


def test_a_command_without_its_section_is_told(call: Called, tmp_path: Path):
    (tmp_path / "run.toml").write_text('model = "vgg16-fashion"\ntask = "fashion_mnist"')
    for command, section in (("fit", "fit"), ("plan", "plan"), ("export", "export")):
        assert call(command) == (
            2,
            "",
            f"fpgmlab: run.toml: {command!r} needs a section [{section}], which may be empty\n",
        )


PARTS = """
model = "tests.runs.brought:network"
[task]
builder = "tests.runs.brought:task"
"""


def test_gradual_pruning_from_a_file(call: Called, tmp_path: Path):
    gradual = (
        '[gradual]\ntarget = 0.6\nsteps = 2\nmultiple = 1\nbetween = [{name = "repair", samples = 64}, "fit"]\n[fit]\n'
    )
    (tmp_path / "run.toml").write_text(PARTS + gradual)
    code, said, _ = call("prune")
    assert code == 0
    assert re.search(r"gradual: step 2, 5\d\.\d% of the macs, accuracy", said)
    task, model = brought.task(), brought.network().eval()
    model.load_state_dict(_first_weights())
    parts = [fl.Repair(samples=64), fl.Fit()]
    small, _ = fl.prune_gradually(model, task, target=0.6, steps=2, multiple=1, between=parts, progress=False)
    kept = fl.load(tmp_path / "outputs" / "run" / "gradual.safetensors", model=model)
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, kept.state_dict()[name]), name
    assert call("fit")[0] == 0
    assert call("prune")[0] == 2
    (tmp_path / "run.toml").write_text(PARTS + gradual + "[repair]\n[plan]\nhow = 'zeros'")
    assert "gradual: plans and repairs itself; leave out [plan]" in call("fit")[2]


def test_trained_to_zeros_then_cut(call: Called, tmp_path: Path):
    lasso = 'extras = [{name = "group_lasso", strength = 0.5, clean = 0.0}]'
    (tmp_path / "run.toml").write_text(f'{PARTS}[fit]\nepochs = 4\nbatch_size = 16\nkeep = "last"\n{lasso}')
    assert call("fit")[0] == 0
    made = '[model]\nbuilder = "tests.runs.brought:network"\nfile = "outputs/run/fitted.safetensors"\n'
    task = '[task]\nbuilder = "tests.runs.brought:task"\n'
    (tmp_path / "run.toml").write_text(f'{made}{task}[plan]\nhow = "zeros"')
    assert call("prune", "--set", "run.folder=cut")[0] == 0
    whole, small = json.loads((tmp_path / "cut" / "result.json").read_text())["networks"]
    assert small["macs"] < whole["macs"]
    assert small["accuracy"] == whole["accuracy"]


def _first_weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return brought.network().state_dict()


def test_help_tells_the_keys(capsys: pytest.CaptureFixture[str]):
    for command, words in (("fit", "lr = 0.05"), ("sweep", "recalibrate = 0"), ("plan", "by_depth")):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert words in capsys.readouterr().out


def test_the_run_files_that_are_shown_are_sound(tmp_path: Path):
    pages = [(ROOT / "README.md").read_text(), EXAMPLE]
    shown = [text for page in pages for text in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    shown += [textwrap.dedent(EXAMPLE.split("\n\n", 1)[1].split("\n\nEach")[0])]
    shown += [path.read_text() for path in (ROOT / "data" / "runs").glob("*.toml")]
    assert len(shown) == 3
    for text in shown:
        (tmp_path / "run.toml").write_text(text)
        file = read_run(tmp_path / "run.toml")
        assert {"plan", "repair", "fit", "export"} <= set(file.sections)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no epoch was as good")  # of 2,000 pictures
def test_the_shipped_run_file_ends_with_a_checked_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    small = ("train=2000", "val=500", "test=500")
    changes = [f"run.folder={folder}", "fit.epochs=1", *(f"task.subset.{size}" for size in small)]
    settings = [part for change in changes for part in ("--set", change)]
    assert main(["export", "data/runs/fashion.toml", *settings, "--quiet"]) == 0
    result = json.loads((folder / "result.json").read_text())
    unpruned, repaired, fitted = result["networks"]
    assert fitted["macs"] <= 0.5 * unpruned["macs"]
    assert unpruned["split"] == "test"
    assert repaired["accuracy"] > unpruned["accuracy"] - 0.05
    assert fitted["accuracy"] > unpruned["accuracy"] - 0.05
    assert fl.check_export(folder / "network.onnx").repaired == (True,)
    # The file is the network that was trained.
    network, images = fl.load(folder / "fitted.safetensors"), next(fl.tasks.fashion_mnist().val_batches(64, 64))[0]
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (found,) = session.run(None, {"input": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), network(images), atol=1e-3, rtol=1e-3)


def test_python_m_runs_it(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "fpgmlab", "fit", "nowhere.toml"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "fpgmlab: nowhere.toml: there is no such file\n")
