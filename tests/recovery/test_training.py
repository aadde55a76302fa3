"""Training: it learns, repeats itself, and ends well whatever happens."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchmetrics import SumMetric

import fpgmlab as fl

QUIET = {"progress": False, "batch_size": 32}


def states_equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_reports(task: fl.tasks.Classification, tiny: nn.Module):
    seen = []
    history = fl.fit(tiny, task, epochs=4, lr=0.05, on_epoch=seen.append, **QUIET)
    assert list(history.columns) == ["epoch", "train_loss", "loss", "accuracy", "lr", "seconds"]
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert [row["epoch"] for row in seen] == [1, 2, 3, 4]
    assert history["accuracy"].max() > 0.8
    assert history["lr"].is_monotonic_decreasing
    assert not history.attrs["interrupted"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_gives_the_same_weights(task: fl.tasks.Classification, optimizer: str):
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = nn.Sequential(fl.models.build("vgg16", classes=3, channels=1, width=0.1), nn.Dropout(0.5))
        with torch.random.fork_rng():  # what the generators were before does not matter
            torch.manual_seed(len(results))
            model[0].features = nn.Sequential(*list(model[0].features)[:3], nn.MaxPool2d(2))
            model[0].classifier = nn.Linear(6, 3)
            torch.manual_seed(7)
            nn.init.normal_(model[0].classifier.weight)
            nn.init.zeros_(model[0].classifier.bias)
        before = torch.get_rng_state()
        fl.fit(model, task, epochs=1, lr=0.01, seed=seed, optimizer=optimizer, **QUIET)
        assert torch.equal(before, torch.get_rng_state())
        results.append(model.state_dict())
    assert states_equal(results[0], results[1])
    assert not states_equal(results[0], results[2])


def test_the_best_or_the_last_weights_are_kept(task: fl.tasks.Classification, tiny: nn.Module):
    fresh = copy.deepcopy(tiny)
    best = fl.fit(tiny, task, epochs=4, lr=0.3, **QUIET)
    assert fl.evaluate(tiny, task)["accuracy"] == pytest.approx(best["accuracy"].max())
    assert best.attrs["kept"] == int(best.loc[best["accuracy"].idxmax(), "epoch"])
    last = fl.fit(fresh, task, epochs=4, lr=0.3, keep="last", **QUIET)
    assert last.attrs["kept"] == 4
    assert fl.evaluate(fresh, task)["accuracy"] == pytest.approx(last["accuracy"].iloc[-1])
    pd.testing.assert_frame_equal(best.drop(columns="seconds"), last.drop(columns="seconds"), check_like=True)


@pytest.fixture
def learnt(task: fl.tasks.Classification, tiny: nn.Module) -> nn.Module:
    """Return a network that training at lr 3 makes worse."""
    fl.fit(tiny, task, epochs=4, lr=0.05, **QUIET)
    return tiny


def test_where_no_epoch_is_as_good_the_weights_from_before_are_kept(task: fl.tasks.Classification, learnt: nn.Module):
    before, began = copy.deepcopy(learnt), fl.evaluate(learnt, task)
    said = rf"no epoch was as good .* accuracy {began['accuracy']:.4g} before, .* in the best of 2.*lr \(now 3\)"
    with pytest.warns(UserWarning, match=said) as caught:
        history = fl.fit(learnt, task, epochs=2, lr=3.0, **QUIET)
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    assert states_equal(learnt.state_dict(), before.state_dict())
    assert history["accuracy"].max() < began["accuracy"]
    assert (history.attrs["kept"], history.attrs["began"]) == (0, {name: began[name] for name in ("loss", "accuracy")})
    last = fl.fit(learnt, task, epochs=2, lr=3.0, keep="last", **QUIET)
    assert (last.attrs["kept"], last.attrs["began"]) == (2, {})
    assert not states_equal(learnt.state_dict(), before.state_dict())
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), last.drop(columns="seconds"), check_like=True)


def test_an_epoch_that_is_as_good_is_kept(task: fl.tasks.Classification, learnt: nn.Module):
    class Told:
        """A task by whose metric all networks are alike."""

        metric_name, higher_is_better = "accuracy", True

        def __getattr__(self, name: str) -> object:
            return getattr(task, name)

        def metric(self) -> SumMetric:
            return AlwaysOne()

    assert fl.fit(learnt, Told(), epochs=2, lr=0.01, **QUIET).attrs["kept"] == 1


class AlwaysOne(SumMetric):
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        super().update(0.0)

    def compute(self) -> Tensor:
        return torch.ones(())


@pytest.mark.parametrize("stopped", [3, 9])
def test_ended_early_the_best_so_far_is_kept(task: fl.tasks.Classification, learnt: nn.Module, stopped: int):
    before = copy.deepcopy(learnt.state_dict())
    with nullcontext() if stopped < 7 else pytest.warns(UserWarning, match="no epoch was as good"):
        history = fl.fit(learnt, task, epochs=3, lr=3.0, extras=[StopAt(stopped)], **QUIET)
    assert (history.attrs["kept"], history.attrs["interrupted"]) == (0, True)
    assert states_equal(learnt.state_dict(), before)


def test_sparse_training_is_not_undone_by_the_weights_from_before(task: fl.tasks.Classification, learnt: nn.Module):
    began = fl.evaluate(learnt, task)["accuracy"]
    history = fl.fit(learnt, task, epochs=2, lr=0.5, extras=[fl.GammaL1(2.0, clean=0.0)], **QUIET)
    assert history["accuracy"].max() < began
    assert (history.attrs["kept"] > 0, history.attrs["began"]) == (True, {})


class StopAt(fl.Extra):
    """Raise at a step, as Ctrl-C would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_average_of_the_steps_is_judged_and_kept(task: fl.tasks.Classification, keep: str):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    model.append(nn.Linear(16, 3))
    steps: list[dict] = []
    wanted: list[dict] = []

    def remember(step: dict) -> None:
        now = {name: tensor.double() for name, tensor in model.state_dict().items()}
        old = steps[-1] if steps else now
        steps.append({name: 0.9 * old[name] + 0.1 * now[name] for name in now})

    def of_epoch(row: dict) -> None:
        wanted.append(steps[-1])

    options = {"epochs": 3, "lr": 0.1, "average": 0.9, "keep": keep, "on_step": remember, "on_epoch": of_epoch}
    history = fl.fit(model, task, **options, **QUIET)
    expected = wanted[history.attrs["kept"] - 1]
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-4)
    row = history.iloc[history.attrs["kept"] - 1]
    assert fl.evaluate(model, task)["loss"] == pytest.approx(row["loss"], rel=1e-5)


