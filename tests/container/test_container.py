"""The container's files agree with each other and with the report of a real run (``build.sh``, which takes minutes)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fpgmlab as fl
from tests.container import pip_settings
from tests.container.report import FIGURES, OUTPUT, report

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPT = (ROOT / "tests" / "container" / "build.sh").read_text()
RUN = json.loads(OUTPUT.read_text())


def test_the_ports_that_are_told_are_those_that_are_open():
    told = re.findall(r"-p (\d+):(\d+)", DOCKERFILE)
    assert all(outside == inside for outside, inside in told)
    (exposed,) = re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    assert {inside for _, inside in told} == set(exposed.split())
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert f"--port={exposed.split()[0]}" in json.loads(command)


def test_the_script_finds_in_the_dockerfile_what_it_looks_for(tmp_path: Path):
    looked_for = re.findall(r"\$?\((sed -n '.*' Dockerfile)\)", SCRIPT)
    release, desk = (
        subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        for command in sorted(looked_for, key=lambda command: "voila" in command)
    )
    assert release == ["bookworm"]
    assert desk[0] == "voila"
    assert (ROOT / desk[-1]).is_file()


def test_the_files_that_are_copied_and_run_exist():
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        for name in [word for word in line.split() if not word.startswith("--")][:-1]:
            assert (ROOT / name).exists(), name
    for name in re.findall(r"tests/container/\w+\.\w+", SCRIPT + DOCKERFILE):
        assert (ROOT / name).is_file(), name


def test_binder_takes_a_python_that_the_project_takes():
    python = (ROOT / "binder" / "runtime.txt").read_text().strip().partition("-")
    assert python[0] == "python"
    assert f'"Programming Language :: Python :: {python[2]}"' in (ROOT / "pyproject.toml").read_text()


def test_a_report_is_of_the_form_of_the_stored_one(tmp_path: Path):
    for name, content in {
        "contents.json": json.dumps({name: RUN[name] for name in ("versions", "megabytes", "user", "gpu")}),
        "status.json": json.dumps(RUN["status"]),
        "report.json": json.dumps({name: RUN["quickstart"][name] for name in FIGURES}),
        "seconds.tsv": "".join(f"{name}\t{seconds}\n" for name, seconds in RUN["seconds"].items()),
        "sizes": "".join(f"localhost/{name} {size}\n" for name, size in RUN["size"].items()),
        "peak": str(RUN["quickstart"]["peak megabytes of a process"]),
        "tools": "buildah version 1.28.2 (image-spec 1.1.0-rc2, runtime-spec 1.0.2-dev)\ndebootstrap 1.0.128+nmu2\n",
    }.items():
        (tmp_path / name).write_text(content)
    written = report(tmp_path)
    assert set(written) == set(RUN)
    assert written["tools"] == {"buildah": "1.28.2", "debootstrap": "1.0.128+nmu2"}
    assert list(written["study"]) == list(RUN["study"])
    for name in set(RUN) - {"study", "load in the last minutes", "tools"}:
        assert written[name] == RUN[name], name


def test_the_run_went_through_all_steps():
    assert list(RUN["seconds"]) == re.findall(r"^step (\w+)", SCRIPT, re.MULTILINE)
    assert {"started", "last_activity", "connections", "kernels"} <= set(RUN["status"])
    assert f"useradd --create-home --uid 1000 {RUN['user']} " in DOCKERFILE  # not root
    assert RUN["quickstart"]["drop_points"] < 2


def test_the_quickstart_in_the_container_was_that_of_here():
    model, task = fl.models.load("resnet20-fashion"), fl.tasks.fashion_mnist()
    cost = fl.trace(model, task.example_input).cost()
    there = RUN["quickstart"]["cost"]["original"]
    assert (there["macs"], there["params"], there["bytes"]) == (cost.macs, cost.params, cost.bytes)


def test_the_report_holds_nothing_of_the_machine():
    assert not re.search(r"https?:|[\"= ]/\w+", OUTPUT.read_text())


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "index" / "simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "some.txt").write_text("torch<3\n")
    (tmp_path / "pip.conf").write_text(
        f"[global]\ntimeout = 20\nextra-index-url =\n    file://{tmp_path}/index/simple\n"
        f"[install]\nconstraint = {tmp_path}/some.txt\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_TIMEOUT", "30")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path


def test_pip_is_set_up_inside_as_it_is_outside(wheels: Path, monkeypatch: pytest.MonkeyPatch):
    inside = wheels / "inside"
    inside.mkdir()
    monkeypatch.setattr(pip_settings, "INSIDE", inside)
    pip_settings.main(inside)
    assert (inside / "some.txt").read_text() == "torch<3\n"
    for name in ("PIP_TIMEOUT", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(inside / "pip.conf"))

    def told(name: str) -> str:
        command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert told("timeout") == "30"  # a variable prevails
    assert told("find-links") == str(wheels / "wheels")
    assert told("extra-index-url") == f"file://{wheels}/index/simple"
    assert told("constraint") == str(inside / "some.txt")


def test_folders_are_mounted_an_index_with_its_files(wheels: Path, capsys: pytest.CaptureFixture[str]):
    (wheels / "inside").mkdir()
    pip_settings.main(wheels / "inside")
    assert {str(wheels / "wheels"), str(wheels / "index")} <= set(capsys.readouterr().out.splitlines())
