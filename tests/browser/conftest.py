"""A real JupyterLab in a real Chromium: ``open_notebook(cells)`` gives its page, on which all cells have run.

All tests share the JupyterLab, its page and, unless a test restarts it, one kernel: as a reader has them who goes from
notebook to notebook.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

THREADS = os.environ.get("FPGMLAB_LAB_THREADS", "1")  # of the kernel
TOKEN = "only-for-this-test"
REPOSITORY = Path(__file__).parents[2]
# Nothing that Chromium does of its own accord: it shall talk to the notebook server only.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
KERNEL = "Python 3 (ipykernel)"
# What takes long to import is there when the first notebook opens.
IMPORTS = """import matplotlib.figure, onnxruntime, onnxscript, pandas, scipy.spatial, torch, torchmetrics, torchvision
import fpgmlab, fpgmlab.widgets.desk.editor, fpgmlab.widgets.explorer.panel, fpgmlab.widgets.sweep.panel
"""
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
# Opens a notebook with the kernel that is there, and runs its cells.
OPEN = """async (path) => {
  const { commands } = window.jupyterapp, kernel = { id: window.kernel };
  const notebook = await commands.execute("docmanager:open", { path, factory: "Notebook", kernel });
  await notebook.context.ready;
  await notebook.sessionContext.ready;
  await notebook.revealed;
  await commands.execute("notebook:run-all-cells");
}"""
NOTEBOOKS = """[...window.jupyterapp.shell.widgets("main")].filter((widget) => widget.context)"""
SAVE = f"async () => {{ for (const each of {NOTEBOOKS}) await each.context.save(); }}"
CLOSE = f"""async () => {{
  for (const each of {NOTEBOOKS}) {{
    await each.context.save();
    each.dispose();
  }}
}}"""
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"autoStartDefaultKernel": True},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": False},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs the browser; JupyterLab begins while those run that do without it."""
    places = [i for i, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    for item in (mine := [items[i] for i in places]):
        item.add_marker(pytest.mark.browser)
    mine.sort(key=_last)
    for i, item in zip(places, mine, strict=True):
        items[i] = item


def _last(item: pytest.Item) -> tuple[bool, bool]:
    """JupyterLab's tests after the others; at the end a page that is loaded again, which opens notebooks anew."""
    return _needs_lab(item), getattr(getattr(item, "module", None), "RELOADS", False)


def _needs_lab(item: pytest.Item) -> bool:
    return "open_notebook" in getattr(item, "fixturenames", ())


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    folder: Path
    kernel: str


def _missing(what: str, remedy: str) -> None:
    """Skip and say how to get it, or fail where the browser tests are asked for."""
    if os.environ.get("FPGMLAB_REQUIRE_BROWSER") == "1":
        pytest.fail(f"FPGMLAB_REQUIRE_BROWSER=1, but there is no {what}: {remedy}", pytrace=False)
    pytest.skip(f"no {what}: {remedy}")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium, without a window."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        _missing("Chromium on the PATH", "apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright", "pip install playwright")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", autouse=True)
def lab_begun(
    request: pytest.FixtureRequest, browser: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Lab] | None]:
    """JupyterLab on an empty folder, with no one's settings, and a kernel that has imported what tests will; soon."""
    if not any(_needs_lab(item) for item in request.session.items):
        yield None
        return
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    for plugin, settings in SETTINGS.items():
        package, name = plugin.split(":")
        _write(
            home / "config" / "lab" / "user-settings" / package / f"{name}.jupyterlab-settings", json.dumps(settings)
        )
    _write(home / "ipython" / "profile_default" / "startup" / "imports.py", IMPORTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | {f"JUPYTER_{name}_DIR": place for name, place in places.items()}
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": THREADS, "IPYTHONDIR": str(home / "ipython")}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "config" / "lab" / "user-settings")}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    # glibc gives each thread that allocates an arena of its own and keeps what is freed there: what a test measures of
    # a kernel's memory would be how the threads' arenas were broken up, other at each run.
    environment |= {"MALLOC_ARENA_MAX": "1"}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True",
        "--KernelManager.shutdown_wait_time=0.5",
    ]  # fmt: skip
    log = home / "server.log"
    with log.open("w") as output, ThreadPoolExecutor(1) as pool:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder)
        try:
            yield pool.submit(_begin, f"http://127.0.0.1:{port}", folder, server, log)
        finally:
            server.terminate()
            try:
                server.wait(8)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _begin(url: str, folder: Path, server: subprocess.Popen, log: Path) -> Lab:
    """Start a kernel as soon as the server answers."""
    _wait_for(f"{url}/api?token={TOKEN}", server, log)
    request = urllib.request.Request(f"{url}/api/kernels?token={TOKEN}", b'{"name": "python3"}')
    with urllib.request.urlopen(request, timeout=60) as answer:
        return Lab(url, folder, json.load(answer)["id"])


@pytest.fixture(scope="session")
def lab(lab_begun: Future[Lab]) -> Lab:
    """A running JupyterLab."""
    return lab_begun.result()


def _wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}", pytrace=False)


def go_to_lab(page: object, lab: Lab) -> None:
    """Open JupyterLab with nothing in it."""
    page.goto(f"{lab.url}/lab?token={TOKEN}&reset", timeout=60_000)
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60_000)
    page.evaluate("(id) => (window.kernel = id)", lab.kernel)


@pytest.fixture(scope="session")
def lab_page(browser: object, lab: Lab) -> Iterator[object]:
    """JupyterLab's page, no notebook open."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    go_to_lab(page, lab)
    yield page
    page.close()


@pytest.fixture(scope="module")
def open_notebook(lab_page: object, lab: Lab) -> Iterator[Callable[..., object]]:
    """Return a function that makes a notebook of cells, opens it, runs it, and returns Playwright's page.

    The notebooks stay open until the module's last test.
    """

    def open_(cells: Sequence[str], *, height: int = 1000, seconds: float = 60) -> object:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": KERNEL, "language": "python"}
        path = lab.folder / f"test{len(list(lab.folder.glob('*.ipynb')))}.ipynb"
        nbformat.write(notebook, path)
        lab_page.set_viewport_size({"width": 1280, "height": height})
        lab_page.evaluate(f"(path) => void ({OPEN})(path).then(() => (window.ran = path))", path.name)
        lab_page.wait_for_function("(path) => window.ran === path", arg=path.name, timeout=1000 * seconds)
        prompts = lab_page.locator(f"{SHOWN} .jp-CodeCell .jp-InputPrompt").all_text_contents()
        assert all(re.search(r"\d", text) for text in prompts[: len(cells)]), prompts
        return lab_page

    yield open_
    lab_page.mouse.move(0, 0)
    lab_page.evaluate(CLOSE)


@pytest.fixture(scope="session")
def ask() -> Callable[..., str]:
    """Return a function that runs code in the last cell of a page's notebook and returns what it prints."""

    def ask_(page: object, code: str, seconds: float = 30) -> str:
        cell = page.locator(f"{SHOWN} .jp-CodeCell").last
        prompt = cell.locator(".jp-InputPrompt").first
        before = prompt.text_content()
        cell.locator(".jp-InputArea-editor .cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(code)
        page.keyboard.press("Control+Enter")
        page.wait_for_function(
            "([p, before]) => /\\[\\d+\\]/.test(p.textContent) && p.textContent !== before",
            arg=[prompt.element_handle(), before], timeout=1000 * seconds,
        )  # fmt: skip
        output = cell.locator(".jp-OutputArea-output")
        return output.last.inner_text().strip() if output.count() else ""

    return ask_
