"""What repair refuses, what it warns of, and what it leaves as it was."""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import fpgmlab as fl
from fpgmlab.recovery import repair_report


class Small(nn.Module):
    """Three convolutions and a linear layer that knows the size of the pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.conv3 = nn.Conv2d(8, 8, 3, stride=2), nn.Conv2d(8, 6, 1)
        self.fc = nn.Linear(54, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        return self.fc(torch.relu(self.conv3(torch.relu(self.conv2(x)))).flatten(1))


def pictures(count: int = 64, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def batches(count: int = 64, each: int = 16) -> list[Tensor]:
    return list(pictures(count).split(each))


def cut(model: nn.Module, ratio: float = 0.4) -> tuple[fl.ChannelGraph, fl.Plan]:
    graph = fl.trace(model.eval(), pictures(2))
    return graph, fl.Plan.uniform(graph, fl.score(graph), ratio, multiple=1)


@pytest.fixture
def small() -> tuple[fl.ChannelGraph, fl.Plan]:
    return cut(Small())


def repaired(
    graph: fl.ChannelGraph, plan: fl.Plan, data: object = None, samples: int = 64, **options: object
) -> nn.Module:
    return fl.repair(graph, plan, batches() if data is None else data, samples=samples, progress=False, **options)


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go: a folder of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [[], TensorDataset(torch.zeros(0, 1, 8, 8)), iter(())], ids=["list", "set", "iterator"]
)
def test_no_pictures_are_too_few(small: tuple, data: object):
    with pytest.raises(ValueError, match="gave no example: at least one is needed. Labels are not."):
        repaired(*small, data)


def test_validation_data_do_not_take_the_place_of_training_data(tiny: nn.Module, task: fl.tasks.Classification):
    graph = fl.trace(tiny.eval(), task.example_input)
    empty = fl.tasks.Classification(Subset(task.train, range(240)), task.val, classes=3)
    empty.train.indices = range(0)
    with pytest.raises(
        ValueError, match=r"no training data \(task.train is empty\). Its validation data are not taken"
    ):
        repaired(graph, fl.Plan.uniform(graph, fl.score(graph), 0.3, multiple=1), empty)


def test_fewer_pictures_than_asked_for_are_told_of(small: tuple):
    with pytest.warns(UserWarning, match="only 64 of the 512 examples asked for are there") as told:
        found = repaired(*small, samples=512)
    assert told[0].filename == __file__
    assert same(found, repaired(*small))


@pytest.mark.parametrize("data", [[torch.ones(16, 1, 8, 8)] * 2, [{"x": pictures(1).expand(32, 1, 8, 8)}]])
def test_pictures_that_are_all_alike_are_told_of(small: tuple, data: list):
    with pytest.warns(UserWarning, match="all pictures are alike") as told:
        found = repaired(*small, data, samples=32)
    assert told[0].filename.endswith("test_bad_input.py")
    assert all(bool(tensor.isfinite().all()) for tensor in found.state_dict().values())


def test_one_picture_is_few_and_not_alike(small: tuple):
    found = repaired(*small, samples=1)
    assert all(bool(tensor.isfinite().all()) for tensor in found.state_dict().values())


@pytest.mark.parametrize("sizes", [(12, 12), (8, 12)])
def test_pictures_of_another_size(small: tuple, sizes: tuple[int, int]):
    words = r"Small does not run on these pictures, \[\(16, 1, 12, 12\)\]: .* It was traced with \[\(2, 1, 8, 8\)\]"
    with pytest.raises(RuntimeError, match=words):
        repaired(*small, [pictures(16, size) for size in sizes], samples=32)


def test_a_network_that_takes_any_size_is_repaired_with_any(tiny: nn.Module, task: fl.tasks.Classification):
    graph = fl.trace(tiny.eval(), task.example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph), 0.3, multiple=1)
    found = repaired(graph, plan, [pictures(24, 8), pictures(24, 12)], samples=48)
    assert (repair_report(found)["after"] < repair_report(found)["before"]).sum() > 5


def test_labels_are_not_looked_at(small: tuple):
    class Refusing:
        """Labels that nothing can be done with."""

    images = torch.cat(batches())
    with_labels = repaired(*small, [(batch, Refusing()) for batch in batches()])
    assert same(with_labels, repaired(*small, DataLoader(TensorDataset(images), 16)))
    assert same(with_labels, repaired(*small, [(batch,) for batch in batches()]))


@pytest.mark.parametrize(("where", "layer"), [("pictures", "conv1"), ("norm1", "conv2"), ("conv3", "conv3")])
def test_nan_is_told_with_the_first_layer_that_has_it(where: str, layer: str):
    model, data = Small(), batches()
    graph, plan = cut(model)
    if where == "pictures":
        data[2][3, 0, 2:5] = torch.nan
    else:
        with torch.no_grad():
            model.get_parameter(f"{where}.bias")[kept_of(graph, plan, where)] = torch.inf
    with pytest.raises(
        ValueError, match=f"layer '{layer}' reads NaN or infinite values in the pruned network, or gives"
    ):
        repaired(graph, plan, data)


def kept_of(graph: fl.ChannelGraph, plan: fl.Plan, layer: str) -> int:
    """Return the number of a channel of a layer that stays."""
    (made,) = (each for each in graph.layers if each.name == layer)
    return int(np.flatnonzero(graph.keep(plan)[made.outputs])[0])


# Networks and plans ---------------------------------------------------------------------------------------------------


def test_a_plan_of_another_network(small: tuple, graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match="group"):
        repaired(small[0], fl.Plan.uniform(graph, fl.score(graph), 0.3, multiple=1))


def test_a_network_whose_outputs_are_random(small: tuple):
    graph, plan = small
    graph.model.register_forward_hook(lambda module, inputs, out: out + torch.rand_like(out))
    with pytest.raises(ValueError, match="Small gives different outputs for the same input in eval mode"):
        repaired(graph, plan)


def test_a_layer_that_never_ran_stays_as_cut_and_is_told_of():
    class Aside(Small):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.norm1(self.conv1(x)))
            if self.training or not hasattr(self, "quick"):
                self.aside(y)
            return self.fc(torch.relu(self.conv3(torch.relu(self.conv2(y)))).flatten(1))

    model = Aside()
    graph, plan = cut(model)
    model.quick = True
    found = repaired(graph, plan)
    report = repair_report(found).set_index("layer")
    assert report["note"]["aside"] == "never ran"
    assert list(report.index[:-1]) == ["conv1", "conv2", "conv3", "fc"]
    assert not report.attrs["interrupted"]
    assert torch.equal(found.aside.weight, fl.prune(graph, plan).aside.weight)


def test_the_original_and_its_modes_stay(small: tuple):
    graph, plan = small
    graph.model.train()
    graph.model.norm1.eval()
    before = copy.deepcopy(graph.model)
    generator = torch.get_rng_state()
    found = repaired(graph, plan)
    assert same(graph.model, before)
    assert [m.training for m in graph.model.modules()] == [m.training for m in before.modules()]
    assert [m.training for m in found.modules()] == [m.training for m in fl.prune(graph, plan).modules()]
    assert vars(graph.model).keys() == vars(before).keys()
    assert torch.equal(torch.get_rng_state(), generator)
    mine = {tensor.data_ptr() for tensor in (*graph.model.parameters(), *graph.model.buffers())}
    assert not mine & {tensor.data_ptr() for tensor in (*found.parameters(), *found.buffers())}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, "samples must be a whole number"),
        ({"samples": 2.5}, "samples must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"positions": 0}, "positions must be a whole number"),
        ({"ridge": -1.0}, "ridge must be None or a number >= 0; got -1.0"),
        ({"ridge": float("nan")}, "ridge must be None or a number >= 0; got nan"),
        ({"targets": "input"}, "targets must be one of 'active', 'sum', 'output'; not 'input'"),
        ({"memory": 0}, "memory must be a number of bytes > 0; got 0"),
    ],
)
def test_options_out_of_range(small: tuple, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        repaired(*small, **options)


# The same again -------------------------------------------------------------------------------------------------------


def test_twice_the_same_for_one_seed(small: tuple):
    data = TensorDataset(pictures(200))
    first, second, other = (repaired(*small, data, positions=4, seed=seed) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_an_uncut_network_stays_what_it_is(resnet: nn.Module, fashion: fl.tasks.Classification):
    graph = fl.trace(resnet, fashion.example_input)
    found = fl.repair(
        graph, fl.Plan.uniform(graph, fl.score(graph), 0.0, multiple=1), fashion, samples=64, progress=False
    )
    images, _ = next(fashion.val_batches(64))
    with torch.no_grad():
        assert float((found.eval()(images) - resnet.eval()(images)).abs().max()) <= 1e-4


@pytest.mark.parametrize("residual", [False, True])
def test_little_memory_gives_the_same_and_leaves_no_files(tiny: nn.Module, residual: bool, temporary: Path):
    graph, plan = cut(tiny if residual else Small())
    expected = repaired(graph, plan)
    before = set(temporary.iterdir())  # torch makes its compiler's cache there, in a process's first repair
    seen: set[Path] = set()

    def look() -> bool:
        seen.update(temporary.iterdir())
        return False

    found = repaired(graph, plan, memory=1.0, stop=look)
    assert seen - before  # it did go to files
    assert same(found, expected)
    assert set(temporary.iterdir()) == before


def test_no_files_are_left_after_a_stop_or_an_error(small: tuple, temporary: Path):
    graph, plan = small
    for asked in (3, 8, 14):
        repaired(graph, plan, memory=1.0, stop=after(asked))
        assert not list(temporary.iterdir())
    data = batches()
    data[3][0] = torch.nan
    for model_is in ("fed", "told"):
        with pytest.raises((ValueError, OSError)):
            if model_is == "fed":
                repaired(graph, plan, data, memory=1.0)
            else:
                repaired(graph, plan, memory=1.0, on_layer=refusing)
        assert not list(temporary.iterdir())


def refusing(row: dict) -> None:
    raise OSError("no")


def after(count: int, error: type[BaseException] | None = None) -> Callable[[], bool]:
    """Return a `stop` that says so, or raises an error, once it was asked so many times."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked > count and error is not None:
            raise error
        return asked > count

    return stop


