"""Distillation of layers: the same channels are compared, closed forms, and nothing of it stays."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.models.resnet import ResNet
from fpgmlab.recovery.extras.distilling.distances import attention, attention_difference, relative_square
from fpgmlab.recovery.extras.distilling.layers import shapes_of, stage_ends
from fpgmlab.recovery.extras.distilling.running import LayersDistilled
from tests.networks import NETWORKS, busy

QUIET = {"progress": False, "batch_size": 32}


class Inputs:
    """A task as far as distillation asks: something to call networks with."""

    def __init__(self, inputs: object) -> None:
        self.inputs = inputs

    def val_batches(self, batch_size: int, max_samples: int | None):
        yield self.inputs, None


def half(graph: fl.ChannelGraph, seed: int = 0, ratio: float = 0.5) -> fl.Plan:
    return fl.Plan.uniform(graph, fl.score(graph, "random", seed=seed), ratio, multiple=1)


def begun(student: nn.Module, inputs: object, extra: fl.Distill) -> LayersDistilled:
    running = extra.begin(student, Inputs(inputs), 1, 1)
    assert isinstance(running, LayersDistilled)
    return running


def loss_of(running: LayersDistilled, student: nn.Module, inputs: object) -> Tensor:
    """Return the term of a pass in eval mode, with gradients."""
    training = student.training
    student.eval()
    outputs = student(inputs)
    student.train(training)
    return running.loss(student, inputs, outputs, None)


def hooks_of(*models: nn.Module) -> int:
    return sum(len(module._forward_hooks) for model in models for module in model.modules())


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# The same channels ---------------------------------------------------------------------------------------------------


def cases() -> dict[str, Callable[[], tuple[nn.Module, Tensor]]]:
    """Return networks with what they are called with."""
    made = {
        "resnet8": lambda: (ResNet(8, classes=3, channels=1, width=0.5), torch.randn(2, 1, 16, 16)),
        "vgg16": lambda: (fl.models.build("vgg16", classes=3, channels=1, width=0.2), torch.randn(2, 1, 32, 32)),
        "yolov5n": lambda: (fl.models.yolov5("n", classes=["a", "b"], width=0.25), torch.rand(2, 3, 64, 64)),
    }
    for net in NETWORKS:
        inputs = net.inputs()
        free = None in net.groups.values() and net.name != "without_gradients_inside"
        if free and isinstance(inputs, Tensor) and inputs.ndim >= 2 and len(inputs) > 1:
            made[net.name] = lambda net=net, inputs=inputs: (net.build(), inputs)
    return made


CASES = cases()
QUICK = {"resnet8", "concatenation", "grouped", "shuffle", "convnext_block", "conv1d"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_a_network_as_cut_is_its_simulated_teacher_in_every_layer(name: str):
    """Where the teacher's removed channels are cut off from all that read them, no kept one of them differs."""
    torch.manual_seed(0)
    teacher, inputs = CASES[name]()
    teacher = busy(teacher).eval()
    graph = fl.trace(teacher, inputs)
    plan = half(graph)
    student = fl.prune(graph, plan)
    (mine, _), (theirs, _) = shapes_of(student, inputs), shapes_of(teacher, inputs)
    layers = [
        layer
        for layer, shape in mine.items()
        if layer and not isinstance(shape, str) and 2 <= len(shape) <= 5 and len(shape) == len(theirs[layer])
    ]
    running = begun(student, inputs, fl.Distill(teacher, kind="features", layers=layers, weight=1.0))
    reordered = [pair.student for pair in running.pairs if pair.adapter is not None]
    assert len(reordered) <= len(layers) // 2, "most layers' channels are known"
    known = [layer for layer in layers if layer not in reordered]
    running.end()
    running = begun(student, inputs, fl.Distill(teacher, kind="features", layers=known, adapters="never"))
    assert float(loss_of(running, student, inputs).detach()) >= 0
    with fl.simulate(graph, plan):
        running._teacher._of = None  # the weights are others
        value = loss_of(running, student, inputs)
    running.end()
    assert value.item() < 1e-9
    assert hooks_of(student, teacher) == 0


