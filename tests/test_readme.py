"""What the README and the pages of the documentation say is true."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from opensim_nem2e.data.manifest import TRIAL_COLUMNS
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.tools import tool_registry as registry


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(repository) -> dict[Path, str]:
    """The README and all pages, those apart that are made from the program itself."""
    made = {repository / "docs" / name for name in ("reference", "gallery", "_build")}
    found = [path for path in (repository / "docs").rglob("*.md") if not made.intersection(path.parents)]
    return {path: path.read_text(encoding="utf-8") for path in (repository / "README.md", *sorted(found))}


def test_error_table_is_the_bundles(pages, repository):
    validation = Bundle.load("gait").metadata["validation"]["leave_one_subject_out"]
    section = pages[repository / "docs" / "how_good.md"]
    for muscle, row in validation.items():
        name = "**mean**" if muscle == "ALL" else muscle
        line = next(line for line in section.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip(" *%") for cell in line.strip("|").split("|")]
        figures = [f"{row[key]:.3f}" for key in ("E_opensim", "E_refined", "E_mean", "E_ridge")]
        assert [cells[2], cells[3], cells[5], cells[6]] == figures
        assert cells[4] == f"{100 * row['Er_refined']:+.0f}"
        if muscle != "ALL":
            assert cells[1] == str(row["subjects"])


def test_two_commands(readme):
    found = re.findall(r"<!-- command (\d) -->\n```bash\n(.*?)```", readme, re.DOTALL)
    assert [number for number, _ in found] == ["1", "2"]
    assert "examples/01_refine_walking/setup_refine.xml" in found[0][1]
    # What its example needs, and no more.
    assert ".[opensim,report]" in found[0][1]
    assert found[1][1] == 'pip install -c constraints.txt ".[dev]" &&\npytest -n logical --dist loadfile\n'


def test_links_lead_somewhere(pages):
    for path, text in pages.items():
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not target.startswith(("http", "reference/", "../reference/", "gallery/")):
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_readme_is_short(readme):
    assert len(readme.split()) < 700


def test_setup_file_in_the_tour_is_accepted(readme, tmp_path):
    text = re.search(r"```xml\n(.*?)```", readme, re.DOTALL)[1]
    xml.etree.ElementTree.fromstring(text)
    (tmp_path / "setup.xml").write_text(text)
    tool = registry.load_tool(tmp_path / "setup.xml")
    tool.check()
    assert tool.name == "walk1_refined"


def test_every_setup_file_is_accepted(pages, tmp_path):
    count = 0
    for path, page in pages.items():
        for text in re.findall(r"```xml\n(.*?)```", page, re.DOTALL):
            if text.lstrip().startswith(("<?xml", "<OpenSimDocument")):
                (tmp_path / "setup.xml").write_text(text)
                assert registry.load_tool(tmp_path / "setup.xml").name, path
                count += 1
    assert count > 4


def test_every_command_it_shows_is_understood(pages):
    from opensim_nem2e.cli.main import main

    shown = {}
    for path, page in pages.items():
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.findall(r"(?:^|&& )opensim-nem2e ([^#&|<]*)", line):
                    shown[command.strip()] = path
    assert len(shown) > 8
    for command, path in shown.items():
        verb = command.split()[0]
        with pytest.raises(SystemExit) as end:
            main([verb, "--help"])
        assert end.value.code == 0, f"{path}: opensim-nem2e {command}"


def test_every_property_it_names_exists(pages):
    properties = {p.name for entry in registry.tools() for p in registry.tool_class(entry.name).properties}
    named = set(re.findall(r"`(\w+_(?:file|strikes|source|cycles|directory))`", " ".join(pages.values())))
    assert named
    # A choice of cycle_source, and columns of the manifest.
    assert named - {"whole_file", *TRIAL_COLUMNS} <= properties