@pytest.mark.parametrize(("step", "epochs"), [(3, 0), (9, 1)])
def test_ctrl_c_leaves_a_usable_model(task: fl.tasks.Classification, tiny: nn.Module, step: int, epochs: int):
    tiny.eval()
    history = fl.fit(tiny, task, epochs=5, extras=[StopAt(step)], **QUIET)
    assert history.attrs["interrupted"]
    assert len(history) == epochs
    assert not tiny.training
    assert 0 <= fl.evaluate(tiny, task)["accuracy"] <= 1


@pytest.mark.parametrize(("steps", "epochs"), [(0, 0), (3, 0), (8, 1), (17, 2)])
def test_stop_ends_it_as_ctrl_c_does(task: fl.tasks.Classification, tiny: nn.Module, steps: int, epochs: int):
    tiny.eval()
    twin, seen = copy.deepcopy(tiny), []
    history = fl.fit(tiny, task, epochs=5, on_step=seen.append, stop=lambda: len(seen) == steps, **QUIET)
    assert history.attrs["interrupted"]
    assert (len(history), len(seen)) == (epochs, steps)
    assert not tiny.training
    fl.fit(twin, task, epochs=5, extras=[StopAt(steps)] if steps else [], stop=lambda: steps == 0, **QUIET)
    assert states_equal(tiny.state_dict(), twin.state_dict())