def test_kept_of_kept_channels_are_known(task: fl.tasks.Classification):
    torch.manual_seed(0)
    inputs = task.example_input.repeat(2, 1, 1, 1)
    whole = busy(ResNet(8, classes=3, channels=1)).eval()
    graph = fl.trace(whole, inputs)
    first = half(graph, 1, 0.3)
    once = fl.prune(graph, first)
    again = fl.trace(once, inputs)
    second = half(again, 2, 0.4)
    twice = fl.prune(again, second)
    both = {}
    for name, group in graph.items():
        left = np.setdiff1d(np.arange(group.channels), first.removed[name])
        both[name] = (*first.removed[name], *left[list(second.removed[name])])
    plan = fl.Plan(first.widths, {name: tuple(sorted(int(i) for i in gone)) for name, gone in both.items()})
    extra = fl.Distill(whole, kind="features", layers=["layer1", "layer2.0.conv1", "layer3"], adapters="never")
    with fl.simulate(graph, plan):
        running = begun(twice, inputs, extra)
        assert loss_of(running, twice, inputs).item() < 1e-9
        running.end()
    with fl.simulate(again, second):  # its first pruning is the teacher's as well
        running = begun(twice, inputs, fl.Distill(once, kind="features", adapters="never"))
        assert [pair.student for pair in running.pairs] == ["layer1", "layer2", "layer3"]
        assert loss_of(running, twice, inputs).item() < 1e-9
        running.end()
    with pytest.raises(ValueError, match="the teacher was pruned by plans that the student was not pruned by"):
        begun(whole, inputs, fl.Distill(twice, kind="features", adapters="never"))


def test_the_ends_of_stages_are_found():
    def ends(model: nn.Module, inputs: Tensor) -> list[str]:
        shapes, outputs = shapes_of(model, inputs)
        return stage_ends(shapes, outputs, shapes)

    resnet = ResNet(8, classes=3, channels=1)
    assert ends(resnet, torch.randn(1, 1, 16, 16)) == ["layer1", "layer2", "layer3"]
    vgg = fl.models.build("vgg16", classes=3, channels=1, width=0.1)
    found = ends(vgg, torch.randn(1, 1, 32, 32))
    assert [type(vgg.get_submodule(name)) for name in found[:4]] == [nn.ReLU] * 4
    assert found[4:] == ["features"]
    yolo = fl.models.yolov5("n", classes=["a", "b"], width=0.25)
    found = ends(yolo, torch.rand(1, 3, 64, 64))
    assert found[-3:] == ["model.17", "model.20", "model.23"], "what the detecting layers read"


# Closed forms --------------------------------------------------------------------------------------------------------


def test_attention_is_that_of_the_paper():
    generator = np.random.default_rng(0)
    mine, other = generator.normal(size=(4, 5, 3, 2)), generator.normal(size=(4, 7, 3, 2))
    maps = []
    for features in (mine, other):
        squares = (features**2).sum(1).reshape(4, -1)
        maps.append(squares / np.linalg.norm(squares, axis=1, keepdims=True))
    wanted = (np.linalg.norm(maps[0] - maps[1], axis=1) ** 2).mean()
    one, two = torch.tensor(mine), torch.tensor(other)
    assert attention_difference(one, two).item() == pytest.approx(wanted, rel=1e-5)
    assert attention_difference(one.movedim(1, -1), two.movedim(1, -1), dim=3).item() == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(attention(one), torch.tensor(maps[0]).float())
    torch.testing.assert_close(attention(100 * one), attention(one))  # not how strongly, but where
    assert attention_difference(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)).item() == 0


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module, Tensor]:
    """Return a student and a teacher of other widths, and what both are called with."""
    return (
        busy(ResNet(8, classes=3, channels=1, width=0.25)),
        busy(ResNet(8, classes=3, channels=1, width=0.5)),
        torch.randn(4, 1, 16, 16),
    )


