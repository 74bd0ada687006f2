"""The report command as a process."""

from __future__ import annotations

import shutil

import lxml.html
import pytest

from opensim_nem2e.cli.main import main


@pytest.fixture(scope="module")
def small_study(make_study, tmp_path_factory):
    """Return a study of few figures, which take longer than all the rest."""
    return make_study(tmp_path_factory.mktemp("small"), muscles=("soleus", "tib"), conditions=("One-Entire",), people=3)


def test_report(command, small_study):
    """The report appears, the results stay as they were, and neither OpenSim nor PyTorch is needed."""
    results = shutil.copytree(small_study, command.folder / "results")
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    done = command.start("report", "results", MODULES_FILE=str(command.folder / "modules.txt"))
    assert done.stderr == ""
    assert done.returncode == 0
    report = "results/walking_report.html"
    count = len(list(results.glob("*.svg")))
    assert count >= 5
    assert done.stdout == f"[info] The report is '{report}', with {count} figures beside it (SVG and PNG).\n"
    page = lxml.html.parse(str(command.folder / report)).getroot()
    assert "walking" in page.find(".//h1").text_content()
    assert {name: (results / name).read_bytes() for name in before} == before
    modules = set((command.folder / "modules.txt").read_text().splitlines())
    assert "matplotlib" in modules
    assert not modules & {"torch", "opensim", "matplotlib.pyplot"}


def test_missing_files(command, small_study):
    results = shutil.copytree(small_study, command.folder / "results")
    (results / "walking_curves.csv").unlink()
    done = command("report", "results")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "[error] results: the study 'walking' is not complete, 1 of its files are missing: walking_curves.csv. "
        "Run its setup file again; what is done is not done twice.\n"
    )
    assert not list(results.glob("*.html"))
    assert not list(results.glob("*.svg"))


def test_no_study(command):
    (command.folder / "results").mkdir()
    done = command("report", "results")
    assert done.returncode == 1
    assert done.stderr.startswith("[error] results: a results directory of STDRCrossValidateTool was expected")
    done = command("report", "resluts")
    assert done.stderr == "[error] resluts: there is no such directory.\n"


@pytest.mark.slow
def test_files_that_do_not_fit_together(small_study, tmp_path, capsys):
    """Each table is right by itself; the curves are those of other muscles. One error of ours, or a report."""
    folder = shutil.copytree(small_study, tmp_path / "study")
    for number, table in enumerate(("curves", "losses", "subjects", "conditions", "cycles")):
        path = folder / f"walking_{table}.csv"
        before = path.read_text()
        path.write_text(before.replace("soleus", "$\\frac{other$"))
        status = main(["report", str(folder)])
        said = capsys.readouterr().err
        assert "Unexpected" not in said
        assert "Traceback" not in said
        assert status == (1 if "[error]" in said else 0), number
        path.write_text(before)
    assert main(["report", str(folder)]) == 0
