"""A kernel that is restarted: the last of the browser's tests, for the next would have to begin with a kernel anew."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.browser.conftest import SHOWN
from tests.browser.test_desk_session import CELLS

RELOADS = True  # the page


def test_a_restarted_kernel_leaves_a_stale_view(open_notebook: Callable):
    from playwright.sync_api import expect

    page = open_notebook(CELLS)
    page.locator(f"{SHOWN} .fl-desk .fl-desk-bar").first.wait_for()
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()
    page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.locator(f"{SHOWN} .fl-desk .fl-desk-stale")).to_be_visible(timeout=30_000)
    expect(page.locator(f"{SHOWN} .fl-desk .fl-desk-stale")).to_contain_text("Run the cell again")