@pytest.mark.parametrize("kind", ["features", "attention"])
def test_the_term_is_the_mean_over_layers(pair: tuple[nn.Module, nn.Module, Tensor], kind: str):
    student, teacher, inputs = pair
    running = begun(student, inputs, fl.Distill(teacher, kind=kind, weight=3.0))
    value = loss_of(running, student, inputs)
    seen: dict[str, list[Tensor]] = {"layer1": [], "layer2": [], "layer3": []}
    student.eval(), teacher.eval()
    for model in (student, teacher):
        x = torch.relu(model.bn1(model.conv1(inputs)))
        for name, found in seen.items():
            x = model.get_submodule(name)(x)
            found.append(x)
    terms = []
    for i, (mine, wanted) in enumerate(seen.values()):
        if kind == "features":
            mine = nn.functional.conv2d(mine, running.adapters[str(i)].weight)
            terms.append(((mine - wanted) ** 2).mean() / wanted.var(correction=0))
        else:
            terms.append(attention_difference(mine, wanted))
    torch.testing.assert_close(value, 3 * sum(terms) / 3)
    value.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in running.parameters())
    assert (len(list(running.parameters())) > 0) == (kind == "features")
    assert all(parameter.grad is None for parameter in teacher.parameters())
    running.end()


def test_adapters_are_where_they_are_asked_for(pair: tuple[nn.Module, nn.Module, Tensor]):
    student, teacher, inputs = pair
    like = copy.deepcopy(student)
    for adapters, other, wanted in (
        ("auto", like, 0),
        ("always", like, 3),
        ("never", like, 0),
        ("auto", teacher, 3),
    ):
        running = begun(student, inputs, fl.Distill(other, kind="features", adapters=adapters))
        assert len(running.adapters) == wanted
        running.end()
    with pytest.raises(
        ValueError, match=r"layer 'layer1': which of the teacher's 8 channels .* 4 is not known: .*'auto'"
    ):
        begun(student, inputs, fl.Distill(teacher, kind="features", adapters="never"))
    graph = fl.trace(teacher, inputs)
    small = fl.prune(graph, half(graph))
    with pytest.raises(ValueError, match="a network whose group 'conv1' has 8 channels; the teacher's has 4"):
        begun(small, inputs, fl.Distill(student, kind="features", adapters="never"))


@pytest.mark.parametrize("kind", ["features", "attention"])
def test_layers_of_another_architecture_are_named(pair: tuple[nn.Module, nn.Module, Tensor], kind: str):
    student, _, _ = pair
    inputs = torch.randn(2, 1, 32, 32)
    teacher = busy(fl.models.build("vgg16", classes=3, channels=1, width=0.1))
    with pytest.raises(ValueError, match=r"no layer of ResNet has a name .*, VGG.*\{student's: teacher's\}"):
        begun(student, inputs, fl.Distill(teacher, kind=kind))
    shapes, outputs = shapes_of(teacher, inputs)
    first = stage_ends(shapes, outputs, shapes)[0]
    running = begun(student, inputs, fl.Distill(teacher, kind=kind, layers={"layer1": first}))
    assert loss_of(running, student, inputs).item() > 0
    running.end()


# In a training -------------------------------------------------------------------------------------------------------


class Silent(fl.tasks.Classification):
    """Only the teacher teaches."""

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        return 0 * super().loss(outputs, targets, reduction)


def distance(student: nn.Module, teacher: nn.Module, inputs: Tensor, **options) -> float:
    running = begun(student, inputs, fl.Distill(teacher, weight=1.0, **options))
    value = loss_of(running, student, inputs).item()
    running.end()
    return value


@pytest.mark.parametrize("kind", ["features", "attention"])
@pytest.mark.parametrize("amp", ["off", "bfloat16"])
def test_a_pruned_network_comes_nearer_to_its_teacher(task: fl.tasks.Classification, kind: str, amp: str):
    teacher = ResNet(8, classes=3, channels=1, width=0.5)
    fl.fit(teacher, task, 1, **QUIET)
    graph = fl.trace(teacher, task.example_input)
    student = fl.prune(graph, half(graph))
    names, state = list(student.state_dict()), state_of(teacher)
    inputs = next(iter(task.val_batches(32)))[0]
    before = distance(student, teacher, inputs, kind=kind)
    silent = Silent(task.train, task.val, classes=3)
    options = {"lr": 0.02, "weight_decay": 0.0, "keep": "last", "amp": amp}
    fl.fit(student, silent, 4, extras=[fl.Distill(teacher, kind=kind, weight=3.0)], **options, **QUIET)
    assert distance(student, teacher, inputs, kind=kind) < 0.7 * before
    assert list(student.state_dict()) == names
    assert hooks_of(student, teacher) == 0
    assert all(torch.equal(tensor, state[name]) for name, tensor in teacher.state_dict().items())
    assert teacher.training


