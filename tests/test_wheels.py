"""The wheels as somebody installs them who has no checkout: built, unpacked elsewhere, used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

import fpgmlab as fl
from tests.kept import ROOT, notebooks
from tests.notebooks.running import SMALL, check_every_cell_ran

pytestmark = pytest.mark.slow

USE = """
import json, sys
from pathlib import Path
import fpgmlab as fl

task = fl.tasks.fashion_mnist(holdout=5000)
graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
curves = fl.sensitivity.shipped("resnet20-fashion", repaired=True)
plan = fl.allocate(graph, curves, macs=0.7, multiple=1)
cut, repaired = fl.prune(graph, plan), fl.repair(graph, plan, task, samples=128, progress=False)
fl.save(repaired, "small.safetensors")
again = fl.load("small.safetensors")
figures = [fl.evaluate(network, task, max_samples=500)["accuracy"] for network in (cut, repaired, again)]
print(json.dumps({
    "version": fl.__version__, "package": str(Path(fl.__file__).parent), "data": str(fl.common.data_dir()),
    "accuracy": figures, "trees": len(fl.tasks.trees().val), "models": fl.models.available(),
    "studies": list(fl.results()["name"]), "right": fl.exercises.right("06-2", ""), "path": sys.path,
}))
"""
PAPERMILL = """
import sys, json, papermill
source, target, parameters = sys.argv[1:]
papermill.execute_notebook(source, target, parameters=json.loads(parameters), kernel_name="python3")
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, by the name of the package that is in them."""
    folder = tmp_path_factory.mktemp("dist")
    for source in (ROOT, ROOT / "data"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both wheels installed in it."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, *map(str, wheels.values())], check=True)
    return site


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with what is installed and the packages around it, without the checkout."""
    packages = f"{installed}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    given = {name: value for name, value in os.environ.items() if not name.startswith("FPGMLAB_")}
    done = subprocess.run(  # -S: no .pth files, so no editable install
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env=given | {"PYTHONPATH": packages},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheels_hold_what_git_holds(wheels: dict[str, Path]):
    assert set(wheels) == {"fpgmlab", "fpgmlab_data"}
    listed = subprocess.run(
        ["git", "ls-files", "fpgmlab", "data", "notebooks"], cwd=ROOT, capture_output=True, text=True
    )
    kept = set(listed.stdout.split())
    if not kept:
        pytest.skip("no git, or the archive of a release: nothing says what belongs to it")
    moved = {"data/fpgmlab_data.py": "fpgmlab_data/__init__.py"}
    left = {"data/build.py", "data/pyproject.toml", "data/LICENSES.txt"}
    wanted = {
        moved.get(name, name.replace("data/", "fpgmlab_data/", 1) if name.startswith("data/") else name)
        for name in kept - left
    }
    wanted = {f"fpgmlab_data/{name}" if name.startswith("notebooks/") else name for name in wanted}
    there = {name for path in wheels.values() for name in ZipFile(path).namelist() if ".dist-info/" not in name}
    assert there == wanted


def test_network_task_curves_and_repair_work_from_another_folder(installed: Path, tmp_path: Path):
    told = json.loads(run(installed, tmp_path, "-c", USE).stdout)
    assert told["version"] == fl.__version__
    assert told["package"] == str(installed / "fpgmlab")
    assert told["data"] == str(installed / "fpgmlab_data")
    assert str(ROOT) not in told["path"]
    cut, repaired, again = told["accuracy"]
    assert repaired == again > max(cut, 0.85)
    assert told["trees"] == 10
    assert told["models"] == fl.models.available()
    assert told["studies"] == list(fl.results()["name"])
    assert told["right"] is False


def test_the_notebooks_are_copied_by_one_command_and_run(installed: Path, tmp_path: Path):
    run(installed, tmp_path, "-m", "fpgmlab", "notebooks", "course")
    copied = {path.stem: path for path in (tmp_path / "course").glob("*.ipynb")}
    assert set(copied) == set(notebooks())
    target = tmp_path / "executed.ipynb"
    arguments = [str(copied["00_quickstart"]), str(target), json.dumps(SMALL["00_quickstart"])]
    run(installed, tmp_path / "course", "-c", PAPERMILL, *arguments)
    check_every_cell_ran(target)
    assert (tmp_path / "outputs" / "quickstart" / "report.json").is_file()
