"""The project's own files agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import fpgmlab as fl
from fpgmlab.criteria.scoring import resolve
from tests.kept import notebooks

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
NOTEBOOKS = notebooks()


def extras_in(text: str) -> set[str]:
    found = re.findall(r"\.\[([a-z,]+)\]", text)
    assert found, "no '.[extra,...]' found"
    return {extra for match in found for extra in match.split(",")}


def test_every_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    requirements = PYPROJECT["project"]["dependencies"] + [r for extra in EXTRAS.values() for r in extra]
    assert {"torch", "torchvision", "scipy", "matplotlib", "pandas", "torch-pruning"} <= {
        re.split(r"[<>=]", r)[0] for r in requirements
    }
    for requirement in requirements:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line, f"{requirement} has no reason"


@pytest.mark.parametrize("name", ["Makefile", "environment.yml", "Dockerfile", "binder/requirements.txt"])
def test_files_install_from_pyproject(name: str):
    text = (ROOT / name).read_text()
    extras = extras_in(text)
    assert extras <= set(EXTRAS), f"{name} names extras that pyproject.toml does not have"
    assert {"lab", "deploy", "detect"} <= extras
    # No second list of dependencies anywhere.
    names = {re.split(r"[<>=]", r)[0] for r in PYPROJECT["project"]["dependencies"] if "torch" in r}
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            assert not any(re.search(rf"\b{re.escape(dep)}\s*[<>=]", line) for dep in names), line


def test_binder_installs_what_the_notebooks_import():
    wanted: set[str] = set()
    for content in NOTEBOOKS.values():
        for cell in json.loads(content)["cells"]:
            code = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            wanted |= set(
                re.findall(
                    r"^\s*(?:import|from) (\w+)", re.sub(r"^[%!].*$", "", code, flags=re.MULTILINE), re.MULTILINE
                )
            )
    brought = closure(extras_in((ROOT / "binder" / "requirements.txt").read_text()))
    owners = packages_distributions()
    assert {"torch", "pandas", "fpgmlab"} < wanted
    for name in wanted - sys.stdlib_module_names - {"fpgmlab"}:
        assert {canonical(owner) for owner in owners[name]} & brought, f"{name} is not installed"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(extras: set[str]) -> set[str]:
    """Return the names of all packages that pip installs for the project with some extras."""
    left = [*PYPROJECT["project"]["dependencies"], *(r for extra in extras for r in EXTRAS[extra])]
    found: set[str] = set()
    while left:
        need = Requirement(left.pop())
        if canonical(need.name) in found or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        found.add(canonical(need.name))
        with suppress(PackageNotFoundError):  # of another system
            left += requires(need.name) or []
    return found


def test_environment_asks_for_the_same_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python"))
    assert PYPROJECT["project"]["requires-python"] in python.replace("python", "").split(",")


def test_pre_commit_runs_what_the_test_extra_installs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"].split("-")[0] for repo in config["repos"] for hook in repo["hooks"]}
    installed = {re.split(r"[<>=]", r)[0] for r in EXTRAS["test"]}
    assert hooks == {"ruff", "nbstripout"}
    assert hooks <= installed


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format asks for
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == fl.__version__
    assert citation["license"] == PYPROJECT["project"]["license"]
    (paper,) = citation["references"]
    assert paper["url"] == PYPROJECT["project"]["urls"]["FPGM paper"]


def test_each_template_for_issues_asks_for_the_environment():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    templates = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml") if path.stem != "config"}
    assert set(templates) == {"fault", "figure", "criterion"}
    for name, template in templates.items():
        assert {"name", "description", "body"} == set(template), name
        asked = [field for field in template["body"] if "fl.report_environment()" in field["attributes"]["description"]]
        assert [field["validations"] for field in asked] == [{"required": True}], name


def test_ci_lints_and_runs_both_suites():
    called = re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert called == ["lint", "test", "test-slow"]


def test_readme_names_every_notebook_and_only_those():
    listed = set(re.findall(r"notebooks/(\d\d_\w+)\.ipynb", (ROOT / "README.md").read_text()))
    assert NOTEBOOKS
    assert listed == set(NOTEBOOKS)


def test_readme_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"lab", "test", "test-slow", "lint", "demo"} <= named <= targets


@pytest.mark.parametrize("page", ["README.md", "COMING_FROM.md"])
def test_what_the_pages_name_exists(page: str):
    names = set(re.findall(r"\bfl((?:\.[A-Za-z_]\w*)+)", (ROOT / page).read_text()))
    assert len(names) > 12
    for name in names:
        attrgetter(name[1:])(fl)  # or an AttributeError
    for criterion in re.findall(r'fl\.score\(graph, "(\w+)"', (ROOT / page).read_text()):
        resolve(criterion)


def test_notebooks_are_kept_stripped(tmp_path: Path):
    for name, content in NOTEBOOKS.items():
        (tmp_path / f"{name}.ipynb").write_bytes(content)
    command = [sys.executable, "-m", "nbstripout", "--verify", *(str(tmp_path / f"{name}.ipynb") for name in NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_thin_and_parametrised(name: str):
    notebook = json.loads(NOTEBOOKS[name])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert "widgets" not in notebook["metadata"]
    assert "parameters" in code[0]["metadata"].get("tags", [])
    for cell in code:
        source = "".join(cell["source"])
        assert source.count("\n") <= 12, f"a long cell: {source[:60]}"
        assert not re.search(r"^(def|class) ", source, re.MULTILINE), f"a definition in a cell: {source[:60]}"