# Stopped, killed, gone on with ----------------------------------------------------------------------------------------


def test_where_it_is_stopped_the_layers_that_follow_stay_as_cut(small: tuple):
    whole, bare = repaired(*small), fl.prune(*small)
    lengths = []
    for asked in range(4 * 5 + 1):
        found = repaired(*small, stop=after(asked))
        report = repair_report(found)
        lengths.append(len(report))
        assert report.attrs["interrupted"] == (asked < 4 * 5)
        done = set(report["layer"])
        for name, tensor in found.state_dict().items():
            layer = "conv1" if name.startswith("norm1") else name.split(".")[0]
            assert torch.equal(tensor, (whole if layer in done else bare).state_dict()[name]), (asked, name)
    assert lengths == [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, Killed])
def test_started_again_it_ends_identical(small: tuple, tmp_path: Path, error: type[BaseException] | None):
    expected, folder = repaired(*small), tmp_path / "progress"
    for asked in (2, 6, 9, 13, 17):  # in the look at the whole network, within the first layer, and each further one
        try:
            repaired(*small, path=folder, stop=after(asked, error))
        except Killed:
            assert error is Killed
    rows = []
    assert same(repaired(*small, path=folder, on_layer=rows.append), expected)
    assert [row["layer"] for row in rows] == ["conv1", "conv2", "conv3", "fc"]
    assert {row["layers"] for row in rows} == {4}
    once_more = repaired(*small, path=folder)  # all of it is there
    assert same(once_more, expected)
    assert list(repair_report(once_more)["seconds"]) == [row["seconds"] for row in rows]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"plan": 0.2}, "plan differ"),
        ({"data": [pictures(64, seed=1)]}, "pictures differ"),
        ({"ridge": 0.1, "targets": "sum"}, "ridge, targets differ"),
        ({"positions": 3}, "positions differ"),
        ({"seed": 5}, "seed differ"),
        ({"model": True}, "model differ"),
    ],
)
def test_a_folder_with_another_repair(small: tuple, tmp_path: Path, change: dict, differs: str):
    (graph, plan), folder = small, tmp_path / "progress"
    repaired(graph, plan, path=folder)
    if change.pop("model", False):
        with torch.no_grad():
            graph.model.fc.bias += 1
    if "plan" in change:
        plan = fl.Plan.uniform(graph, fl.score(graph), change.pop("plan"), multiple=1)
    with pytest.raises(
        ValueError, match=re.escape(f"holds the repair of something else: {differs}. Choose a new folder")
    ):
        repaired(graph, plan, path=folder, **change)


