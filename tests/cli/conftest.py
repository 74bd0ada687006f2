"""The command line as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked_processes import FORKS, ForkedProgram

import opensim_nem2e
from opensim_nem2e.tools.tool_registry import register

HERE = Path(__file__).resolve().parent
PACKAGE_PARENT = Path(opensim_nem2e.__file__).resolve().parent.parent

# The command with one more tool, and with what it imported written to a file if asked.
_WITH_DEMO = """
import atexit, os, sys
from opensim_nem2e.tools.tool_registry import register
register("DemoTool", "demo_tool", "Do what the setup file says.")
if "MODULES_FILE" in os.environ:
    atexit.register(lambda: open(os.environ["MODULES_FILE"], "w").write("\\n".join(sys.modules)))
from opensim_nem2e.cli.main import main
sys.exit(main())
"""


def _register() -> None:
    sys.path.insert(0, str(HERE))
    register("DemoTool", "demo_tool", "Do what the setup file says.")


class Command:
    """Runs ``opensim-nem2e`` in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.with_demo = [sys.executable, "-c", _WITH_DEMO]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PACKAGE_PARENT), str(HERE), os.environ.get("PYTHONPATH", "")]),
            "COLUMNS": "80",
            "OMP_NUM_THREADS": "1",
        }

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it in a process that is forked where all is loaded, if that can be done."""
        if not FORKS:
            return self.start(*words)
        process = ForkedProgram(words, self.folder, self.environment, _register)
        said = process.communicate()
        return subprocess.CompletedProcess(words, process.wait(), *said)

    def start(self, *words: str, **extra_environment: str) -> subprocess.CompletedProcess[str]:
        """Run it in a fresh process, where what it imports, and when, can be seen."""
        return subprocess.run(
            [*self.with_demo, *words],
            cwd=self.folder,
            env={**self.environment, **extra_environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )

    def write(self, name: str, **values: str) -> Path:
        """Write a setup file for DemoTool with the given elements."""
        elements = "".join(f"<{key}>{value}</{key}>\n" for key, value in values.items())
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<OpenSimDocument Version="40600">\n<DemoTool>\n{elements}</DemoTool></OpenSimDocument>\n')
        return path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)
