"""`SweepPanel` in process, against `fpgmlab.sweep`; and what it shows, against arithmetic."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from torch import nn

import fpgmlab as fl
from fpgmlab.widgets import SweepPanel
from fpgmlab.widgets.common.pace import Pace, duration
from fpgmlab.widgets.sweep.view import amount, empty_grid, extent, filled_grid, points_payload, status_words
from tests.conftest import blobs
from tests.widgets.gated import SECONDS, Gated

OPTIONS = {"ratios": (0.3, 0.6), "batch_size": 30}


@pytest.fixture
def data() -> Iterator[Gated]:
    found = Gated()
    yield found
    found.gate.set()


@pytest.fixture
def job(tiny: nn.Module, data: Gated) -> tuple:
    task = fl.tasks.Classification(blobs(60), data, classes=3)
    graph = fl.trace(tiny.eval(), task.example_input)
    return graph, fl.score(graph, "l1"), task


@pytest.fixture
def make(job: tuple, data: Gated) -> Iterator[Callable[..., SweepPanel]]:
    """Return a function that makes panels, which are closed at the end."""
    panels = []

    def make_(**options: object) -> SweepPanel:
        panels.append(SweepPanel(*job, **OPTIONS | options))
        return panels[-1]

    yield make_
    data.gate.set()
    for panel in panels:
        panel.close()


def swept(job: tuple, **options: object) -> pd.DataFrame:
    return fl.sweep(*job, **OPTIONS | options, progress=False).frame


def sweeping() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fpgmlab sweep"]


def click(panel: SweepPanel, wish: str) -> None:
    panel._handle_custom_msg({"do": wish}, [])


# The panel ----------------------------------------------------------------------------------------------------------


def test_its_curves_are_those_of_the_sweep(make: Callable, job: tuple):
    panel = make()
    assert (panel.state, panel.curves, panel.error) == ("idle", None, None)
    assert panel.wait()
    states = []
    panel.observe(lambda change: states.append(change["new"]), "state")
    panel.start()
    assert panel.wait(SECONDS)
    assert states == ["running", "finished"]
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job))
    assert panel.curves.complete
    assert panel.points == points_payload(panel.grid, panel.curves.frame)
    assert (panel.status["share"], panel.status["can_start"], panel.status["can_cancel"]) == (1, False, False)
    assert panel.status["words"].startswith("Finished: 90 of 90 samples; accuracy is known to ± ")


def test_cancel_keeps_whole_batches_and_resume_goes_on(make: Callable, job: tuple, data: Gated):
    panel, data.stop = make(), 30
    panel.start()
    assert data.reached.wait(SECONDS)
    assert panel.curves.frame["samples"].unique().tolist() == [30]  # shown while the next batch is waited for
    panel.cancel()
    assert panel.status["words"].startswith("Cancelling")
    assert not panel.status["can_cancel"]
    assert not panel.wait(0.01)
    data.gate.set()
    assert panel.wait(SECONDS)
    assert panel.state == "cancelled"
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job, max_samples=30))
    assert (panel.status["start"], panel.status["can_start"]) == ("Resume", True)
    read = []
    panel.observe(lambda change: read.append(change["new"].frame["samples"].min()), "curves")
    panel.start()
    assert panel.wait(SECONDS)
    assert panel.state == "finished"
    assert read[0] > 30, "it began anew"
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job))


def test_a_path_outlives_the_panel(make: Callable, job: tuple, data: Gated, tmp_path: Path):
    first, data.stop = make(path=tmp_path / "sweep"), 60
    first.start()
    assert data.reached.wait(SECONDS)
    threading.Timer(0.05, data.gate.set).start()
    first.close()
    assert first.state == "cancelled"
    second = make(path=tmp_path / "sweep")
    seen = []
    second.observe(lambda change: seen.append(change["new"].frame["samples"].max()), "curves")
    second.start()
    assert second.wait(SECONDS)
    assert seen == [90]
    pd.testing.assert_frame_equal(second.curves.frame, swept(job))
    with pytest.raises(ValueError, match="only a sweep without path can start over; .*delete '.*sweep'"):
        second.start(over=True)
    assert second.state == "finished"


def test_an_error_is_shown_and_the_sweep_can_be_started_again(make: Callable, job: tuple, data: Gated):
    panel, data.stop, data.damaged = make(), 60, True
    panel.start()
    assert panel.wait(SECONDS)
    assert panel.state == "failed"
    assert isinstance(panel.error, OSError)
    assert panel.status["message"] == "OSError: picture 60 is damaged"
    assert panel.status["words"].startswith("Failed: 60 of 90 samples; ")
    data.damaged, data.stop = False, 90
    panel.start()
    assert panel.wait(SECONDS)
    assert (panel.state, panel.error, panel.status["message"]) == ("finished", None, "")
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job))


def test_what_does_not_fit_is_said_in_the_sweeps_own_words(make: Callable):
    panel = make(metrics=["acuracy"])
    panel.start()
    assert panel.wait(SECONDS)
    assert (panel.state, panel.curves) == ("failed", None)
    assert panel.status["message"].startswith("unknown metric 'acuracy': did you mean 'accuracy'?")
    assert panel.status["words"] == "Failed before the first batch was through."


def test_a_network_that_cannot_be_copied_is_said(make: Callable, job: tuple):
    job[0].model.lock = threading.Lock()
    panel = make()
    panel.start()
    assert panel.state == "failed"
    assert "TypeError: cannot pickle" in panel.status["message"]


def test_only_one_sweep_at_a_time(make: Callable, data: Gated):
    panel, data.stop = make(), 30
    panel.start()
    assert data.reached.wait(SECONDS)
    with pytest.raises(RuntimeError, match=r"the sweep is running: cancel\(\) it, or wait\(\) for its end"):
        panel.start()
    click(panel, "start")
    click(panel, "start_over")
    assert len(sweeping()) == 1
    with pytest.raises(traitlets.TraitError, match="cannot change while the sweep is running"):
        panel.tolerance = 0.5


def test_the_network_is_free_meanwhile(make: Callable, job: tuple, data: Gated):
    graph, _, task = job
    expected, before = swept(job), graph.model(task.example_input)
    panel, data.stop = make(), 30
    data.reached.clear()
    panel.start()
    assert data.reached.wait(SECONDS)
    torch.testing.assert_close(graph.model(task.example_input), before)  # perhaps by fewer threads
    with torch.no_grad():
        for parameter in graph.model.parameters():
            parameter.zero_()
    data.gate.set()
    assert panel.wait(SECONDS)
    pd.testing.assert_frame_equal(panel.curves.frame, expected)


def test_close_ends_the_sweep_and_takes_its_folder_away(make: Callable, data: Gated):
    panel, data.stop = make(), 30
    folder = Path(panel._own.name)
    panel.start()
    assert data.reached.wait(SECONDS)
    assert any(folder.rglob("*"))
    threading.Timer(0.05, data.gate.set).start()
    panel.close()
    assert not sweeping()
    assert not folder.exists()
    panel.close()


def test_buttons(make: Callable, job: tuple, data: Gated):
    panel, data.stop = make(), 30
    click(panel, "cancel")
    click(panel, "format the disk")
    assert panel.state == "idle"
    click(panel, "start")
    assert data.reached.wait(SECONDS)
    click(panel, "cancel")
    data.gate.set()
    assert panel.wait(SECONDS)
    assert panel.state == "cancelled"
    data.stop = 10**9
    job[1]["conv1"].neg_()  # other scores: it cannot go on, but start over
    click(panel, "start")
    assert panel.wait(SECONDS)
    assert panel.state == "failed"
    assert "scores" in panel.status["message"]
    click(panel, "start_over")
    assert panel.wait(SECONDS)
    assert panel.state == "finished"
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job))


def test_another_tolerance_is_another_sweep(make: Callable, job: tuple):
    panel = make(tolerance=0.3)
    panel.start()
    assert panel.wait(SECONDS)
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job, tolerance=0.3))
    points = panel.curves.frame.query("ratio > 0 and metric == 'accuracy'")
    assert f"{len(points)} of {len(points)} points are within ± 0.3" in panel.status["words"]
    assert not panel.status["can_start"]
    panel.tolerance = None
    assert (panel.status["start"], panel.status["can_start"]) == ("Start", True)
    panel.start()
    assert panel.wait(SECONDS)
    pd.testing.assert_frame_equal(panel.curves.frame, swept(job))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "much"])
def test_wrong_tolerances_change_nothing(make: Callable, value: object):
    panel = make(tolerance=0.1)
    with pytest.raises(traitlets.TraitError, match=r"tolerance must be None or a number > 0; got|expected a float"):
        panel.tolerance = value
    assert panel.tolerance == 0.1
    with pytest.raises(traitlets.TraitError):
        make(tolerance=value)
    with pytest.raises(ValueError, match="metrics must be at least one"):
        make(metrics=[])


def test_it_tells_no_more_than_four_times_a_second(make: Callable):
    panel, told = make(batch_size=1, max_samples=20, ratios=(0.5,)), []
    panel.observe(lambda change: told.append(change["name"]), ["points", "status"])
    start = time.monotonic()
    panel.start()
    assert panel.wait(SECONDS)
    most = 2 + (time.monotonic() - start) / 0.25
    assert 1 <= told.count("points") <= most
    assert told.count("status") <= 2 * most + 2


def test_groups_that_cannot_be_measured_are_told(data: Gated):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[2].weight.zero_()  # nothing of the first group gets through
    task = fl.tasks.Classification(data, data, classes=3)
    graph = fl.trace(model, task.example_input)
    panel = SweepPanel(graph, fl.score(graph), task, **OPTIONS)
    panel.start()
    assert panel.wait(SECONDS)
    assert panel.status["unmeasurable"] == ["0"]
    panel.close()


# What it shows, as data ---------------------------------------------------------------------------------------------


def test_the_payload_is_the_frame_and_small(make: Callable, job: tuple):
    frame = swept(job)
    grid = filled_grid(empty_grid(job[0], ["accuracy", "loss", "agreement"]), frame)
    points = np.frombuffer(points_payload(grid, frame.sample(frac=1, random_state=0)), np.float32)
    points = points.reshape(3, -1, 4)
    assert grid["shares"] == [True, False, True]
    for metric, mine in zip(grid["metrics"], points, strict=True):
        table = frame[frame["metric"] == metric]
        np.testing.assert_array_equal(mine, table[["value", "low", "high", "samples"]].to_numpy(np.float32))
        assert [r for ratios in grid["ratios"] for r in ratios] == table["ratio"].tolist()
        assert [k for kept in grid["kept"] for k in kept] == table["kept"].tolist()
        assert grid["groups"] == list(dict.fromkeys(table["group"]))
        assert grid["channels"] == [job[0][name].channels for name in grid["groups"]]
    assert points.nbytes == 16 * len(frame)  # 37 groups at 9 ratios and 0, three metrics: 18 kB


def narrow_and_wide() -> pd.DataFrame:
    rows = [(0.0, 0.9, 0.9, 100), (0.3, 0.88, 0.92, 100), (0.6, 0.76, 0.84, 100), (0.9, 0.3, 0.7, 80)]
    frame = pd.DataFrame(rows, columns=["ratio", "low", "high", "samples"])
    return pd.concat([frame.assign(metric="accuracy"), frame.assign(metric="loss", low=-np.inf)])


def test_how_far_it_is_without_tolerance():
    now = extent(narrow_and_wide(), "accuracy", 500)
    assert (now.samples, now.total, now.points, now.narrow) == (100, 500, 3, 0)
    assert (now.done, now.left) == (280, 400 + 400 + 420)
    assert now.widest == pytest.approx(0.2)
    assert now.share() == 280 / 1500
    assert now.share(ahead=20) == 300 / 1500
    assert now.share(ahead=1e9) == 1


def test_how_far_it_is_with_a_tolerance():
    # Half widths 0.02, 0.04 and 0.2; to 0.03 with 15 % to spare: enough, 100 * (1.15 * 4 / 3)^2 = 236, beyond 500.
    now = extent(narrow_and_wide(), "accuracy", 500, 0.03)
    assert (now.narrow, now.left) == (1, 136 + 420)
    endless = extent(narrow_and_wide(), "loss", 500, 0.03)
    assert endless.left == 400 + 400 + 420


def test_remaining_time_at_a_steady_pace():
    pace = Pace()
    assert pace.seconds_left(0, 100) is None
    pace.note(10, 0)
    assert pace.seconds_left(12, 100) is None
    assert pace.ahead(12) == 0
    for batch in range(1, 30):
        pace.note(10 + 2 * batch, 50 * batch)
    assert pace.seconds_left(68, 1000) == pytest.approx(40)
    assert pace.seconds_left(69.5, 1000) == pytest.approx(38.5)
    assert pace.seconds_left(1000, 1000) == 0
    assert pace.ahead(69) == pytest.approx(25)
    assert pace.ahead(100) == 50  # no more than a batch


def test_remaining_time_follows_a_change_of_pace():
    pace = Pace()
    for batch in range(100):
        pace.note(batch if batch < 50 else 50 + 0.1 * (batch - 50), batch)
    assert pace.seconds_left(54.9, 10) == pytest.approx(1)
    same = Pace()
    same.note(1, 5)
    same.note(2, 5)
    assert same.seconds_left(3, 10) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a moment"), (2, "about 2 s"), (9.4, "about 9 s"), (9.6, "about 10 s"), (41, "about 40 s"),
        (58, "about 1 min"), (95, "about 2 min"), (599, "about 10 min"), (1500, "about 25 min"), (3540, "about 1 h"),
        (5400, "about 1 h 30 min"), (86400, "about 24 h"),
    ],
)  # fmt: skip
def test_times_in_words(seconds: float, words: str):
    assert duration(seconds) == words


def test_the_status_in_words():
    now = extent(narrow_and_wide(), "accuracy", 2500, 0.03)
    words = status_words("running", "accuracy", True, now, 0.03, 41)
    assert words == (
        "Running: 100 of 2,500 samples; accuracy is known to ± 20 points or better; 1 of 3 points are within ± 0.03; "
        "about 40 s left."
    )
    endless = extent(narrow_and_wide(), "loss", 100)
    assert status_words("cancelled", "loss", False, endless, None, None) == (
        "Cancelled: 100 of 100 samples; Resume goes on from here."
    )
    assert status_words("idle", "loss", False, None, None, None) == "Not started."
    assert status_words("running", "loss", False, None, None, None, 1200) == (
        "Running: 1,200 forward passes of the first batch are through."
    )
    assert (amount(0.0123, share=True), amount(0.0123, share=False)) == ("1.2 points", "0.0123")


def test_the_browsers_side_is_one_module():
    text = str(SweepPanel._esm)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render };"]
    names = re.findall(r"^(?:async )?(?:function|const) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)), "two files of one bundle use the same name"
    assert {"niceSteps", "curvesView", "tableView"} <= set(names)
