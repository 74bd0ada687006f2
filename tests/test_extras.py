"""Optional packages: what is declared, what is said when they are missing, and that refining needs none."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from opensim_nem2e.errors import MissingExtraError
from opensim_nem2e.extras import EXTRAS, explained, require_extras

#: Where a package is not called as what is installed.
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}

#: Runs the command line as if packages were not installed.
_WITHOUT = """
import sys
for name in sys.argv.pop(1).split():
    sys.modules[name] = None
from opensim_nem2e.cli.main import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def project(repository):
    with (repository / "pyproject.toml").open("rb") as stream:
        return tomllib.load(stream)["project"]


def test_extras_are_those_of_the_project(project):
    extras = project["optional-dependencies"]
    for name, extra in EXTRAS.items():
        declared = {re.match(r"[\w-]+", line)[0] for line in extras[name]}
        assert {_DISTRIBUTIONS.get(package, package) for package in extra.packages} <= declared, name
    (everything,) = extras["all"]
    assert set(re.search(r"\[(.*)\]", everything)[1].split(",")) == set(extras) - {"all", "dev", "docs", "fuzz"}
    core = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert not core & {package for extra in EXTRAS.values() for package in extra.packages}


def test_a_missing_extra_says_what_for_and_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as caught:
        require_extras(["train", "report", "train"])
    assert str(caught.value) == (
        "Training networks or running NMMTool needs 'torch', which is not installed. Drawing figures needs "
        "'matplotlib', which is not installed. "
        'To install: pip install "opensim-nem2e[train,report]"'
    )
    require_extras(["c3d"])
    assert explained(ModuleNotFoundError(name="somebody_elses")) is None


def test_refining_needs_no_extra(repository, tmp_path):
    example = repository / "examples" / "01_refine_walking"
    absent = " ".join(sorted({package for extra in EXTRAS.values() for package in extra.packages}))
    words = [
        *(sys.executable, "-c", _WITHOUT, absent, "refine", str(example / "cmc" / "walking_states.sto")),
        *("--model", str(example / "walker.osim"), "--external-loads", str(example / "external_loads.xml")),
    ]

    def run(*more):
        return subprocess.run([*words, *more], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("--out", "refined")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "refined" / "walking_refined_report.html").is_file()
    # What is missing is said before anything is computed or written.
    done = run("--out", "torques", "--check-torques")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("[error] Running OpenSim (")
    assert done.stderr.endswith('To install: pip install "opensim-nem2e[opensim]"\n')
    assert not (tmp_path / "torques").exists()
