"""The refinement on real CMC results of five models, judged by OpenSim itself."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

PIPELINES = "opensim_pipelines"

#: Simulation -> the model it was made with, and how many muscles the shipped bundle's kind of network refines.
RUNS = {
    "gait10dof18musc_walk": f"{PIPELINES}/Gait10dof18musc/subject01.osim",
    "gait2354_walk1": f"{PIPELINES}/Gait2354_Simbody/OutputReference/subject01_simbody_adjusted.osim",
    "gait2392_walk1": "ceinms_lower_limb/gait2392_generic.osim",
    "hamner_subject02_running": f"{PIPELINES}/Hamner/outputReference/subject02_RRA_Adjusted.osim",
    "runningModel": f"{PIPELINES}/runningModel/runningModel_CMC_test.osim",
}


@pytest.mark.parametrize("with_model", [True, False], ids=["model", "no_model"])
@pytest.mark.parametrize("run", [next(iter(RUNS)), *(pytest.param(run, marks=pytest.mark.slow) for run in [*RUNS][1:])])
def test_every_model_naming(run, with_model, shared_data, tmp_path, open_with_opensim):
    tool = STDRRefineTool()
    tool.setName("refined")
    tool.setStatesFileName(shared_data / PIPELINES / "reference_cmc" / f"{run}_states.sto")
    if with_model:
        tool.setModelFilename(shared_data / RUNS[run])
    tool.setResultsDir(tmp_path)
    tool.cycle_source = "whole_file"
    tool.write_attention = True
    tool.run()

    source = read_storage(tool.resolve("states_file"))
    paths = {ending: tmp_path / f"refined_{ending}.sto" for ending in ("states", "activation", "controls", "emg")}
    paths["attention"] = tmp_path / "refined_attention.sto"
    opened = open_with_opensim(paths.values())
    for path in paths.values():
        rows, columns, storage_rows, storage_columns = opened[str(path)]
        own = read_storage(path)
        assert (rows, columns) == (storage_rows, storage_columns) == own.data.shape

    states, emg = read_storage(paths["states"]), read_storage(paths["emg"])
    assert states.labels == source.labels
    # Plantarflexors, dorsiflexors and knee extensors or hamstrings of both limbs, whatever they are called.
    assert {"soleus_r", "soleus_l", "tib_ant_r", "tib_ant_l"} <= set(emg.labels)
    assert len(emg.labels) >= 10
    # Every one of these models has a muscle that stands for the vasti, under whatever name.
    assert {"vasti_r", "vas_int_r", "vas_lat_r"} & set(emg.labels)
    assert ("vas_int_r" in emg.labels) == (run == "gait2354_walk1")
    refined = {f"/forceset/{muscle}/activation" for muscle in emg.labels}
    for k, label in enumerate(source.labels):
        same = np.array_equal(states.data[:, k], source.data[:, k])
        assert same == (label not in refined), label
    changed = np.column_stack([states.column(label) for label in sorted(refined)])
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0
