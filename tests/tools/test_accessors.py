"""The types of the tools' attributes and accessors: the committed stub, and what mypy says with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import opensim_nem2e
from opensim_nem2e.tools import tool_registry as registry
from opensim_nem2e.tools.accessors_stub import STUB, stub_text
from opensim_nem2e.tools.tool import Tool

_USE = """
from opensim_nem2e.tools.stdr_cross_validate import STDRCrossValidateTool
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

tool = STDRRefineTool(states_file="a.sto", muscles=["soleus_r"])
tool.bundle_file = "gait"
tool.setNetworkFile("gait")
tool.setResultsDir("results")
reveal_type(tool.final_time)
reveal_type(tool.interpolation)
reveal_type(tool.getRightHeelStrikes())
reveal_type(tool.options().contact.contact_threshold)
reveal_type(STDRCrossValidateTool().seeds)
tool.final_time = 3
tool.satates_file = "a.sto"
tool.setResultDir("results")
print(tool.musclse)
tool.roll_incomplete_cycles = "yes"
STDRRefineTool(state_file="a.sto")
"""


# What the tools' types do not need would take most of the time.
_CONFIGURATION = """
[mypy]
ignore_missing_imports = true
[mypy-numpy.*,matplotlib.*,lxml.*]
follow_imports = skip
follow_imports_for_stubs = true
"""
_FLOORS = ("data", "estimates", "evaluation", "methods", "musculoskeletal", "report", "signals", "storage", "training")


def test_the_stub_is_what_the_declarations_give():
    assert STUB.read_text(encoding="utf-8") == stub_text(), (
        "Regenerate it: python -m opensim_nem2e.tools.accessors_stub"
    )


@pytest.mark.parametrize("name", [entry.name for entry in registry.tools()])
def test_the_stub_names_what_a_tool_has(name):
    tool = registry.tool_class(name)
    text = STUB.read_text(encoding="utf-8")
    for row in tool.properties:
        assert f"    {row.name}: _Option[" in text
    own = {word for word in dir(tool) if re.match("[gs]et[_A-Z]", word)} - set(dir(Tool))
    assert own
    assert [word for word in sorted(own) if f"def {word}(" not in text] == []


def test_mypy_knows_every_name_and_no_other(tmp_path):
    mypy = pytest.importorskip("mypy", reason="mypy is not installed").__name__
    file = tmp_path / "use.py"
    file.write_text(_USE)
    skipped = [f"[mypy-opensim_nem2e.{floor}.*]\nfollow_imports = skip\n" for floor in _FLOORS]
    (tmp_path / "mypy.ini").write_text(_CONFIGURATION + "".join(skipped))
    package = Path(opensim_nem2e.__file__).resolve().parent
    assert (package / "py.typed").is_file()
    done = subprocess.run(
        [sys.executable, "-m", mypy, "--follow-imports=silent", file.name],
        cwd=tmp_path,
        # mypy finds what is installed itself, and refuses to be told of it.
        env={**os.environ, "MYPYPATH": "" if "site-packages" in package.parts else str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line.removeprefix("use.py:") for line in done.stdout.splitlines()]
    revealed = [line.split('"')[1].replace("builtins.", "") for line in said if "Revealed type" in line]
    assert revealed == [
        "float",
        "Literal['pchip'] | Literal['linear']",
        "tuple[float, ...]",
        "float",
        "tuple[int, ...]",
    ]
    errors = [line.split(": error: ")[1] for line in said if ": error: " in line]
    assert len(errors) == 5, done.stdout
    for error, name in zip(errors, ("satates_file", "setResultDir", "musclse", "str", "state_file"), strict=True):
        assert f'"{name}"' in error
