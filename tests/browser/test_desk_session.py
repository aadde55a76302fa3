"""The plan editor in a real JupyterLab: by keyboard alone from the plan to ONNX, and edits that must not get lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.browser.conftest import SHOWN
from tests.browser.desk import drag_at_random, heap_megabytes, kept_on_screen, press_at_random, settle

CELLS = [
    """import os
import fpgmlab as fl
task = fl.tasks.fashion_mnist().subset(train=64, val=100)
graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
curves = fl.sensitivity.shipped("resnet20-fashion")""",
    "editor = fl.widgets.PlanEditor(graph, curves, task, multiple=1); editor",
    "print(list(editor.plan.kept.values()))",
]
NAMES = "() => [...document.querySelectorAll('.fl-desk-bar')].map((bar) => bar.getAttribute('aria-label'))"
# When all that was asked for is measured.
MEMORY = """editor.wait(60)
print(int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1]) // 1024)"""


@pytest.fixture(scope="module")
def shown(open_notebook: Callable, ask: Callable) -> SimpleNamespace:
    page = open_notebook(CELLS, height=1600)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.locator(".fl-desk .fl-desk-bar").first.wait_for()
    from playwright.sync_api import expect

    return SimpleNamespace(page=page, expect=expect, errors=errors, ask=lambda code: ask(page, code))


def kept_in_kernel(shown: SimpleNamespace) -> list[int]:
    return json.loads(shown.ask("print(list(editor.plan.kept.values()))"))


def test_every_bar_is_a_slider_with_words(shown: SimpleNamespace):
    bars = shown.page.get_by_role("slider")
    assert shown.page.evaluate(NAMES) == json.loads(shown.ask("import json; print(json.dumps(list(graph)))"))
    first = bars.nth(0)
    for name, pattern in {
        "aria-valuenow": r"^\d", "aria-valuemin": "^0$", "aria-valuemax": r"^9\d", "aria-orientation": "vertical",
        "aria-valuetext": r"% *, \d+ of 16 channels kept, .*drop",
    }.items():  # fmt: skip
        assert re.search(pattern, first.get_attribute(name)), name
    protected = shown.page.get_by_role("slider", name="fc", exact=True)
    assert protected.get_attribute("aria-disabled") == "true"
    assert "protected: it is the model's output" in protected.get_attribute("aria-valuetext")


def test_keys_move_a_bar_and_the_kernel_agrees(shown: SimpleNamespace):
    page = shown.page
    shown.ask("editor.plan = fl.Plan.uniform(graph, curves.scores, 0.0)")
    page.get_by_role("slider", name="layer2.0.conv1", exact=True).focus()
    for key in ("ArrowUp", "ArrowUp", "PageUp", "ArrowDown"):
        page.keyboard.press(key)
    settle(page)
    on_screen = kept_on_screen(page)
    assert on_screen[4] < 32 - 3
    assert kept_in_kernel(shown) == on_screen
    page.keyboard.press("Tab")
    page.get_by_role("slider", name="layer2.0.conv1", exact=True).focus()
    for key in ("2", "5", "Enter"):
        page.keyboard.press(key)
    settle(page)
    assert kept_on_screen(page)[4] == 24
    assert shown.ask("print(editor.plan.ratios['layer2.0.conv1'])") == "0.25"


def test_a_locked_bar_stays_when_a_budget_is_fitted(shown: SimpleNamespace):
    page = shown.page
    page.get_by_role("slider", name="layer3.0.conv1", exact=True).focus()
    for key in ("Home", "5", "0", "Enter", "l"):
        page.keyboard.press(key)
    settle(page)
    page.get_by_label("Per cent to keep").fill("60")
    page.get_by_role("button", name="Fit", exact=True).press("Enter")
    shown.expect(page.locator(".fl-desk-notice")).to_contain_text(re.compile(r"60.*MACs.*1 bar"), timeout=20_000)
    settle(page)
    assert kept_on_screen(page)[8] == 32
    share = float(shown.ask("print(graph.cost(editor.plan).macs / graph.cost().macs)"))
    assert 0.55 < share <= 0.6
    page.get_by_role("slider", name="layer3.0.conv1", exact=True).press("l")
    shown.expect(page.locator(".fl-desk-slot.fl-desk-locked")).to_have_count(0)


