"""Moving average and early end: what is judged, and when it ends."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import fpgmlab as fl

QUIET = {"progress": False, "batch_size": 32}


class Rated(fl.Extra):
    """A task's metric, by hand: what `EarlyStop` sees."""

    def __init__(self, inner: fl.Extra, values: list[float], metric: str) -> None:
        self.inner, self.values, self.metric = inner, values, metric

    def begin(self, model: nn.Module, task: fl.tasks.Classification, epochs: int, steps: int) -> fl.RunningExtra:
        return Rating(self.inner.begin(model, task, epochs, steps), self)


class Rating(fl.RunningExtra):
    def __init__(self, inner: fl.RunningExtra, options: Rated) -> None:
        self.inner, self.options = inner, options

    def after_epoch(self, model: nn.Module, row: dict[str, float]) -> bool | None:
        return self.inner.after_epoch(model, {self.options.metric: self.options.values[int(row["epoch"]) - 1]})


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], {"patience": 1}, 5),
        ([0.3, 0.3, 0.2, 0.4, 0.5], {"patience": 1}, 2),  # as good is not better
        ([0.3, 0.2, 0.4, 0.3, 0.2], {"patience": 2}, 5),
        ([0.3, 0.2, 0.1, 0.9, 0.9], {"patience": 2}, 3),
        ([0.3, 0.35, 0.39, 0.9, 0.9], {"patience": 2, "min_delta": 0.1}, 3),
        ([0.3, 0.35, 0.42, 0.9, 0.9], {"patience": 2, "min_delta": 0.1}, 5),
    ],
)
def test_it_ends_when_nothing_gets_better(
    task: fl.tasks.Classification, tiny: nn.Module, values: list[float], options: dict, epochs: int
):
    history = fl.fit(tiny, task, 5, extras=[Rated(fl.EarlyStop(**options), values, "accuracy")], **QUIET)
    assert len(history) == epochs
    assert not history.attrs["interrupted"]


@pytest.mark.parametrize(("higher", "epochs"), [(True, 2), (False, 3)])
def test_better_is_what_the_task_says(task: fl.tasks.Classification, tiny: nn.Module, higher: bool, epochs: int):
    judging = copy.copy(task)
    object.__setattr__(judging, "higher_is_better", higher)
    assert judging.higher_is_better is higher
    running = fl.EarlyStop(1).begin(tiny, judging, 3, 21)
    ended = [running.after_epoch(tiny, {"accuracy": value}) for value in (3.0, 2.0, 2.5)]
    assert ended.index(True) == epochs - 1


def test_a_count_goes_on_from_its_state(task: fl.tasks.Classification, tiny: nn.Module):
    values = np.random.default_rng(0).random(30).tolist()
    whole = fl.EarlyStop(4, 0.05).begin(tiny, task, 30, 210)
    wanted = [whole.after_epoch(tiny, {"accuracy": value}) for value in values]
    running, state = None, {}
    for value, end in zip(values, wanted, strict=True):
        running = fl.EarlyStop(4, 0.05).begin(tiny, task, 30, 210)
        if state:
            running.load_state_dict(state)
        assert running.after_epoch(tiny, {"accuracy": value}) == end
        state = running.state_dict()


def test_the_average_is_the_short_ways(task: fl.tasks.Classification, tiny: nn.Module):
    twin = copy.deepcopy(tiny)
    fl.fit(tiny, task, 2, extras=[fl.EMA(0.8)], **QUIET)
    fl.fit(twin, task, 2, average=0.8, **QUIET)
    assert all(torch.equal(a, b) for a, b in zip(tiny.state_dict().values(), twin.state_dict().values(), strict=True))


def test_an_average_goes_on_from_its_state(task: fl.tasks.Classification, tiny: nn.Module):
    model, steps = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 9
    whole = fl.EMA(0.7).begin(model, task, 1, steps)
    split, wanted = fl.EMA(0.7).begin(model, task, 1, steps), None
    for step in range(1, steps + 1):
        with torch.no_grad():
            model[0].weight.normal_(generator=torch.Generator().manual_seed(step))
            model[1].running_mean.fill_(step)
        wanted = model[0].weight.double() if wanted is None else 0.7 * wanted + 0.3 * model[0].weight.double()
        for running in (whole, split):
            running.after_step(model, step, steps)
        state = copy.deepcopy(split.state_dict())
        split = fl.EMA(0.7).begin(copy.deepcopy(model), task, 1, steps)
        split.load_state_dict(state)
    torch.testing.assert_close(whole.judged(model)[0].weight.double(), wanted, rtol=1e-5, atol=1e-6)
    for (name, a), b in zip(
        whole.judged(model).state_dict().items(), split.judged(model).state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fl.EMA(1.0), "decay must be greater than 0 and less than 1, such as 0.99; got 1.0"),
        (lambda: fl.EMA(0.0), "got 0.0"),
        (lambda: fl.EMA(float("nan")), "got nan"),
        (lambda: fl.EarlyStop(0), "patience must be at least 1 epoch; got 0"),
        (lambda: fl.EarlyStop(2, -0.1), "min_delta must be >= 0; got -0.1"),
        (lambda: fl.EarlyStop(2, float("nan")), "min_delta must be >= 0; got nan"),
    ],
)
def test_options_out_of_range_are_named(make, words: str):
    with pytest.raises(ValueError, match=words):
        make()
