"""Files are written whole or not at all."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from fpgmlab.common import files
from fpgmlab.common.files import atomic_path, cache_dir, data_dir, data_file, is_free, remove_unfinished


def test_a_finished_file_is_renamed_and_nothing_else_is_left(tmp_path: Path):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: type[BaseException]):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_a_killed_process_left_is_told_from_other_files(tmp_path: Path):
    assert is_free(tmp_path / "nowhere")
    assert is_free(tmp_path)
    (tmp_path / ".a.txt.abcd_123").mkdir()  # as `atomic_path` names it
    (tmp_path / ".a.txt.abcd_123" / "a.txt").write_text("half")
    kept = tmp_path / ".config" / "mine.txt"
    assert is_free(tmp_path)
    kept.parent.mkdir()
    kept.touch()
    assert not is_free(tmp_path)
    assert not is_free(kept)
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".config"]
    assert kept.exists()


def test_permissions_are_those_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "a") as temporary:
        temporary.touch(mode=0o600)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"cannot write .*file/a.txt.*folder that you may write"),
        atomic_path(tmp_path / "file" / "a.txt"),
    ):
        pass
    with pytest.raises(IsADirectoryError, match="name of a file"), atomic_path(tmp_path):
        pass


def test_data_is_found_from_the_checkout_and_through_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert (data_dir() / "README.md").is_file()
    there = data_dir()
    monkeypatch.setenv("FPGMLAB_DATA", os.fspath(there))
    assert data_dir() == there
    monkeypatch.setenv("FPGMLAB_DATA", os.fspath(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"FPGMLAB_DATA=.*clone it"):
        data_dir()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As if fpgmlab lay in no checkout; the folder of fpgmlab-data, which is empty."""
    for name in ("FPGMLAB_DATA", "FPGMLAB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "fpgmlab" / "common" / "files.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site" / "fpgmlab_data"


def test_without_a_checkout_the_installed_data_are_found_and_nothing_is_written_there(installed: Path):
    with pytest.raises(
        FileNotFoundError, match=r"FPGMLAB_DATA is not set, .*site/data' of a checkout .*fpgmlab\[data\]"
    ):
        data_dir()
    installed.mkdir()
    for name in ("__init__.py", "README.md"):
        (installed / name).touch()
    importlib.invalidate_caches()
    assert data_dir() == installed
    assert cache_dir() == installed.parents[1] / "caches" / "fpgmlab"


def test_what_is_fetched_lies_beside_the_data_or_where_one_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("FPGMLAB_CACHE", raising=False)
    assert cache_dir() == data_dir() / "cache"
    monkeypatch.setenv("FPGMLAB_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path


def test_a_missing_data_file_says_how_to_get_it():
    with pytest.raises(FileNotFoundError, match=r"nothing\.gz.*data/build\.py"):
        data_file("fashion-mnist", "nothing.gz")
