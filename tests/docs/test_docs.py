"""The documentation is built without a warning, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from lxml import html


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory) -> Path:
    for package in ("sphinx_gallery", "myst_parser", "furo"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(folder / "doctrees"), str(repository / "docs"), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "html"


@pytest.mark.slow
def test_links_lead_somewhere(site):
    pages = {path: html.parse(str(path)).getroot() for path in site.rglob("*.html")}
    assert len(pages) > 40
    names = {path: {*root.xpath("//@id"), *root.xpath("//a/@name")} for path, root in pages.items()}
    broken = []
    for path, root in pages.items():
        for link in root.xpath("//a/@href | //img/@src | //link/@href | //script/@src"):
            target, anchor = urldefrag(str(link))
            if "://" in target or target.startswith(("mailto:", "data:", "javascript:")):
                continue
            file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            if file.is_dir():
                file /= "index.html"
            if not file.is_file() or (anchor and file in names and unquote(anchor) not in names[file]):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


@pytest.mark.slow
def test_every_property_has_a_place(site):
    from opensim_nem2e.tools.tool_registry import tool_class, tools

    for entry in tools():
        page = (site / "reference" / "tools" / f"{entry.name}.html").read_text(encoding="utf-8")
        for row in tool_class(entry.name).properties:
            assert row.name in page
