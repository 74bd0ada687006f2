"""A method of another package: installed with pip, then trained, judged, kept and applied by the existing tools."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest

from opensim_nem2e.storage import read_storage

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OWN = EXAMPLES / "05_own_method"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the method in it; what it depends on is taken from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([program, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    # The package itself from this clone, whatever else is installed.
    borrowed = [str(EXAMPLES.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    Path(packages, "borrowed.pth").write_text("\n".join(dict.fromkeys(borrowed)) + "\n")
    command = [program, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", OWN]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run(python: Path, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [os.fspath(python), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "MPLBACKEND": "Agg"}, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_it_is_one_short_file() -> None:
    assert len((OWN / "kernel_ridge.py").read_text(encoding="utf-8").splitlines()) < 120
    assert sorted(path.suffix for path in OWN.iterdir() if path.is_file()) == [".md", ".py", ".py", ".toml"]


@pytest.mark.slow
def test_trained_judged_kept_and_applied(python: Path, tmp_path: Path) -> None:
    """The example's own program, with no change to the package."""
    done = run(python, OWN / "use_it.py", "--folder", tmp_path, cwd=tmp_path)
    assert "The bundle holds kernel ridge for gaslat." in done.stdout
    cycles = pd.read_csv(tmp_path / "own_method_cycles.csv")
    assert set(cycles["method"]) == {"opensim", "kernel_ridge", "stdr_net", "mean", "shift", "ridge"}
    errors = cycles.groupby(["method", "subject"])["E"].mean().groupby("method").mean()
    removed = 1 - errors / errors["opensim"]
    assert removed["kernel_ridge"] > removed["mean"] + 0.1
    assert f"kernel_ridge    {removed['kernel_ridge']:.0%}" in done.stdout
    # It is drawn and told of as the others are.
    report = (tmp_path / "own_method_report.html").read_text(encoding="utf-8")
    assert "Does kernel ridge help?" in report
    assert "#7F3C8D" in (tmp_path / "own_method_errors_One-Entire.svg").read_text(encoding="utf-8").upper()
    # The refined trial: estimates of that method where the muscle has cycles.
    emg = read_storage(tmp_path / "walking_kernel_ridge_emg.sto")
    assert set(emg.labels) == {"gaslat_r", "gaslat_l"}
    code = (
        "import sys, numpy; from opensim_nem2e import Bundle\n"
        f"b = Bundle.load({os.fspath(tmp_path / 'kernel_ridge.safetensors')!r})\n"
        "y = b.predict('gaslat', numpy.full((1, 20, 1), 0.2))\n"
        "print(b.method.key, y.values.shape, y.attention, sorted({'torch', 'opensim'} & set(sys.modules)))"
    )
    assert run(python, "-c", code, cwd=tmp_path).stdout == "kernel_ridge (1, 20) None []\n"


@pytest.mark.slow
def test_the_tools_know_it_by_its_entry_point(python: Path, tmp_path: Path) -> None:
    """Options by XML, with a fault named; without the package the bundle says what is missing."""
    (tmp_path / "trials.csv").touch()
    (tmp_path / "channels.csv").touch()
    setup = tmp_path / "setup.xml"
    text = (
        '<OpenSimDocument Version="40600"><STDRTrainTool name="a"><trials_file>trials.csv</trials_file>'
        "<emg_channels_file>channels.csv</emg_channels_file><method>kernel_ridge</method>"
        "<KernelRidge><penalties>0.1 -1</penalties></KernelRidge></STDRTrainTool></OpenSimDocument>"
    )
    setup.write_text(text)
    code = (
        "import sys; from opensim_nem2e.tools.tool_registry import load_tool\n"
        "from opensim_nem2e.errors import SetupError\n"
        "try: print(load_tool(sys.argv[1]).group('KernelRidge'))\n"
        "except SetupError as error: print(error)"
    )
    assert "<penalties> must be numbers in (0, Inf)" in run(python, "-c", code, setup).stdout
    setup.write_text(text.replace("0.1 -1", "0.1 1"))
    assert "penalties=(0.1, 1.0), width_factor=1.0" in run(python, "-c", code, setup).stdout
    # In an environment without it.
    done = subprocess.run(
        [sys.executable, "-c", code, os.fspath(setup)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "<KernelRidge> is not a property of STDRTrainTool" in done.stdout
