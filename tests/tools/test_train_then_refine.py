"""From recordings of some subjects to the refined CMC result of another, by setup files alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from forked_processes import start_program

from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.storage import read_storage
from opensim_nem2e.storage.muscles import MuscleNames

TRAIN = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<STDRTrainTool name="own">
		<trials_file>{data}/trials.csv</trials_file>
		<emg_channels_file>{data}/emg_channels.csv</emg_channels_file>
		<datasets>ceinms_lower_limb walk_sub1 walk_3d_example</datasets>
		<motions>walk</motions>
		<hold_out_subjects>uhlrich_sub1</hold_out_subjects>
		<condition>{condition}</condition>
		<muscles>soleus vaslat vasmed</muscles>
		<network_output>deviation</network_output>
		<hidden_units>16</hidden_units>
		<epochs>10</epochs>
		<jobs>1</jobs>
		<batch_size>8</batch_size>
		<learning_rate>0.003</learning_rate>
		<data_description>two subjects walking</data_description>
		<data_licence>Apache-2.0</data_licence>
		<data_attribution>see the data's README</data_attribution>
	</STDRTrainTool>
</OpenSimDocument>
"""

#: The held-out subject's real CMC run, the lag of his EMG clock and his left stride (from trials.csv).
REFINE = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<STDRRefineTool name="held_out">
		<model_file>{data}/walk_sub1/Rajagopal_scaled_Sub1_gasAvoid.osim</model_file>
		<states_file>{data}/walk_sub1/activations_cmc/walking_baseline1_stride10_states.sto</states_file>
		<external_loads_file>{data}/walk_sub1/walking_baseline1_external_loads.xml</external_loads_file>
		<bundle_file>own.safetensors</bundle_file>
		<amplitude>emg</amplitude>
		<results_directory>results</results_directory>
	</STDRRefineTool>
</OpenSimDocument>
"""


def run(setup, folder) -> str:
    program = start_program("run", setup, folder=folder)
    out, err = program.communicate()
    assert program.returncode == 0, err
    return out


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("condition", ["One-Entire", "All-Entire"])
def test_held_out_person(condition, shared_data, tmp_path):
    (tmp_path / "train.xml").write_text(TRAIN.format(data=shared_data.resolve(), condition=condition))
    (tmp_path / "refine.xml").write_text(REFINE.format(data=shared_data.resolve()))
    run("train.xml", tmp_path)
    bundle = Bundle.load(tmp_path / "own.safetensors")
    assert bundle.condition == condition
    assert "uhlrich_sub1" not in bundle.metadata["data"]["subjects"]
    if condition == "One-Entire":
        assert bundle.inputs("soleus") == ("ipsi:soleus",)
    else:
        # The muscles that gait2392 and Rajagopal's model share, of both limbs.
        assert len(bundle.inputs("soleus")) > 40
        assert {"ipsi:soleus", "contra:soleus", "ipsi:psoas", "contra:psoas"} <= set(bundle.inputs("soleus"))

    run("refine.xml", tmp_path)
    after = read_storage(tmp_path / "results" / "held_out_activation.sto")
    before = read_storage(shared_data / "walk_sub1/activations_cmc/walking_baseline1_stride10_states.sto")
    emg = read_storage(shared_data / "walk_sub1/walking_baseline1_emg.sto")
    log = (tmp_path / "results" / "held_out.log").read_text()
    assert "Complete left gait cycles (s): 28.70" in log
    # What the tool wrote is what the bundle says of this stride, put together here from the files themselves.
    start, end = map(float, re.search(r"Complete left gait cycles \(s\): ([\d.]+)-([\d.]+)\.", log).groups())
    at = np.linspace(start, end, 20)
    standard = {}
    for label in before.labels:
        if label.endswith("/activation"):
            muscle = MuscleNames.load().standard(label.split("/")[-2])
            standard["ipsi:" if muscle.side == "l" else "contra:", muscle.name] = np.interp(
                at, before.time, before.column(label)
            )
    for muscle in ("soleus", "vaslat", "vasmed"):
        inputs = [name.partition(":") for name in bundle.inputs(muscle)]
        x = np.column_stack([standard[relation + ":", name] for relation, _, name in inputs])
        y, _ = bundle.refine(muscle, x[None])
        written = np.interp(at, after.time, after.column(f"{muscle}_l"))
        np.testing.assert_allclose(written[2:18], np.clip(y[0], 0.01, 1.0)[2:18], atol=5e-3)
    # A loose bound on the error that the paper takes (section 3.2.2): far from nonsense on a subject never seen.
    for muscle in ("vaslat_l", "vasmed_l"):
        column = f"{muscle}_activation"
        reference = np.clip(np.interp(at - 0.02, emg.time, emg.column(column)), 0.0, None) / emg.column(column).max()
        written = np.interp(at, after.time, after.column(muscle))
        assert np.sqrt(np.mean((written - reference) ** 2)) < 0.35
        assert np.corrcoef(written, reference)[0, 1] > 0.5
