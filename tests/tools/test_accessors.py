"""The types of the tools' attributes and accessors: the committed stub, and what mypy says with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import opensim_nem2e
from opensim_nem2e.tools import registry
from opensim_nem2e.tools.accessors_stub import STUB, stub_text

_USE = """
from opensim_nem2e.tools.stdr_cross_validate import STDRCrossValidateTool
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

tool = STDRRefineTool(states_file="a.sto", muscles=["soleus_r"])
tool.bundle_file = "gait"
tool.setNetworkFile("gait")
tool.setResultsDir("results")
tool.final_time = 3
reveal_type(tool.final_time)
reveal_type(tool.interpolation)
reveal_type(tool.getRightHeelStrikes())
reveal_type(tool.options().contact.contact_threshold)
reveal_type(STDRCrossValidateTool().seeds)
tool.satates_file = "a.sto"
tool.setResultDir("results")
print(tool.musclse)
tool.roll_incomplete_cycles = "yes"
STDRRefineTool(state_file="a.sto")
"""


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
    for accessor in (word for word in dir(tool) if word.startswith(("get", "set")) and len(word) > 3):
        # Those of all tools are the base class's own.
        assert f"def {accessor}(" in text or accessor in ("getName", "setName", "set_group", "setup_file")


def test_mypy_knows_every_name_and_no_other(tmp_path):
    mypy = pytest.importorskip("mypy", reason="mypy is not installed").__name__
    file = tmp_path / "use.py"
    file.write_text(_USE)
    package = Path(opensim_nem2e.__file__).resolve().parent
    assert (package / "py.typed").is_file()
    done = subprocess.run(
        [sys.executable, "-m", mypy, "--follow-imports=silent", "--ignore-missing-imports", file.name],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(package.parent)},
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
