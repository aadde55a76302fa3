"""What the plan editor does in the background, against the functions that do it in a cell."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from torch import nn

import fpgmlab as fl
from fpgmlab.deployment.runtimes import onnx_session, run_onnx
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.desk.export import FILES
from fpgmlab.widgets.desk.job import Job, LossTrace
from tests.allocation.made import curves_of, rising
from tests.checks import check_same
from tests.conftest import blobs
from tests.widgets.gated import SECONDS, Gated


@pytest.fixture
def data() -> Iterator[Gated]:
    found = Gated(300)
    yield found
    found.gate.set()


@pytest.fixture
def job(tiny: nn.Module, data: Gated) -> tuple:
    task = fl.tasks.Classification(blobs(256), data, classes=3)
    graph = fl.trace(tiny.eval(), task.example_input)
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}
    return graph, curves_of(graph, drops, "accuracy"), task


@pytest.fixture
def make(job: tuple, data: Gated) -> Iterator[Callable[..., PlanEditor]]:
    """Return a function that makes editors of a plan, which are closed at the end."""
    graph, curves, _ = job
    editors = []

    def make_(*what: object, ratio: float = 0.4, **options: object) -> PlanEditor:
        plan = fl.Plan.uniform(graph, curves.scores, ratio, multiple=1)
        editors.append(PlanEditor(*(what or job), plan=plan, **{"multiple": 1, "measure": None, **options}))
        return editors[-1]

    yield make_
    data.gate.set()
    for editor in editors:
        editor.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export by torch's older exporter, which takes a moment only."""
    monkeypatch.setattr("fpgmlab.widgets.desk.export.export_onnx", partial(fl.export_onnx, exporter="torchscript"))


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs tell of everything, however soon after the last."""
    monkeypatch.setattr("fpgmlab.widgets.desk.workshop.Job", partial(Job, interval=0))


def done(editor: PlanEditor, state: str = "finished") -> None:
    assert editor.wait(SECONDS)
    assert editor.state == state, editor.work["message"]
    json.dumps(editor.get_state(["work", "results"]), allow_nan=False)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def key(editor: PlanEditor) -> str:
    return ",".join(map(str, editor.kept))


# Each job against the function ----------------------------------------------------------------------------------------


def test_evaluate_measures_the_really_pruned_network(make: Callable, job: tuple):
    graph, _, task = job
    editor = make()
    assert (editor.state, editor.pruned, editor.work["running"]) == ("idle", None, None)
    assert editor.wait()
    editor.evaluate()
    done(editor)
    expected = fl.evaluate(fl.prune(graph, editor.plan), task)
    assert editor.results == {key(editor): {"pruned": expected}}
    words = f"Evaluated: accuracy {expected['accuracy']:.4g}, loss {expected['loss']:.4g} on 300 samples."
    assert (editor.work["words"], editor.work["share"], editor.work["message"]) == (words, 1, "")
    assert editor.pruned is None


def test_prune_makes_the_network(make: Callable, job: tuple):
    editor, seen = make(), []
    editor.observe(lambda change: seen.append(change["new"]), "pruned")
    editor.prune()
    done(editor)
    assert same_weights(editor.pruned, fl.prune(job[0], editor.plan))
    assert seen == [editor.pruned]
    assert editor.work["pruned"]["current"]
    with pytest.raises(Exception, match="read-only"):
        editor.pruned = job[0].model
    before = editor.plan
    editor.plan = fl.Plan.uniform(job[0], job[1].scores, 0.2, multiple=1)
    assert not editor.work["pruned"]["current"]
    editor.plan = before
    assert editor.work["pruned"]["current"]


def test_fine_tuning_is_fit(make: Callable, job: tuple):
    graph, _, task = job
    editor = make()
    editor.fine_tune(epochs=2, lr=0.03)
    done(editor)
    model = fl.prune(graph, editor.plan)
    history = fl.fit(model, task, 2, lr=0.03, progress=False)
    assert same_weights(editor.pruned, model)
    row = history.set_index("epoch").loc[history.attrs["kept"]]
    tuned = editor.results[key(editor)]["fine-tuned"]
    assert tuned == {"loss": row["loss"], "accuracy": row["accuracy"], "samples": 300}
    work = editor.work
    shown = pd.DataFrame(work["epochs"])
    pd.testing.assert_frame_equal(shown, history[["epoch", "train_loss", "loss", "accuracy"]])
    assert ([step for step, _ in work["steps"]], work["total"], work["metric"]) == ([1, 2, 3, 4], 4, "accuracy")
    losses = [loss for _, loss in work["steps"]]
    assert [np.mean(losses[:2]), np.mean(losses[2:])] == pytest.approx(history["train_loss"].tolist(), rel=1e-6)
    # Once more, from where it is; the network of before stays as it was.
    before, weights = editor.pruned, copy.deepcopy(editor.pruned)
    editor.fine_tune(epochs=1, lr=0.03)
    done(editor)
    assert same_weights(before, weights)
    fl.fit(weights, task, 1, lr=0.03, progress=False)
    assert same_weights(editor.pruned, weights)


@pytest.mark.filterwarnings("ignore:no epoch was as good:UserWarning")
def test_a_training_that_leads_nowhere_is_told(make: Callable, job: tuple):
    editor = make()
    editor.fine_tune(epochs=3, lr=0.03)
    done(editor)
    before, found = copy.deepcopy(editor.pruned), editor.results
    editor.fine_tune(epochs=2, lr=3.0)
    done(editor)
    accuracy = fl.evaluate(before, job[2])["accuracy"]
    words = f"2 of 2 epochs made, none as good as the weights before: accuracy {accuracy:.4g}. They stay."
    assert editor.work["words"] == words
    assert same_weights(editor.pruned, before)
    assert editor.results == found
    assert len(editor.work["epochs"]) == 2


def test_repair_refits_and_measures_and_the_rest_goes_on_from_there(make: Callable, job: tuple):
    graph, _, task = job
    editor = make()
    editor.fine_tune(epochs=1, lr=0.03)
    done(editor)
    editor.repair()
    done(editor)
    model = fl.repair(graph, editor.plan, task, samples=256, progress=False)  # all of the training pictures
    assert same_weights(editor.pruned, model)  # from the cut again, not from what was trained
    expected = fl.evaluate(model, task)
    assert editor.results[key(editor)]["repaired"] == expected
    values = f"accuracy {expected['accuracy']:.4g}, loss {expected['loss']:.4g} on 300 samples"
    assert (editor.work["words"], editor.work["share"]) == (f"Repaired with 256 pictures: {values}.", 1)
    assert editor.work["pruned"]["words"].endswith(", repaired and not fine-tuned")
    editor.fine_tune(epochs=1, lr=0.03)
    done(editor)
    fl.fit(model, task, 1, lr=0.03, progress=False)
    assert same_weights(editor.pruned, model)
    assert editor.work["pruned"]["words"].endswith(", repaired and fine-tuned for 1 epoch")
    assert list(editor.report["network"].unique()) == ["original", "predicted", "repaired", "fine-tuned"]
    editor.prune()
    done(editor)
    assert same_weights(editor.pruned, fl.prune(graph, editor.plan))


@pytest.mark.parametrize("samples", [0, 2.5, True])
def test_repair_wants_a_number_of_pictures(make: Callable, samples: object):
    with pytest.raises(ValueError, match="samples must be a whole number of at least 1"):
        make().repair(samples)


def test_repair_takes_fewer_pictures_and_more_of_augmented_ones(make: Callable, job: tuple):
    graph, curves, task = job
    editor = make()
    editor.repair(samples=30)
    done(editor)
    assert same_weights(editor.pruned, fl.repair(graph, editor.plan, task, samples=30, progress=False))
    shifted = fl.tasks.Classification(blobs(40), task.val, classes=3, augment=fl.tasks.shift_and_flip(1))
    editor = make(graph, curves, shifted)
    for asked, taken in ((None, 40), (100, 100)):  # of 40, each several times
        editor.repair(asked)
        done(editor)
        assert editor.work["words"].startswith(f"Repaired with {taken} pictures: ")


def test_the_network_is_free_meanwhile(make: Callable, job: tuple, data: Gated):
    graph, _, task = job
    editor, expected = make(), fl.evaluate(fl.prune(graph, make().plan), task)
    data.stop = 256
    editor.evaluate()
    assert data.reached.wait(SECONDS)
    with torch.no_grad():
        for parameter in graph.model.parameters():
            parameter.zero_()
    plan = editor.plan
    editor.plan = fl.Plan.uniform(graph, job[1].scores, 0.1, multiple=1)  # the desk can be used, too
    data.gate.set()
    done(editor)
    assert list(editor.results.values()) == [{"pruned": expected}]
    assert key(editor) not in editor.results
    editor.plan = plan
    assert key(editor) in editor.results


# Export ---------------------------------------------------------------------------------------------------------------


def test_what_is_exported_is_what_was_pruned(make: Callable, job: tuple, tmp_path: Path):
    graph, _, task = job
    editor, folder = make(), tmp_path / "outputs" / "pruned"
    editor.evaluate()
    done(editor)
    editor.repair()
    done(editor)
    editor.fine_tune(epochs=1)
    done(editor)
    editor.export(folder)
    done(editor)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert editor.work["files"] == [str(folder / name) for name in FILES]
    images, _ = next(task.val_batches(32))
    with torch.no_grad():
        expected = editor.pruned.eval()(images)
    check_same(fl.load(folder / "model.safetensors"), editor.pruned, images)
    (found,) = run_onnx(onnx_session(folder / "model.onnx"), images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert fl.Plan.from_json(folder / "plan.json") == editor.plan
    report = json.loads((folder / "report.json").read_text())
    rows = {(row["network"], row["metric"]): row for row in report["results"]}
    cost = graph.cost(editor.plan)
    assert sum(p.numel() for p in editor.pruned.parameters()) == rows["pruned", "accuracy"]["params"] == cost.params
    assert rows["original", "accuracy"]["macs"] == graph.cost().macs
    assert rows["predicted", "accuracy"]["value"] == pytest.approx(editor.forecast.value)
    for network, measured in editor.results[key(editor)].items():
        assert rows[network, "accuracy"]["value"] == measured["accuracy"]
    assert [group["kept"] for group in report["groups"]] == editor.kept
    assert 0 <= report["parity"]["max_rel_error"] < 1e-3
    session = onnx_session(folder / "model.onnx")
    shapes = {each.name: list(each.shape) for each in session.get_outputs()}
    assert report["parity"]["outputs"] == shapes
    page = (folder / "report.md").read_text()
    for words in (
        "The exported network is repaired and fine-tuned for 1 epoch.",
        f"{cost.macs:,}",
        "| repaired | accuracy |",
        "| fine-tuned | accuracy |",
        "The file gives 1 output, `",
    ):
        assert words in page
    assert (report["repaired"], report["fine_tuned_epochs"]) == (True, 1)


@pytest.mark.usefixtures("quick")
def test_export_prunes_first_and_replaces_its_own_files_only(make: Callable, job: tuple, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    editor = make(*job[:2])  # no task is needed
    editor.export(tmp_path)
    done(editor)
    assert same_weights(editor.pruned, fl.prune(job[0], editor.plan))
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert "The exported network is neither repaired nor fine-tuned." in (tmp_path / "report.md").read_text()
    assert len(list(tmp_path.iterdir())) == len(FILES) + 1


@pytest.mark.usefixtures("quick")
def test_a_desk_that_shows_repaired_networks_trains_and_exports_them(make: Callable, job: tuple, tmp_path: Path):
    graph, _, task = job
    editor = make(measure="repaired", repair_samples=24)
    assert editor.wait(SECONDS)
    shown = editor.measured.set_index(["network", "metric"])["value"]
    editor.export(tmp_path)
    done(editor)
    expected = fl.repair(graph, editor.plan, task, samples=24, progress=False)
    assert same_weights(editor.pruned, expected)
    small = fl.load(tmp_path / "model.safetensors")
    assert fl.evaluate(small, task)["accuracy"] == pytest.approx(shown["repaired", "accuracy"])
    assert fl.check_export(tmp_path / "model.onnx").repaired == (True,)
    page = (tmp_path / "report.md").read_text()
    assert "The exported network is repaired and not fine-tuned." in page
    assert f"| repaired | accuracy | {shown['repaired', 'accuracy']:.5g} |" in page
    assert f"| pruned | accuracy | {shown['as cut', 'accuracy']:.5g} |" in page
    editor.plan = fl.Plan.uniform(graph, fl.score(graph), 0.25, multiple=1)
    editor.fine_tune(epochs=1)
    done(editor)
    assert editor.work["pruned"]["words"].endswith(", repaired and fine-tuned for 1 epoch")
    editor.plan = fl.Plan.uniform(graph, fl.score(graph), 0.5, multiple=1)
    editor.plan = replace(editor.plan, removed={})
    editor.export(tmp_path)
    done(editor)
    assert same_weights(editor.pruned, graph.model)
    assert "neither repaired nor fine-tuned" in (tmp_path / "report.md").read_text()
    editor.plan = fl.Plan.uniform(graph, fl.score(graph), 0.5, multiple=1)
    editor.prune()  # as asked, not repaired
    done(editor)
    editor.export(tmp_path)
    done(editor)
    assert same_weights(editor.pruned, fl.prune(graph, editor.plan))
    assert "neither repaired nor fine-tuned" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("quick")
def test_export_is_all_or_nothing(make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    editor = make()
    monkeypatch.setattr("fpgmlab.widgets.desk.export.save", full)
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        editor.export(tmp_path / name)
        done(editor, "failed")
        assert editor.work["message"] == "No space left on device: 'model.safetensors'"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []
    assert editor.pruned is not None
    (tmp_path / "file").touch()
    editor.export(tmp_path / "file")
    done(editor, "failed")
    assert f"cannot write to the folder {str(tmp_path / 'file')!r}" in editor.work["message"]
    (tmp_path / "there" / "model.onnx").mkdir()
    editor.export(tmp_path / "there")
    done(editor, "failed")
    assert "'model.onnx' is a folder there" in editor.work["message"]


def test_only_networks_of_one_tensor_are_exported(tmp_path: Path):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fc = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.fc(self.a(x) + self.b(y))

    graph = fl.trace(Two(), (torch.randn(1, 4), torch.randn(1, 4)))
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    editor.export(tmp_path / "new")
    done(editor, "failed")
    assert "only a network of one tensor can be exported; this was traced with tuple" in editor.work["message"]
    assert list(tmp_path.iterdir()) == []


# Cancel, errors, one at a time ----------------------------------------------------------------------------------------


def test_an_evaluation_can_be_cancelled(make: Callable, data: Gated):
    editor, data.stop = make(), 256
    editor.cancel()
    assert editor.state == "idle"
    editor.evaluate()
    assert data.reached.wait(SECONDS)
    editor.cancel()
    assert editor.work["stopping"]
    assert not editor.wait(0.01)
    data.gate.set()
    done(editor, "cancelled")
    assert (editor.results, editor.work["stopping"], editor.work["words"]) == ({}, False, "Cancelled: evaluate.")


@pytest.mark.usefixtures("telling")
@pytest.mark.parametrize("layer", [1, 8])
def test_a_cancelled_repair_leaves_the_network_of_before(make: Callable, layer: int):
    editor, count = make(), 0
    editor.prune()
    done(editor)
    before = editor.pruned

    def cancel(change: dict) -> None:
        nonlocal count
        count += "layers" in change["new"]["words"]
        if count == layer:
            editor.cancel()

    editor.observe(cancel, "work")
    editor.repair()
    done(editor, "cancelled")
    assert editor.pruned is before
    assert editor.results == {}
    assert editor.work["words"] == "Cancelled before all layers were repaired: the network is as before."


def test_what_is_repaired_stays_when_its_evaluation_is_cancelled(make: Callable, job: tuple, data: Gated):
    editor, data.stop = make(), 256
    editor.repair()
    assert data.reached.wait(SECONDS)
    editor.cancel()
    data.gate.set()
    done(editor, "cancelled")
    assert same_weights(editor.pruned, fl.repair(job[0], editor.plan, job[2], samples=256, progress=False))
    assert editor.results == {}
    assert editor.work["words"] == "Repaired; cancelled before that was measured."


@pytest.mark.parametrize("passes", [1, 2, 3])  # the first is before the training
def test_a_cancelled_training_keeps_its_best_weights(make: Callable, job: tuple, data: Gated, passes: int):
    graph, _, task = job
    editor, count = make(), 0
    first = fl.prune(graph, editor.plan)
    begun = copy.deepcopy(first)
    history = fl.fit(first, task, 3, lr=0.03, progress=False)  # epoch by epoch the same as below
    rows = history.set_index("epoch")

    class Gate:
        """A task whose validation waits in some pass, before its first batch."""

        def __getattr__(self, name: str) -> object:
            return getattr(task, name)

        def val_batches(self, *args: object) -> Iterator:
            nonlocal count
            count += 1
            if count == passes:
                data.reached.set()
                assert data.gate.wait(SECONDS)
            yield from task.val_batches(*args)

    editor = make(graph, job[1], Gate())
    editor.fine_tune(epochs=3, lr=0.03)
    assert data.reached.wait(SECONDS)
    editor.cancel()
    data.gate.set()
    done(editor, "cancelled")
    if passes < 3:
        assert same_weights(editor.pruned, begun)
        assert editor.results == {}
        assert editor.work["words"].startswith("Cancelled before the first epoch was through")
    else:
        tuned = editor.results[key(editor)]["fine-tuned"]
        assert (tuned["accuracy"], tuned["loss"]) == (rows.loc[1, "accuracy"], rows.loc[1, "loss"])
        found = fl.evaluate(editor.pruned, task)
        assert (found["accuracy"], found["loss"]) == pytest.approx((tuned["accuracy"], tuned["loss"]), rel=1e-6)
        assert editor.work["words"].startswith("Cancelled after 1 of 3 epochs: accuracy ")


def test_errors_in_words_and_the_next_try(make: Callable, data: Gated):
    editor, data.stop, data.damaged = make(), 256, True
    for start in (editor.evaluate, editor.fine_tune, editor.repair):
        start()
        done(editor, "failed")
        assert isinstance(editor.error, OSError)
        assert editor.work["message"] == "OSError: picture 256 is damaged"
        assert editor.work["words"].startswith("Failed: ")
    assert editor.pruned is not None  # it was pruned before the training failed
    data.damaged, data.stop = False, 10**9
    editor.evaluate()
    done(editor)
    assert (editor.error, editor.work["message"]) == (None, "")


def test_a_training_that_fails_leaves_the_pruned_network(make: Callable, job: tuple):
    editor = make()
    editor.fine_tune(epochs=2, lr=1e30)
    done(editor, "failed")
    assert "Lower lr" in editor.work["message"]
    assert same_weights(editor.pruned, fl.prune(job[0], editor.plan))


def test_a_network_that_cannot_be_copied_is_said(make: Callable, job: tuple):
    editor = make()
    job[0].model.lock = threading.Lock()
    editor.prune()
    done(editor, "failed")
    assert "TypeError: cannot pickle" in editor.work["message"]


def test_one_job_at_a_time(make: Callable, data: Gated, tmp_path: Path):
    editor, data.stop = make(), 256
    editor.evaluate()
    assert data.reached.wait(SECONDS)
    work = editor.work
    assert (work["running"], work["state"], set(work["can"].values())) == ("evaluate", "running", {False})
    assert set(work["why"].values()) == {"evaluate is running"}
    for start in (editor.evaluate, editor.prune, editor.repair, editor.fine_tune, lambda: editor.export(tmp_path)):
        with pytest.raises(RuntimeError, match=r"evaluate is running: cancel\(\) it, or wait\(\) for its end"):
            start()
    editor._handle_custom_msg({"do": "prune"}, [])
    assert editor.notice["words"].startswith("evaluate is running")
    editor._handle_custom_msg({"do": "cancel"}, [])
    assert editor.work["stopping"]
    data.gate.set()
    done(editor, "cancelled")


def test_without_a_task(make: Callable, job: tuple):
    editor = make(*job[:2])
    needing = {"evaluate": False, "repair": False, "fine-tune": False}
    assert editor.work["can"] == needing | {"prune": True, "export": True}
    for start in (editor.evaluate, editor.repair, editor.fine_tune):
        with pytest.raises(ValueError, match=r"no task was given: PlanEditor\(graph, curves, task\)"):
            start()
    assert editor.state == "idle"


@pytest.mark.usefixtures("quick")
def test_buttons_do_what_methods_do(make: Callable, job: tuple, tmp_path: Path):
    editor = make()
    for content in (
        {"do": "prune"}, {"do": "evaluate"}, {"do": "repair"}, {"do": "fine-tune", "epochs": 1, "lr": 0.01},
        {"do": "export", "folder": str(tmp_path / "new")},
    ):  # fmt: skip
        editor._handle_custom_msg(content, [])
        done(editor)
    assert set(editor.results[key(editor)]) == {"pruned", "repaired", "fine-tuned"}
    assert len(list((tmp_path / "new").iterdir())) == len(FILES)
    assert len(editor.work["steps"]) == 2  # the chart of the training stays


def test_an_observer_may_wait_for_the_work(make: Callable, job: tuple):
    editor = make()
    editor.observe(lambda change: (editor.evaluate(), editor.wait()), "plan")
    editor.plan = fl.Plan.uniform(job[0], job[1].scores, 0.2, multiple=1)
    done(editor)
    assert key(editor) in editor.results


def test_close_ends_the_work(make: Callable, data: Gated):
    editor, data.stop = make(), 256
    editor.evaluate()
    assert data.reached.wait(SECONDS)
    threading.Timer(0.05, data.gate.set).start()
    editor.close()
    assert editor.state == "cancelled"
    editor.close()


def test_it_tells_no_more_than_four_times_a_second(make: Callable):
    editor, told = make(), []
    editor.observe(lambda change: told.append(change["new"]["words"]), "work")
    start = time.monotonic()
    editor.fine_tune(epochs=3)
    assert editor.wait(SECONDS)
    assert len(told) <= 4 + (time.monotonic() - start) / 0.25
    assert "Pruning." in told


# The report -----------------------------------------------------------------------------------------------------------


def test_the_report_is_what_is_known_of_the_plan(make: Callable, job: tuple):
    graph, curves, _ = job
    editor = make()
    editor.evaluate()
    done(editor)
    report = editor.report.set_index(["network", "metric"])
    assert list(report.index) == [
        ("original", "accuracy"), ("predicted", "accuracy"), ("pruned", "loss"), ("pruned", "accuracy"),
    ]  # fmt: skip
    found, base = editor.forecast, report.loc["original", "accuracy"]
    assert (base["value"], base["samples"]) == (curves.base["accuracy"], 1000)
    row = report.loc["predicted", "accuracy"]
    assert row["value"] == found.value
    assert (row["low"], row["high"]) == (max(0, found.value - found.half), min(1, found.value + found.half))
    assert row["macs"] == graph.cost(editor.plan).macs
    assert report["latency"].isna().all()
    assert report.loc["pruned", "accuracy"]["value"] == editor.results[key(editor)]["pruned"]["accuracy"]
    editor.plan = fl.Plan.uniform(graph, curves.scores, 0.99, multiple=1)
    beyond = editor.report.set_index("network").loc["predicted"]
    assert np.isnan(beyond["low"])  # more than was measured: there is no interval
    assert set(editor.report["network"]) == {"original", "predicted"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("repaired", [False, True])
def test_what_curves_after_repair_predict_is_said_to_be_after_repair(
    make: Callable, job: tuple, tmp_path: Path, repaired: bool
):
    graph, curves, _ = job
    editor = make(graph, replace(curves, repaired=repaired))
    assert editor.desk["repaired"] == editor.report.attrs["repaired"] == repaired
    editor.export(tmp_path)
    done(editor)
    assert (
        f"removal alone does, {'once repaired' if repaired else 'before any recovery'}."
        in (tmp_path / "report.md").read_text()
    )
    assert json.loads((tmp_path / "report.json").read_text())["predicted_repaired"] == repaired
    words = " ".join(text.get_text() for text in editor.figure().findobj(Text))
    assert ("predicted after repair" in words) == ("is pruned and repaired" in words) == repaired


def test_results_are_of_the_channels_that_the_bars_stand_for(make: Callable, job: tuple):
    graph, curves, _ = job
    editor = make()
    editor.evaluate()
    done(editor)
    first = editor.plan
    editor.plan = fl.Plan.from_ratios(graph, {n: -s for n, s in curves.scores.items()}, first.ratios)
    assert editor.kept == list(first.kept.values())
    assert editor.results == {}
    editor.plan = first
    assert key(editor) in editor.results


# Small parts ----------------------------------------------------------------------------------------------------------


def test_a_long_trace_is_thinned_to_means():
    trace, losses = LossTrace(most=8), np.random.default_rng(0).random(1000)
    for step, loss in enumerate(losses, 1):
        trace.add(step, loss)
        assert len(trace.points) < 8
    each = int(trace.points[0][0])
    assert each == 128  # steps in a point
    for step, mean in trace.points:
        assert mean == pytest.approx(losses[int(step) - each : int(step)].mean())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("out of range"), "out of range"),
        (KeyError("x"), "KeyError: 'x'"),
        (PermissionError(13, "Permission denied", "a"), "Permission denied: 'a'"),
        (OSError("mine"), "OSError: mine"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_errors_in_words(error: BaseException, words: str):
    assert in_words(error) == words
