"""
Heel strikes in ground reactions
================================

Which moments are heel strikes decides what a gait cycle is. They are found in the vertical force on each foot, with a
threshold and a debounce, and written as a table that may be edited.
"""

# %%
# The tool, built in code as OpenSim's tools are.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import opensim_nem2e

opensim_nem2e.set_log_level("warn")
example = Path("../01_refine_walking").resolve()

tool = opensim_nem2e.GaitEventsTool()
tool.setName("walking")
tool.setResultsDir(tempfile.mkdtemp())
tool.external_loads_file = str(example / "external_loads.xml")
tool.run()
events = pd.read_csv(next(Path(tool.getResultsDir()).glob("*_events.csv")))
events

# %%
# Beside the forces that they were found in.
forces = opensim_nem2e.read_storage(example / "walking_grf.mot").to_frame()
vertical = forces[["ground_force_vy", "1_ground_force_vy"]].set_axis(["right", "left"], axis=1)
figure, axes = plt.subplots(layout="constrained")
vertical.plot(ax=axes, xlabel="time (s)", ylabel="vertical force (N)", legend=False)
for event in events.itertuples():
    style = "--" if event.event == "heel_strike" else ":"
    colour = "tab:blue" if event.side == "r" else "tab:orange"
    axes.axvline(event.time, color=colour, linestyle=style)
legend = figure.legend(loc="outside upper center", ncols=2)