def test_each_step_is_told(task: fl.tasks.Classification, tiny: nn.Module):
    twin, seen = copy.deepcopy(tiny), []
    history = fl.fit(tiny, task, epochs=2, on_step=seen.append, stop=lambda: False, **QUIET)
    assert [row["step"] for row in seen] == list(range(1, 15))
    assert [row["epoch"] for row in seen] == [1] * 7 + [2] * 7
    assert {row["steps"] for row in seen} == {14}
    for epoch, mean in zip((1, 2), history["train_loss"], strict=True):
        losses = [row["loss"] for row in seen if row["epoch"] == epoch]
        assert sum(losses) / len(losses) == pytest.approx(mean, rel=1e-6)
    assert not history.attrs["interrupted"]
    fl.fit(twin, task, epochs=2, **QUIET)
    assert states_equal(tiny.state_dict(), twin.state_dict())


class Poison(fl.Extra):
    """Make the loss NaN from some call on."""

    def __init__(self, call: int) -> None:
        self.calls = call

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> float:
        self.calls -= 1
        return float("nan") if self.calls < 0 else 0.0


def test_a_loss_that_is_nan_stops_with_the_last_good_weights(task: fl.tasks.Classification, tiny: nn.Module):
    before = copy.deepcopy(tiny.state_dict())
    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 1, step 3; .* from before the training again"):
        fl.fit(tiny, task, epochs=2, extras=[Poison(2)], **QUIET)
    assert states_equal(before, tiny.state_dict())
    once = copy.deepcopy(tiny)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1; .* after epoch 1 again"):
        fl.fit(tiny, task, epochs=2, extras=[Poison(7)], **QUIET)
    state = tiny.state_dict()
    assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in state.values())
    assert not states_equal(state, once.state_dict())


def test_distillation_is_the_formula(task: fl.tasks.Classification, tiny: nn.Module):
    teacher = copy.deepcopy(tiny).train()
    images, labels = next(task.val_batches(8))
    outputs = torch.randn(8, 3)
    extra = fl.Distill(teacher, temperature=3.0, weight=0.7)
    value = extra.loss(tiny, images, outputs, labels)
    assert teacher.training
    teacher.eval()
    wanted, given = torch.softmax(teacher(images) / 3, 1), torch.softmax(outputs / 3, 1)
    by_hand = 0.7 * 9 * (wanted * (wanted.log() - given.log())).sum(1).mean()
    torch.testing.assert_close(value, by_hand.detach())


