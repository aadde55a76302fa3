"""The course is copied to work in, and nobody's work is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fpgmlab as fl
from fpgmlab.course import copying
from tests.kept import ROOT, notebooks


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fpgmlab", "notebooks", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_copies_every_notebook_and_refuses_to_do_it_again(tmp_path: Path):
    done = run(tmp_path / "course")
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (tmp_path / "course").glob("*.ipynb")} >= set(notebooks())
    for path in (tmp_path / "course").rglob("*.*"):
        assert path.read_bytes() == (ROOT / "notebooks" / path.relative_to(tmp_path / "course")).read_bytes()
    for name in notebooks():
        assert f"{name}.ipynb\n" in done.stdout
    mine = tmp_path / "course" / "06_repair.ipynb"
    mine.write_text("mine")
    again = run(tmp_path / "course")
    assert again.returncode == 2
    assert "00_quickstart.ipynb" in again.stderr
    assert "nothing was copied" in again.stderr
    assert mine.read_text() == "mine"
    assert run(tmp_path / "course", "--overwrite").returncode == 0
    assert mine.read_text() != "mine"


def test_a_single_file_in_the_way_stops_all(tmp_path: Path):
    (tmp_path / "09_deployment.ipynb").write_text("mine")
    with pytest.raises(FileExistsError, match="09_deployment"):
        fl.course.copy_notebooks(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["09_deployment.ipynb"]


def test_pictures_that_the_notebooks_show_come_along_and_leftovers_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "source"
    for name in ("00_quickstart.ipynb", "pictures/00.png", ".ipynb_checkpoints/00_quickstart.ipynb", "run.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"{}")
    monkeypatch.setattr(copying, "notebooks_dir", lambda: source)
    written = fl.course.copy_notebooks(tmp_path / "course")
    assert {path.relative_to(tmp_path / "course").as_posix() for path in written} == {
        "00_quickstart.ipynb", "pictures/00.png",
    }  # fmt: skip
    assert sorted(path for path in (tmp_path / "course").rglob("*") if path.is_file()) == sorted(written)