def test_a_folder_with_other_things(small: tuple, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and holds no repair. Choose a new folder."):
        repaired(*small, path=tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "repair.json").write_text('{"model": ')
    with pytest.raises(ValueError, match="is damaged: .*Remove the folder to begin anew."):
        repaired(*small, path=tmp_path / "there")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_killed_while_it_wrote_its_first_file(small: tuple, tmp_path: Path):
    left = tmp_path / ".repair.json.abcd_123"  # as `atomic_path` names it
    left.mkdir()
    (left / "repair.json").write_text('{"mod')
    assert same(repaired(*small, path=tmp_path), repaired(*small))
    assert not left.exists()


# What is computed -----------------------------------------------------------------------------------------------------


def test_one_layers_refit_is_least_squares():
    model = Small().double()
    images = pictures(40).double()
    graph = fl.trace(model.eval(), images[:2])
    scores = fl.score(graph)
    plan = fl.Plan.from_ratios(graph, scores, {"conv1": 0.5})
    found = repaired(graph, plan, [images], 40, ridge=0.0, targets="output", positions=10**6)
    stay = torch.from_numpy(graph.keep(plan)[graph.channels_of("conv1")])
    with torch.no_grad():
        read = torch.relu(model.norm1(model.conv1(images)))
        given = model.conv2(read)  # (pictures, 8, 3, 3)
    rows = nn.functional.unfold(read[:, stay], 3, stride=2).transpose(1, 2).flatten(0, 1)
    rows = np.column_stack([rows.numpy(), np.ones(len(rows))])
    targets = given.permute(0, 2, 3, 1).reshape(-1, 8).numpy()
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]  # (features and a constant, outputs)
    refit = np.vstack([found.conv2.weight.detach().flatten(1).T.numpy(), found.conv2.bias.detach().numpy()])
    np.testing.assert_allclose(refit, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


class Keeping(Small):
    """Keeps what a later part of the same pass reads, in an attribute, a list and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.seen = [], {}
        self.after = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.taken.clear()
        self.features = torch.relu(self.norm1(self.conv1(x)))
        self.taken.append(torch.relu(self.conv2(self.features)))
        self.seen["mean"] = self.taken[0].mean((2, 3), keepdim=True)
        x = self.after(self.features)[..., :3, :3] + self.taken[0] * self.seen["mean"]
        return self.fc(torch.relu(self.conv3(x)).flatten(1))


class Passing(Keeping):
    """The same with all of it passed along."""

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.norm1(self.conv1(x)))
        taken = torch.relu(self.conv2(features))
        mean = taken.mean((2, 3), keepdim=True)
        x = self.after(features)[..., :3, :3] + taken * mean
        return self.fc(torch.relu(self.conv3(x)).flatten(1))


def test_what_a_network_keeps_of_a_pass_is_of_that_pass():
    keeping, passing = Keeping(), Passing()
    passing.load_state_dict(keeping.state_dict())
    graphs = [cut(model) for model in (keeping, passing)]
    assert graphs[0][1] == graphs[1][1]
    found, expected = (repaired(*graph) for graph in graphs)
    assert same(found, expected)
    assert keeping.taken == []
    assert not hasattr(keeping, "features")


def test_fewer_equations_than_unknowns_are_told_at_once_and_once(capsys):
    graph, plan = cut(Small())
    few = fl.repair(graph, plan, batches(4, 4), samples=4, progress=True)
    report = repair_report(few)
    short = report[report.equations < report.unknowns]
    told = [line for line in capsys.readouterr().out.splitlines() if "unknowns" in line]
    assert len(told) == 1
    first = short.iloc[0]
    assert f"{first.layer!r} has {first.equations} equations for {first.unknowns} unknowns" in told[0]
    fl.repair(graph, plan, batches(4, 4), samples=4, progress=False)
    fl.repair(graph, plan, batches(64), samples=64, progress=True)  # enough of them
    assert "unknowns" not in capsys.readouterr().out