class Counted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += not self.training
        return self.inner(x)


def test_several_extras_run_their_teacher_once_a_batch(task: fl.tasks.Classification):
    student, teacher = (
        ResNet(8, classes=3, channels=1, width=0.25),
        Counted(ResNet(8, classes=3, channels=1, width=0.5)),
    )
    layers = {"layer1": "inner.layer1"}
    extras = [
        fl.Distill(teacher),
        fl.Distill(teacher, kind="features", layers=layers),
        fl.Distill(teacher, kind="attention", layers={"layer2": "inner.layer2"}),
    ]
    fl.fit(copy.deepcopy(student), task, extras=extras, keep="last", **QUIET)
    assert teacher.calls == 7
    inputs = torch.randn(4, 1, 8, 8)
    running = begun(student, inputs, fl.Distill(teacher, kind="features", layers=layers))
    one = loss_of(running, student, inputs).item()
    inputs += 1  # the same tensor with other numbers is another batch
    assert loss_of(running, student, inputs).item() != one
    running.end()


def test_the_same_seed_gives_the_same_weights(task: fl.tasks.Classification):
    student, teacher = (ResNet(8, classes=3, channels=1, width=width) for width in (0.25, 0.5))
    extras = [fl.Distill(teacher, kind="features"), fl.EMA(0.5), fl.EarlyStop(1)]
    results = []
    for _ in range(2):
        torch.rand(1)
        results.append(copy.deepcopy(student))
        history = fl.fit(results[-1], task, 4, extras=extras, **QUIET)
        assert len(history) <= 4
    assert all(torch.equal(a, b) for a, b in zip(*(model.state_dict().values() for model in results), strict=True))
    assert hooks_of(*results, teacher) == 0


class EndAt(fl.Extra):
    def __init__(self, how: str) -> None:
        self.how = how

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> float:
        if self.how == "nan":
            return float("nan")
        raise KeyboardInterrupt if self.how == "ctrl-c" else ZeroDivisionError


@pytest.mark.parametrize("how", ["nan", "ctrl-c", "error"])
@pytest.mark.parametrize("last", [False, True])
def test_no_hook_stays_however_it_ends(task: fl.tasks.Classification, how: str, last: bool):
    student, teacher = (ResNet(8, classes=3, channels=1, width=width) for width in (0.25, 0.5))
    teaching = [fl.Distill(teacher, kind="features"), fl.Distill(teacher, kind="attention"), fl.EMA(0.5)]
    extras = [*teaching, EndAt(how)] if last else [EndAt(how), *teaching]
    before = state_of(student)
    if how == "ctrl-c":
        assert fl.fit(student, task, extras=extras, **QUIET).attrs["interrupted"]
    else:
        with pytest.raises(FloatingPointError if how == "nan" else ZeroDivisionError):
            fl.fit(student, task, extras=extras, **QUIET)
    assert hooks_of(student, teacher) == 0
    assert all(torch.equal(p, before[name]) for name, p in student.named_parameters())
    with pytest.raises(ValueError, match="'layer9'"):
        fl.fit(student, task, extras=[*teaching, fl.Distill(teacher, kind="attention", layers=["layer9"])], **QUIET)
    assert hooks_of(student, teacher) == 0


def test_a_compiled_student_is_distilled(pair: tuple[nn.Module, nn.Module, Tensor]):
    student, teacher, inputs = pair
    student.eval()
    gradients = []
    for compiled in (False, True):
        running = begun(student, inputs, fl.Distill(teacher, kind="attention"))
        run = torch.compile(student, backend="eager") if compiled else student
        for _ in range(2):
            student.zero_grad()
            running.loss(student, inputs, run(inputs), None).backward()
        gradients.append(student.conv1.weight.grad.clone())
        with torch.no_grad():
            run(inputs)
        assert not running._watching.seen
        running.end()
    torch.testing.assert_close(*gradients)
    assert hooks_of(student, teacher) == 0


