"""What the README says is true."""

from __future__ import annotations

import re
import xml.etree.ElementTree

import pytest

from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.tools import tool_registry as registry


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def test_error_table_is_the_bundles(readme):
    validation = Bundle.load("gait").metadata["validation"]["leave_one_subject_out"]
    section = readme.partition("## How far can the result be trusted?")[2]
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
    assert ".[report]" in found[0][1]
    assert found[1][1] == 'pip install -c constraints.txt ".[dev]" &&\npytest -n logical --dist loadfile\n'


def test_links_lead_somewhere(readme, repository):
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if not target.startswith("http"):
            assert (repository / target).exists(), target


def test_setup_file_in_the_tour_is_accepted(readme, tmp_path):
    text = re.search(r"```xml\n(.*?)```", readme, re.DOTALL)[1]
    xml.etree.ElementTree.fromstring(text)
    (tmp_path / "setup.xml").write_text(text)
    tool = registry.load_tool(tmp_path / "setup.xml")
    tool.check()
    assert tool.name == "subject01_walk1_refined"


def test_every_setup_file_is_accepted(readme, tmp_path):
    for text in re.findall(r"```xml\n(.*?)```", readme, re.DOTALL):
        (tmp_path / "setup.xml").write_text(text)
        assert registry.load_tool(tmp_path / "setup.xml").name


def test_every_property_it_names_exists(readme):
    properties = {p.name for entry in registry.tools() for p in registry.tool_class(entry.name).properties}
    named = set(re.findall(r"`(\w+_(?:file|strikes|source|cycles|directory))`", readme))
    assert named
    assert named - {"whole_file"} <= properties  # a choice of cycle_source
