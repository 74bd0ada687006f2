"""A browser for the pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_CALLED = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start Chromium without a window (``OPENSIM_NEM2E_CHROMIUM`` names another one), or skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the pages' test needs playwright (extra dev)")
    named = os.environ.get("OPENSIM_NEM2E_CHROMIUM")
    program = named or next(filter(None, map(shutil.which, _CALLED)), None)
    if program is None:
        pytest.skip("no Chromium was found to open the pages with (set OPENSIM_NEM2E_CHROMIUM)")
    # WebGL without a graphics card.
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a file at some width; nothing may go wrong or be asked of a net."""
    contexts, faults = [], []

    def open_file(path: Path, width: int = 1280, height: int = 900) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert faults == []