def test_what_cannot_be_is_said_in_words(shown: SimpleNamespace):
    page = shown.page
    page.get_by_label("Per cent to keep").fill("1")
    page.get_by_role("button", name="Fit", exact=True).press("Enter")
    alert = page.locator(".fl-desk-notice [role=alert]")
    shown.expect(alert).to_contain_text("cannot be reached: at least 0.", timeout=20_000)
    assert "Traceback" not in page.locator(".fl-desk").inner_text()


def test_a_plan_assigned_in_a_cell_is_shown(shown: SimpleNamespace):
    shown.ask("editor.plan = fl.Plan.uniform(graph, curves.scores, 0.5)")
    settle(shown.page)
    assert kept_on_screen(shown.page) == kept_in_kernel(shown)
    assert shown.page.get_by_role("slider", name="conv1", exact=True).get_attribute("aria-valuenow") == "50"


@pytest.mark.parametrize("edits", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_edits_are_not_lost(shown: SimpleNamespace, edits: int):
    page = shown.page
    press_at_random(page, 50, seed=1)
    settle(page)
    heap, memory = heap_megabytes(page), int(shown.ask(MEMORY))
    press_at_random(page, edits - 30, seed=2)
    drag_at_random(page, 30, 5 if edits > 500 else 3, seed=3)
    settle(page)
    assert int(page.locator(".fl-desk").get_attribute("data-revision")) > edits / 3  # edits that change something
    assert kept_in_kernel(shown) == kept_on_screen(page)
    assert heap_megabytes(page) - heap <= 20
    assert int(shown.ask(MEMORY)) - memory <= 50  # with one arena of malloc's, see conftest


def test_the_browser_goes_on_while_the_kernel_is_busy(shown: SimpleNamespace):
    page = shown.page
    cell = page.locator(f"{SHOWN} .jp-CodeCell").last
    cell.locator(".jp-InputArea-editor .cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("import time; time.sleep(2); print('slept', graph.cost(editor.plan).macs)")
    page.keyboard.press("Control+Enter")
    macs = page.locator(".fl-gauge").first
    before = macs.inner_text()
    page.get_by_role("slider", name="layer1.0.conv1", exact=True).focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    shown.expect(macs).not_to_have_text(before, timeout=2000)
    assert "[*]" in cell.locator(".jp-InputPrompt").first.inner_text()
    settle(page)
    shown.expect(cell.locator(".jp-OutputArea-output").last).to_contain_text("slept", timeout=20_000)
    assert kept_in_kernel(shown) == kept_on_screen(page)


def test_two_editors_of_one_graph_do_not_meddle(shown: SimpleNamespace):
    before = kept_on_screen(shown.page)
    shown.ask("other = fl.widgets.PlanEditor(graph, curves, multiple=1)")
    shown.ask("other.plan = fl.Plan.uniform(graph, curves.scores, 0.7)")
    assert kept_on_screen(shown.page) == before == kept_in_kernel(shown)


def tab_to(page: object, name: str, key: str = "Tab", most: int = 80) -> None:
    """Go on with Tab, or back with Shift+Tab, until a control of this name has the focus."""
    told = "() => [document.activeElement?.getAttribute('aria-label'), document.activeElement?.textContent, " \
        "document.activeElement?.labels?.[0]?.textContent]"  # fmt: skip
    for _ in range(most):
        if name in page.evaluate(told):
            return
        page.keyboard.press(key)
    pytest.fail(f"no {key} leads to {name!r}")


def tab_to_bars(page: object) -> None:
    """Go on with Tab until a bar has the focus."""
    for _ in range(40):
        if page.evaluate("() => document.activeElement.classList.contains('fl-desk-bar')"):
            return
        page.keyboard.press("Tab")
    pytest.fail("no Tab leads to the bars")


def test_from_the_plan_to_onnx_by_keyboard_alone(shown: SimpleNamespace):
    page, desk = shown.page, shown.page.locator(".fl-desk")
    shown.ask("editor.plan = fl.Plan.uniform(graph, curves.scores, 0.0)")
    page.keyboard.press("Escape")  # from the cell's text to the cell; the desk is before it
    tab_to(page, "Per cent to keep", "Shift+Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("70")
    tab_to(page, "Fit")
    page.keyboard.press("Enter")
    shown.expect(desk.locator(".fl-desk-notice")).to_contain_text("70", timeout=20_000)
    settle(page)
    page.keyboard.press("Tab")
    tab_to_bars(page)
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "l"):
        page.keyboard.press(key)
    settle(page)
    assert kept_in_kernel(shown) == kept_on_screen(page)
    page.keyboard.press("Escape")  # the question to the kernel took the focus
    tab_to(page, "Evaluate", "Shift+Tab")
    endings = {
        "Evaluate": r"Evaluated: accuracy 0\.\d+", "Prune": "Pruned: ",
        "Repair": r"Repaired with 64 pictures: accuracy 0\.\d+", "Fine-tune": "Fine-tuned for 3 epochs",
    }  # fmt: skip
    for name, words in endings.items():
        if name == "Fine-tune":  # so few pictures teach a repaired network nothing: small steps leave it as good
            tab_to(page, "Learning rate")
            page.keyboard.press("Control+a")
            page.keyboard.type("0.0001")
        tab_to(page, name, "Shift+Tab" if name == "Fine-tune" else "Tab")
        page.keyboard.press("Enter")
        shown.expect(desk.locator(".fl-desk-work-words")).to_have_text(re.compile(words), timeout=90_000)
        shown.expect(desk.locator(".fl-desk-work")).to_have_attribute("data-state", "finished")
    tab_to(page, "Export")
    page.keyboard.press("Enter")
    shown.expect(desk.locator(".fl-desk-work-files")).to_contain_text(".onnx", timeout=90_000)
    found = shown.ask(
        "import torch, glob\nfrom fpgmlab.deployment.runtimes import onnx_session, run_onnx\n"
        "path, = glob.glob('outputs/pruned/*.onnx'); session = onnx_session(path)\n"
        "x = task.val[0][0][None]; editor.pruned.eval()\n"
        "with torch.no_grad(): y = editor.pruned(x).numpy()\n"
        "print(abs(run_onnx(session, x)[0] - y).max() < 1e-4,\n"
        "    graph.cost(editor.plan).macs <= 0.7 * graph.cost().macs,\n"
        "    sum(p.numel() for p in editor.pruned.parameters()) == graph.cost(editor.plan).params)"
    )
    assert found == "True True True"


def test_as_cut_repaired_and_fine_tuned_stand_side_by_side(shown: SimpleNamespace):
    found = shown.ask(
        "editor.snapshot('mine'); report = editor.report[editor.report['metric'] == 'accuracy']\n"
        "values = report.set_index('network')['value']\n"
        "print(*(f'{100 * values[stage]:.1f} %' for stage in ('pruned', 'repaired', 'fine-tuned')), sep='|')"
    ).split("|")
    row = shown.page.locator(".fl-desk-plans tr", has_text="mine").last
    shown.expect(row.locator("td")).to_contain_text(found)
    words = "as cut {}, repaired {}, fine-tuned {}, predicted [0-9.]+ %$".format(*found)
    point = shown.page.get_by_role("button", name=re.compile("^Restore mine: .*" + words))
    for mark in (
        "circle.fl-desk-filled",
        "g .fl-desk-half",
        "path.fl-desk-filled",
    ):  # or an arrow, when it is off the scale
        shown.expect(point.locator(mark)).to_have_count(1)
    shown.expect(point.locator("circle.fl-desk-hollow")).to_be_hidden()  # what was measured hides what is predicted
    gauge = shown.page.locator(".fl-desk-verdict")
    shown.expect(gauge).to_have_attribute("data-kind", "repaired")
    shown.expect(gauge.locator("strong")).to_have_text(found[1])
    shown.expect(gauge.locator(".fl-desk-verdict-others")).to_contain_text(f"as cut {found[0]} · fine-tuned {found[2]}")


def test_nothing_went_wrong_on_the_page(shown: SimpleNamespace):
    assert shown.errors == []