def test_distillation_pulls_towards_the_teacher(task: fl.tasks.Classification, tiny: nn.Module):
    fl.fit(tiny, task, epochs=3, **QUIET)
    teacher_state = copy.deepcopy(tiny.state_dict())
    student = fl.models.build("resnet20", classes=3, channels=1, width=0.25)
    noise = fl.tasks.Classification(
        TensorDataset(*next(task.train_batches(240))[:1], torch.randint(3, (240,))), task.val, classes=3
    )
    fl.fit(student, noise, epochs=6, extras=[fl.Distill(tiny, weight=5.0)], **QUIET)
    assert fl.evaluate(student, task)["accuracy"] > 0.6  # learnt from the teacher: the labels are noise
    assert states_equal(teacher_state, tiny.state_dict())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1; got 1.5"),
        ({"lr": "0.1"}, "lr must be a positive number; got '0.1'"),
        ({"lr": -1.0}, "lr must be a positive"),
        ({"lr": float("nan")}, "lr must be a positive"),
        ({"optimizer": "adam"}, "'sgd', 'adamw'; not 'adam'"),
        ({"amp": "yes"}, "amp must be one of"),
        ({"keep": "first"}, "keep must be one of"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"average": 1.0}, "average must be at least 0 and less than 1"),
    ],
)
def test_options_out_of_range(task: fl.tasks.Classification, tiny: nn.Module, options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        fl.fit(tiny, task, progress=False, **options)


def test_nothing_to_train_and_wrong_teachers(task: fl.tasks.Classification, tiny: nn.Module):
    with pytest.raises(ValueError, match="needs the same classes"):
        fl.fit(tiny, task, extras=[fl.Distill(fl.models.build("resnet20", channels=1))], **QUIET)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        fl.Distill(tiny, temperature=0)
    with pytest.raises(ValueError, match="weight must be >= 0"):
        fl.Distill(tiny, weight=-1)
    tiny.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        fl.fit(tiny, task, **QUIET)


def test_frozen_weights_are_told_of_once(task: fl.tasks.Classification, tiny: nn.Module):
    sizes = {name: parameter.numel() for name, parameter in tiny.named_parameters()}
    name = max(sizes, key=sizes.__getitem__)
    tiny.get_parameter(name).requires_grad_(False)
    before = tiny.get_parameter(name).clone()
    said = (
        rf"{sizes[name] / sum(sizes.values()):.0%} of the weights of \w+ require no gradient and stay as they are: 1 t"
    )
    with pytest.warns(
        UserWarning, match=rf"{said}ensors, the first '{name}'.*: model.requires_grad_\(True\)$"
    ) as caught:
        fl.fit(tiny, task, **QUIET)
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    fl.fit(tiny, task, **QUIET)  # warnings are errors
    assert torch.equal(tiny.get_parameter(name), before)
    tiny.requires_grad_(True)
    fl.fit(tiny, task, **QUIET)
    assert not torch.equal(tiny.get_parameter(name), before)


def test_a_few_constants_are_no_frozen_weights(task: fl.tasks.Classification, tiny: nn.Module):
    tiny.constant = nn.Parameter(torch.arange(2.0), requires_grad=False)
    assert sum(parameter.numel() for parameter in tiny.parameters()) > 200
    fl.fit(tiny, task, **QUIET)  # warnings are errors


def test_a_processor_that_bfloat16_makes_slower_is_told(task: fl.tasks.Classification, tiny: nn.Module, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.warns(UserWarning, match='no quick kernels for torch.bfloat16 .* amp="off" is quicker here'):
        fl.fit(tiny, task, epochs=1, amp="bfloat16", **QUIET)


def test_bfloat16_trains_too(task: fl.tasks.Classification, tiny: nn.Module):
    history = fl.fit(tiny, task, epochs=3, amp="bfloat16", **QUIET)
    assert history["accuracy"].max() > 0.6
    assert next(tiny.parameters()).dtype is torch.float32


# The sparsity training of network slimming ---------------------------------------------------------------------------


def scales(model: nn.Module) -> Tensor:
    return torch.cat([m.weight.detach() for m in model.modules() if isinstance(m, nn.BatchNorm2d)])


def test_the_pull_on_gammas_is_the_penaltys_subgradient(tiny: nn.Module):
    norms = [m for m in tiny.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in norms:
        nn.init.uniform_(module.weight, -1, 1)
    norms[0].weight.data[0] = 0  # no pull at zero
    for parameter in tiny.parameters():
        parameter.grad = torch.zeros_like(parameter)
    fl.GammaL1(0.01, "constant").before_step(tiny, 1, 10)
    by_hand = torch.autograd.grad(0.01 * sum(m.weight.abs().sum() for m in norms), [m.weight for m in norms])
    for module, expected in zip(norms, by_hand, strict=True):
        assert torch.equal(module.weight.grad, expected)
    others = [p for n, p in tiny.named_parameters() if all(p is not m.weight for m in norms)]
    assert not any(p.grad.any() for p in others)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_pull_falls_and_leaves_the_last_steps_clean(schedule: str):
    extra = fl.GammaL1(0.5, schedule, clean=0.25)
    strengths = [extra.strength_at(step, 100) for step in range(1, 101)]
    assert strengths[0] == 0.5
    assert strengths[75:] == [0] * 25
    assert strengths == sorted(strengths, reverse=True)
    assert (strengths[74] == 0.5) == (schedule == "constant")
    assert fl.GammaL1(0.5, schedule, clean=1.0).strength_at(1, 100) == 0


def test_sparse_training_shrinks_the_scales(task: fl.tasks.Classification, tiny: nn.Module):
    plain = copy.deepcopy(tiny)
    fl.fit(plain, task, epochs=3, lr=0.05, **QUIET)
    fl.fit(tiny, task, epochs=3, lr=0.05, extras=[fl.GammaL1(0.2)], **QUIET)
    assert scales(tiny).abs().mean() < 0.7 * scales(plain).abs().mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": -1}, "strength must be a number >= 0; got -1"),
        ({"strength": float("nan")}, "strength must be a number >= 0; got nan"),
        ({"schedule": "step"}, "schedule must be one of 'linear', 'cosine', 'constant'; not 'step'"),
        ({"clean": 2}, "clean must be a share of the steps, 0 to 1; got 2"),
    ],
)
def test_sparsity_options_out_of_range_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.GammaL1(**options)