def test_adapters_go_on_from_their_state(pair: tuple[nn.Module, nn.Module, Tensor]):
    student, teacher, inputs = pair
    running, other = (begun(student, inputs, fl.Distill(teacher, kind="features")) for _ in range(2))
    values = [loss_of(one, student, inputs).item() for one in (running, other)]
    assert values[0] != values[1]
    other.load_state_dict(copy.deepcopy(running.state_dict()))
    assert loss_of(other, student, inputs).item() == values[0]
    running.end(), other.end()


# What does not fit ---------------------------------------------------------------------------------------------------


class Loose(nn.Module):
    """Layers that give no tensor, or do not run."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.idle, self.both, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3), Two(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.both(self.conv(x))[0].mean((2, 3)))


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": ["cnv"]}, "the student, Loose: unknown layer 'cnv': did you mean 'conv'"),
        ({"layers": {"conv": "cnv"}}, "the teacher, Loose: unknown layer 'cnv'"),
        ({"layers": ["idle"]}, "layer 'idle' of the student must give a tensor .*; it gives nothing: it does not run"),
        ({"layers": ["both"]}, "layer 'both' of the student must give a tensor .*; it gives tuple"),
        ({"layers": {"conv": "fc"}}, r"layer 'conv' of the student gives \(2, 4, 6, 6\), 'fc' of the teacher \(2, 3\)"),
        ({"layers": ["fc"], "kind": "attention"}, r"layer 'fc' gives \(2, 3\): attention needs positions"),
    ],
)
def test_layers_that_do_not_fit_are_named(options: dict, words: str):
    model = Loose()
    with pytest.raises(ValueError, match=words):
        begun(model, torch.randn(2, 1, 8, 8), fl.Distill(copy.deepcopy(model), **({"kind": "features"} | options)))
    assert hooks_of(model) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "hints"}, "kind must be one of 'logits', 'features', 'attention', 'detector'; not 'hints'"),
        ({"kind": "attention", "layers": []}, "layers names no layer; left out, the ends of the stages are taken"),
        ({"kind": "attention", "layers": "layer1"}, r"layers must be names in a list, such as \['layer1'\]"),
        ({"layers": ["layer1"]}, "layers is for kind 'features' or 'attention'; not for 'logits'"),
        ({"kind": "detector", "compare": relative_square}, "compare is for kind 'logits'; not for 'detector'"),
        ({"kind": "features", "adapters": "some"}, "adapters must be one of 'auto', 'always', 'never'; not 'some'"),
        ({"weight": -1}, "weight must be >= 0; got -1"),
        ({"temperature": 0}, "temperature must be > 0; got 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.Distill(nn.Linear(1, 1), **options)


def test_it_can_be_read_and_needs_to_begin(tiny: nn.Module):
    extra = fl.Distill(tiny, kind="features", layers=["layer1"], adapters="always")
    assert repr(extra) == (
        f"Distill(teacher=ResNet, kind='features', weight={extra.weight}, layers=['layer1'], adapters='always')"
    )
    with pytest.raises(RuntimeError, match=r"Distill\(kind='features'\) needs to begin before it is asked"):
        extra.loss(tiny, None, None, None)


def test_a_teacher_elsewhere_is_told(tiny: nn.Module, task: fl.tasks.Classification):
    away = copy.deepcopy(tiny).to("meta")
    with pytest.raises(ValueError, match=r"the student is on cpu, its teacher on meta: .*teacher.to\('cpu'\)"):
        fl.fit(tiny, task, extras=[fl.Distill(away)], **QUIET)


def test_a_real_network_is_taught_by_the_channels_that_it_still_has(
    resnet: nn.Module, graph: fl.ChannelGraph, fashion: fl.tasks.Classification
):
    some = fashion.subset(640, 500)
    small = fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.4))
    inputs = next(iter(some.val_batches(64)))[0]
    before = distance(small, resnet, inputs, kind="features"), fl.evaluate(small, some)["loss"]
    extras = [fl.Distill(resnet), fl.Distill(resnet, kind="features", adapters="never")]
    fl.fit(small, some, 1, lr=0.01, batch_size=32, extras=extras, keep="last", progress=False)
    after = distance(small, resnet, inputs, kind="features"), fl.evaluate(small, some)["loss"]
    assert after[0] < 0.9 * before[0]
    assert after[1] < 0.5 * before[1]
