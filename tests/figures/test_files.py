"""Figures on disk: PDF, PNG, the data, and a record that a second run repeats byte by byte."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import fpgmlab as fl
from fpgmlab.common.repository import git_state
from fpgmlab.figures import save_figure, score_bars, style
from fpgmlab.figures.record import readable

FRAME = pd.DataFrame({"channel": [0, 1], "score": [0.1 + 0.2, np.nan]})


@pytest.fixture
def figure() -> Figure:
    return score_bars(torch.arange(4.0), (1,), style=style("cvpr"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_all_files_are_written_and_recorded(figure: Figure, tmp_path: Path):
    written = save_figure(figure, FRAME, tmp_path / "new" / "fig1", seed=3, ratio=0.4)
    assert [path.name for path in written] == ["fig1.pdf", "fig1.png", "fig1.csv", "fig1.json"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in written)
    assert written[0].read_bytes().startswith(b"%PDF")
    assert written[1].read_bytes().startswith(b"\x89PNG")
    assert written[2].read_bytes() == b"channel,score\n0,0.30000000000000004\n1,\n"
    record = read(written[3])
    assert record["figures"] == ["fig1.pdf", "fig1.png"]
    assert record["data"] == {"fig1.csv": hashlib.sha256(written[2].read_bytes()).hexdigest()}
    assert record["parameters"] == {"seed": 3, "ratio": 0.4}
    assert set(record["versions"]) == {"python", "fpgmlab", "torch", "numpy", "scipy", "pandas", "matplotlib"}
    assert record["versions"]["fpgmlab"] == fl.__version__


def test_several_tables_or_none(figure: Figure, tmp_path: Path):
    labelled = FRAME.set_index("channel")
    written = save_figure(figure, {"left": FRAME, "right": labelled}, str(tmp_path / "a"))
    assert [path.name for path in written] == ["a.pdf", "a.png", "a.left.csv", "a.right.csv", "a.json"]
    assert written[3].read_text().splitlines()[0] == "channel,score"
    assert [path.name for path in save_figure(figure, None, tmp_path / "b")] == ["b.pdf", "b.png", "b.json"]
    assert read(tmp_path / "b.json")["data"] == {}


def test_saving_again_changes_no_byte(figure: Figure, tmp_path: Path):
    first = [path.read_bytes() for path in save_figure(figure, FRAME, tmp_path / "a", model=torch.nn.Linear(2, 2))]
    again = [path.read_bytes() for path in save_figure(figure, FRAME, tmp_path / "a", model=torch.nn.Linear(2, 2))]
    assert first == again


def test_the_users_settings_change_no_byte(figure: Figure, tmp_path: Path):
    import matplotlib as mpl

    first = save_figure(figure, None, tmp_path / "a")[0].read_bytes()
    with mpl.rc_context({"savefig.bbox": "tight", "pdf.fonttype": 3, "savefig.dpi": 40}):
        again = save_figure(figure, None, tmp_path / "a")[0].read_bytes()
    assert first == again


@pytest.mark.parametrize(
    ("data", "name", "error", "message"),
    [
        ([1, 2], "a", TypeError, "data must be a pandas DataFrame, .*; got list"),
        ({"x": [1]}, "a", TypeError, "got list under 'x'"),
        ({3: FRAME}, "a", TypeError, "got DataFrame under 3"),
        ({"x/y": FRAME}, "a", ValueError, "'x/y' cannot"),
        ({"": FRAME}, "a", ValueError, "'' cannot"),
        (FRAME, "a.pdf", ValueError, "without its ending"),
        (FRAME, "", ValueError, "name of the figure"),
        (FRAME, FRAME, TypeError, "path must be"),
    ],
)
def test_bad_input_leaves_nothing_behind(
    data: object, name: object, error: type[Exception], message: str, figure: Figure, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        save_figure(figure, data, name)
    assert not list(tmp_path.iterdir())


def test_what_is_no_figure_or_cannot_be_drawn_leaves_nothing_behind(figure: Figure, tmp_path: Path):
    with pytest.raises(TypeError, match="matplotlib Figure; got DataFrame"):
        save_figure(FRAME, None, tmp_path / "a")
    figure.axes[0].set_xlabel("$x^$")
    with pytest.raises(ValueError, match="x"):
        save_figure(figure, FRAME, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_named_before_anything_is_written(figure: Figure, tmp_path: Path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a\.csv"):
        save_figure(figure, FRAME, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


# Parameters in words ------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    size: int
    place: Path
    nested: tuple = ()


def test_parameters_become_readable(tmp_path: Path, figure: Figure):
    parameters = {
        "place": Path("a") / "b", "number": np.float32(0.5), "whole": np.int64(3), "flag": np.bool_(True),
        "scalar": torch.tensor(2.5), "short": torch.arange(3), "long": torch.zeros(8, 8, dtype=torch.bfloat16),
        "array": np.zeros((9, 9)), "options": Options(1, Path("c"), (Colour.RED,)), "criterion": fl.criteria.FPGM(),
        "nan": float("nan"), "infinite": -float("inf"), "set": {2, 1}, "range": range(3), "keys": {1: "a", None: "b"},
        "device": torch.device("cpu"), "dtype": torch.float16, "kind": dict, "function": fl.score, "thing": object(),
        "rule": lambda w: w, "frame": FRAME, "model": torch.nn.Linear(2, 3), "text": "µ", "nothing": None,
        "complex": 1j, "bytes": b"x",
    }  # fmt: skip
    save_figure(figure, None, tmp_path / "a", **parameters)
    found = read(tmp_path / "a.json")["parameters"]
    assert found["place"] == "a/b"
    assert (found["number"], found["whole"], found["flag"]) == (0.5, 3, True)
    assert (found["scalar"], found["short"]) == (2.5, [0, 1, 2])
    assert found["long"].startswith("Tensor (8, 8) bfloat16, sha256 ")
    assert found["array"].startswith("ndarray (9, 9) float64, sha256 ")
    assert found["options"] == {"type": "Options", "size": 1, "place": "c", "nested": ["Colour.RED"]}
    assert found["criterion"] == {"type": "FPGM", "distance": "euclidean", "center": "sum", "as_implemented_by": None}
    assert (found["nan"], found["infinite"]) == ("nan", "-inf")
    assert (found["set"], found["range"], found["keys"]) == ([1, 2], [0, 1, 2], {"1": "a", "None": "b"})
    assert (found["device"], found["dtype"], found["kind"]) == ("device(type='cpu')", "torch.float16", "builtins.dict")
    assert found["function"] == "fpgmlab.criteria.scoring.score"
    assert found["thing"] == "<object object>"
    assert "0x" not in found["rule"]
    assert (found["frame"], found["model"]) == ("DataFrame (2, 2)", "Linear, 9 parameters")
    assert (found["text"], found["nothing"], found["complex"], found["bytes"]) == ("µ", None, "1j", "b'x'")


def test_what_contains_itself_ends():
    loop: list = [1]
    loop.append(loop)
    assert json.dumps(readable(loop))


def test_different_tensors_differ_in_the_record():
    assert readable(torch.zeros(9, 9)) != readable(torch.eye(9))


# Git ----------------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_revision_and_changes_are_recorded(repository: Path, figure: Figure):
    save_figure(figure, None, "out/a")
    assert read(repository / "out/a.json")["git"] == {"revision": git(repository, "rev-parse", "HEAD"), "dirty": False}
    (repository / "code.py").write_text("2\n")
    save_figure(figure, None, "out/a")
    assert read(repository / "out/a.json")["git"]["dirty"] is True


def test_results_in_the_repository_do_not_make_it_dirty(repository: Path, figure: Figure):
    save_figure(figure, FRAME, "a [1]/fig")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "two")
    runs = []
    for _ in range(2):  # the first changes the record, which names another revision
        save_figure(figure, FRAME, "a [1]/fig")
        runs.append((repository / "a [1]" / "fig.json").read_bytes())
    assert git(repository, "status", "--porcelain")
    assert runs[0] == runs[1]
    assert b'"dirty": false' in runs[0]


def test_without_a_repository_or_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None, "no commit yet"
    monkeypatch.setenv("PATH", "")
    assert git_state(Path(__file__).parent) is None
