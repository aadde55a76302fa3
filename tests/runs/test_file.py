"""Run files: all of a run, checked before anything runs, and written by a notebook."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fpgmlab as fl
from fpgmlab.runs import BadRun, read_run
from fpgmlab.runs.making import named_extras
from fpgmlab.runs.sections import HOW, SECTIONS
from fpgmlab.runs.types import Option, Table

SOUND = """
model = "resnet20-fashion"
task = "fashion_mnist"
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write


def mistakes_in(path: Path, *settings: str) -> list[str]:
    with pytest.raises(BadRun) as caught:
        read_run(path, settings)
    return list(caught.value.mistakes)


def test_all_mistakes_are_told_at_once_each_with_its_place_and_the_nearest_name(written):
    found = mistakes_in(
        written("""
model = "resnet20-fashon"
[task]
name = "fashion_mnst"
[plans]
[score]
criterion = {name = "fpgm", centre = "median"}
[plan]
how = "allocate"
[repair]
samples = "x"
[fit]
epoch = 1
keep = "bets"
lr = true
extras = [{name = "distil"}, {name = "distill", wieght = 1}, 3]
""")
    )
    starts = [
        "plans: unknown section 'plans': did you mean 'plan'?",
        "model.name: unknown network 'resnet20-fashon': did you mean 'resnet20-fashion'?",
        "task.name: unknown task 'fashion_mnst': did you mean 'fashion_mnist'?",
        "score.criterion.centre: unknown key 'centre': did you mean 'center'?",
        "plan: give exactly one of macs, params, bytes, latency; got none",
        "repair.samples must be a whole number; got 'x'",
        "fit.epoch: unknown key 'epoch': did you mean 'epochs'?",
        "fit.keep must be one of 'best', 'last'; not 'bets'",
        "fit.lr must be a number; got True",
        "fit.extras[0]: unknown extra 'distil': did you mean 'distill'?",
        "fit.extras[1].wieght: unknown key 'wieght': did you mean 'weight'?",
        "fit.extras[2] must be one of 'ema', 'distill'",
        "plan.how: 'allocate' needs curves: add a section [sweep]",
    ]
    assert len(found) == len(starts)
    for mistake, start in zip(found, starts, strict=True):
        assert mistake.startswith(start)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = ", "is not TOML: Invalid value (at"),
        ("[fit]\n[fit]\n", "is not TOML"),
        ('task = "trees"', "the section [model] is missing"),
        (SOUND + "fit = 3", "fit must be a table; got 3"),
        (SOUND + "[repair]", "repair: there is nothing to repair without a section [plan]"),
        (SOUND + "[plan]\nmacs = 0.5", "plan: give 'how', one of 'uniform'"),
        (SOUND + '[plan]\nhow = "uniform"\nmacs = 0.5\nratio = 0.5', "exactly one of ratio, macs, params, bytes; got"),
        (SOUND + '[plan]\nhow = "file"', "plan: the key 'file' is missing"),
        (SOUND + '[plan]\nhow = "allocate"\nlatency = 0.5\n[sweep]', "plan.latency: needs 'table'"),
        (SOUND + '[export]\nformat = "onxx"', "export.format: unknown format 'onxx': did you mean 'onnx'?"),
        (SOUND + "[fit]\nextras = 'distill'", "fit.extras must be a list; got 'distill'"),
        ('task = "trees"\n[model]\nname = "vgg16"\nfile = "a.pt"', "model: give 'name' or 'file' or 'builder'"),
        ('task = "trees"\nmodel = "nowhere_at_all:make"', "model.builder: 'nowhere_at_all' cannot be imported"),
        ('task = "trees"\nmodel = "tests.runs.brought:netwrk"', "did you mean 'network'?"),
        ('task = "trees"\n[model]\nbuilder = "tests.runs.brought:network"\narguments = {wdth = 3}', "'width'?"),
        ('task = "trees"\n[model]\nbuilder = "networks"', "model.builder: must be 'module:function'"),
        ('model = "vgg16"\n[task]\nname = "trees"\nbuilder = "tests.runs.brought:task"', "task: give 'name' ("),
        ('model = "vgg16"\n[task]\nname = "image_folder"', "task: the key 'path' is missing"),
        ('model = "vgg16"\n[task]\nname = "trees"\nsubset = {trian = 3}', "task.subset.trian: unknown key"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_words(written, text: str, told: str):
    assert told in "\n".join(mistakes_in(written(text)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('plan = {how = "allocate", macs = 50}\nsweep = {}', ["plan.macs must be the fraction that may remain, above"]),
        ('plan = {how = "uniform", ratio = 50}', ["plan.ratio must be the fraction that goes, at least 0 and below"]),
        ('plan = {how = "from_ratios", ratios = {conv1 = 0.5, conv2 = -1}}', ["plan.ratios.conv2 must be the"]),
        ("fit = {epochs = 0, lr = -1}", ["fit.epochs must be a whole number of at least 1; got 0", "fit.lr must be"]),
        ("fit = {batch_size = 1, lr = nan}", ["fit.batch_size must be a whole number of at least 2", "fit.lr must be"]),
        ("fit = {epochs = 0.5}", ["fit.epochs must be a whole number; got 0.5"]),
        ("fit = {extras = [{name = 'ema', decay = 1}]}", ["fit.extras[0].decay must be a fraction above 0 and below"]),
        ("gradual = {target = 50}", ["gradual.target must be a fraction above 0 and below 1; got 50.0"]),
        ("gradual = {target = {params = 2}, steps = 0}", ["gradual.target.params must be", "gradual.steps must be"]),
        ("gradual = {target = 0.5, between = [{name = 'fit', keep = 'bets', epochs = 0}]}",
         ["gradual.between[0].epochs must be a whole number", "gradual.between[0].keep must be one of 'best', 'last'"]),
        ("sweep = {ratios = [0.5, 1.5], batch_size = 0}", ["sweep.ratios[1] must be the", "sweep.batch_size must be"]),
        ("benchmark = {runtimes = ['onnx'], rounds = 0}",
         ["benchmark.runtimes[0]: unknown runtime 'onnx': did you mean 'onnxruntime'?", "benchmark.rounds must"]),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_told_before_anything_runs(written, text: str, told: list[str]):
    found = sorted(mistakes_in(written(SOUND + text)))
    assert len(found) == len(told)
    assert all(any(mistake.startswith(start) for mistake in found) for start in told)


def test_arguments_of_a_builder_have_the_ranges_of_its_maker(written):
    section = 'task = "fashion_mnist"\n[model]\nbuilder = "tests.runs.brought:network"\narguments = {width = -1}'
    assert read_run(written(section)).sections["model"]["arguments"] == {"width": -1}


def test_every_default_is_in_its_range():
    for table in filter(lambda table: isinstance(table, Table), SECTIONS.values()):
        for option in table.options.values():
            assert option.limit is None or not option.limit.wrong(option.default, option.name)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path):
    assert mistakes_in(tmp_path / "run.toml") == ["there is no such file"]
    (tmp_path / "run.toml").write_bytes(b'model = "\xff"')
    assert mistakes_in(tmp_path / "run.toml") == ["is not UTF-8: byte 9 is 0xff"]
    assert "cannot be read" in mistakes_in(tmp_path)[0]


def test_the_keys_of_a_section_are_the_options_of_the_function():
    for section, function in (("fit", fl.fit), ("repair", fl.repair), ("sweep", fl.sweep), ("benchmark", fl.benchmark)):
        names = set(inspect.signature(function).parameters)
        assert set(SECTIONS[section].options) - names <= {"extras", "file"}
        plain = {
            n for n, p in inspect.signature(function).parameters.items() if isinstance(p.default, int | float | str)
        }
        assert plain - {"progress"} <= set(SECTIONS[section].options)
        for name, option in SECTIONS[section].options.items():
            if name not in ("extras", "file"):
                assert option.default == inspect.signature(function).parameters[name].default
    assert set(HOW) >= {"uniform", "allocate", "by_depth", "file"}


def test_every_extra_of_the_library_has_a_name():
    assert {"distill", "gamma_l1", "ema", "early_stop"} <= set(named_extras())
    extras = [getattr(fl.recovery.extras, name) for name in fl.recovery.extras.__all__]
    dataclasses = [extra for extra in extras if hasattr(extra, "__dataclass_fields__")]
    assert sorted(map(repr, named_extras().values())) == sorted(map(repr, dataclasses))


def test_defaults_are_written_out_and_seeds_are_the_runs(written):
    plan = '[plan]\nhow = "uniform"\nmacs = 0.5\n'
    file = read_run(written(f"{SOUND}{plan}[run]\nseed = 7\n[repair]\n[fit]\nseed = 3\nlr = 1"))
    assert file.sections["repair"]["seed"] == 7
    assert file.sections["score"] == {
        "criterion": {"name": "fpgm", "distance": "euclidean", "center": "sum"},
        "seed": 7,
    }
    assert file.sections["fit"]["seed"] == 3
    assert file.sections["fit"]["lr"] == 1.0
    assert isinstance(file.sections["fit"]["lr"], float)
    assert file.sections["fit"]["optimizer"] == "sgd"
    assert file.folder == Path("outputs/run")
    # What is written out in full says the same.
    again = read_run(written(file.resolved))
    assert again.sections == file.sections == tomllib.loads(file.resolved)


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("fit.epochs=2", "fit", "epochs", 2),
        ("fit.keep=last", "fit", "keep", "last"),
        ('fit.keep = "last"', "fit", "keep", "last"),
        ("run.folder=outputs/a b=c", "run", "folder", "outputs/a b=c"),
        ("fit.extras=['ema']", "fit", "extras", [{"name": "ema", "decay": 0.99}]),
        ('plan.ratios."layer1.0.conv1"=0.25', "plan", "ratios", {"layer1.0.conv1": 0.25}),
        ("task.subset.train=10", "task", "subset", {"train": 10, "val": 20, "seed": 0}),
        ("sweep.dtype=bfloat16", "sweep", "dtype", "bfloat16"),
    ],
)
def test_settings_change_the_file(written, setting: str, section: str, key: str, value: object):
    task = '[task]\nname = "fashion_mnist"\nsubset = {train = 5, val = 20}\n'
    text = f'model = "vgg16-fashion"\n{task}[plan]\nhow = "from_ratios"\nratios = {{}}\n[fit]'
    file = read_run(written(text), [setting])
    assert file.sections[section][key] == value
    assert file.text == text


@pytest.mark.parametrize("setting", ["epochs=1", "fit.epochs", "=", "fit.=1", "fit..x=1"])
def test_what_is_no_setting_is_told(written, setting: str):
    assert mistakes_in(written(SOUND), setting) == [f"{setting!r} must be SECTION.KEY=VALUE, such as fit.epochs=1"]


def test_a_notebook_writes_what_is_read(tmp_path: Path):
    path = tmp_path / "run.toml"
    fl.write_run(
        path,
        run={"folder": tmp_path / "out", "seed": 2},
        model="resnet20-fashion",
        task={"name": "fashion_mnist", "holdout": 5000, "subset": {"train": 512}},
        score={"criterion": {"name": "fpgm", "center": "median"}},
        plan={"how": "uniform", "macs": 0.5, "ratio": None, "protect": ("conv1",)},
        repair={},
        fit={"epochs": 3, "lr": 1, "extras": ["distill", {"name": "ema", "decay": 0.9}]},
        export="onnx",
    )
    assert tomllib.loads(path.read_text()) == {
        "run": {"folder": str(tmp_path / "out"), "seed": 2},
        "model": {"name": "resnet20-fashion"},
        "task": {"name": "fashion_mnist", "holdout": 5000, "subset": {"train": 512}},
        "score": {"criterion": {"name": "fpgm", "center": "median"}},
        "plan": {"how": "uniform", "macs": 0.5, "protect": ["conv1"]},
        "repair": {},
        "fit": {"epochs": 3, "lr": 1.0, "extras": [{"name": "distill"}, {"name": "ema", "decay": 0.9}]},
        "export": {"format": "onnx"},
    }
    assert read_run(path).given == tomllib.loads(path.read_text())


def test_what_cannot_be_is_not_written(tmp_path: Path):
    with pytest.raises(BadRun, match=r"run\.toml: fit\.epoch: unknown key 'epoch': did you mean 'epochs'"):
        fl.write_run(tmp_path / "run.toml", model="vgg16-fashion", task="fashion_mnist", fit={"epoch": 1})
    with pytest.raises(BadRun, match="evaluate"):
        fl.write_run(tmp_path / "run.toml", model="vgg16-fashion", task="fashion_mnist", evaluate={"max_samples": 1.5})
    assert not (tmp_path / "run.toml").exists()


def test_a_notebook_hands_over_its_objects(tmp_path: Path, resnet, graph):
    plan = fl.Plan.uniform(graph, fl.score(graph), 0.25)
    distill = fl.Distill(resnet, kind="features", layers=["layer1"])
    fl.write_run(
        tmp_path / "run.toml",
        model="resnet20-fashion",
        task={"name": "trees", "augment": fl.tasks.BoxAugment(mosaic=0.5)},
        score={"criterion": fl.criteria.FPGM(center="median")},
        plan=plan,
        fit={
            "extras": [fl.Distill(resnet, kind="features", layers=["layer1"]), fl.EMA(0.9), fl.GroupLasso(graph, 0.01)]
        },
    )
    given = read_run(tmp_path / "run.toml").given
    assert given["task"] == {"name": "trees", "augment": {"mosaic": 0.5}}
    assert given["score"] == {"criterion": {"name": "fpgm", "center": "median"}}
    assert fl.Plan.from_json(given["plan"]["file"]) == plan
    assert given["fit"]["extras"] == [
        {"name": "distill", "kind": "features", "weight": distill.weight, "layers": ["layer1"]},
        {"name": "ema", "decay": 0.9},
        {"name": "group_lasso", "strength": 0.01},
    ]
    distill = fl.Distill(resnet, compare=lambda outputs, wanted: outputs.mean())
    with pytest.raises(BadRun, match=r"fit\.extras\[0\]: compare= of Distill cannot be told in a file"):
        fl.write_run(tmp_path / "no.toml", model="vgg16", task="trees", fit={"extras": [distill]})


def values(option: Option) -> st.SearchStrategy:
    """Return values that an option takes."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    known = {bool: st.booleans(), int: st.integers(-(2**53), 2**53), str: texts}
    known[float] = st.floats(allow_nan=False)
    if option.limit is not None:
        able = [st.integers(0, 2**53), st.floats(0, 1) | st.floats(0, allow_nan=False)]
        known[int], known[float] = (each.filter(lambda value: not option.limit.wrong(value, "")) for each in able)
    if option.choices:
        known[str] = st.sampled_from(option.choices)
    for member in (option.annotation, *get_args(option.annotation)):
        if member in known:
            return known[member]
        if get_origin(member) is Sequence:
            return st.lists(known[get_args(member)[0]], max_size=3)
    return st.nothing()


@st.composite
def sections(draw: st.DrawFn) -> dict[str, dict[str, object]]:
    found = {}
    for name in draw(st.sets(st.sampled_from(["fit", "sweep", "benchmark", "evaluate", "trace"]))):
        able = [each for each in SECTIONS[name].options.values() if not values(each).is_empty and each.name != "file"]
        chosen = draw(st.lists(st.sampled_from(able), unique=True))
        found[name] = {option.name: draw(values(option)) for option in chosen}
    return found


@given(sections())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_to_the_bit(tmp_path: Path, parts: dict[str, dict[str, object]]):
    fl.write_run(tmp_path / "run.toml", model="resnet20-fashion", task="fashion_mnist", **parts)
    found = read_run(tmp_path / "run.toml")
    assert {name: dict(found.given[name]) for name in parts} == parts
    (tmp_path / "again.toml").write_text(found.resolved)
    assert read_run(tmp_path / "again.toml").sections == found.sections


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_slip_of_the_pen_is_told_what_was_meant(tmp_path: Path, data: st.DataObject):
    section = data.draw(st.sampled_from(["fit", "sweep", "repair", "benchmark"]))
    key = data.draw(st.sampled_from([name for name in SECTIONS[section].options if len(name) > 4]))
    place = data.draw(st.integers(0, len(key) - 2))
    slip = key[:place] + key[place + 1] + key[place] + key[place + 2 :]  # two letters exchanged
    assume(slip not in SECTIONS[section].options)
    path = tmp_path / "run.toml"
    path.write_text(f'{SOUND}[plan]\nhow = "uniform"\nratio = 0.5\n[{section}]\n{slip} = 1')
    (mistake,) = mistakes_in(path)
    assert mistake.startswith(f"{section}.{slip}: unknown key {slip!r}: did you mean {key!r}?")


def test_files_that_are_not_there_are_told_before_anything_runs(written):
    text = """
model = "gone.safetensors"
[task]
name = "image_folder"
path = "gone"
[plan]
how = "file"
file = "gone.json"
[fit]
extras = [{name = "distill", teacher = "gone.pt"}]
"""
    here = Path.cwd()
    assert mistakes_in(written(text)) == [
        f"model.file: there is no file '{here}/gone.safetensors'",
        f"task.path: there is no folder '{here}/gone'",
        f"plan.file: there is no file '{here}/gone.json'",
        f"fit.extras[0].teacher: there is no file '{here}/gone.pt'",
    ]
