"""The notebook of example 04, run from its first cell to its last."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from opensim_nem2e.methods.bundle import Bundle

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = EXAMPLES / "04_first_steps" / "first_steps.ipynb"


def test_outputs_are_not_stored():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> tuple[list[nbformat.NotebookNode], Path]:
    """The outputs of all code cells, and the folder where the notebook was run, beside a copy of example 01."""
    folder = tmp_path_factory.mktemp("examples") / NOTEBOOK.parent.name
    folder.mkdir()
    shutil.copytree(EXAMPLES / "01_refine_walking", folder.parent / "01_refine_walking")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        # Figures appear in the notebook unless this names another place.
        patch.delenv("MPLBACKEND", raising=False)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs], folder


@pytest.mark.slow
def test_notebook_runs(executed):
    outputs, folder = executed
    assert (folder / "results" / "walking_states.sto").is_file()
    assert not [output for output in outputs if output.get("name") == "stderr"]
    log = "".join(output.text for output in outputs if output.get("name") == "stdout")
    # The stretch that the figure shows as the right leg's gait cycle.
    assert "[info] Complete right gait cycles (s): 0.2482-1.3655." in log
    assert "(0.2482, 1.3655)" in NOTEBOOK.read_text(encoding="utf-8")
    shown = [output.data for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert ["image/png" in data for data in shown] == [False, False, True, False]
    result, summary, _, validation = (" ".join(data["text/plain"].split()) for data in shown)
    assert "cycles: 1 right, 1 left" in result
    columns = ["rms_change", "peak_before_percent", "peak_after_percent", "peak_shift_ms"]
    row = pd.read_csv(folder / "results" / "walking_summary.csv", index_col="muscle").loc["soleus_r", columns]
    # Peaks are told to half a percent of the cycle.
    change, *peaks, shift = row
    assert f" soleus_r {change:.2f} {' '.join(f'{peak:.1f}' for peak in peaks)} {shift:.2f} " in summary
    known = Bundle.load("gait").metadata["validation"]["leave_one_subject_out"]["soleus"]
    figures = " ".join(f"{known[name]:.3f}" for name in ("E_opensim", "E_refined", "E_mean", "E_profiles"))
    assert f" soleus {known['subjects']} {figures} " in validation


def test_links_lead_somewhere():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        for target in cell.source.split("](")[1:] if cell.cell_type == "markdown" else []:
            assert (NOTEBOOK.parent / target.partition(")")[0]).exists(), target
