"""
Static optimisation of all frames at once
=========================================

:class:`opensim_nem2e.KinematicsToActivationTool` shares the moments of inverse dynamics among the muscles as OpenSim's
StaticOptimization does, with the same cost and the same muscle forces, but solves all frames together.
"""

# %%
# A motion, its model, and the ground reactions; OpenSim computes inverse dynamics and muscle paths.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import opensim_nem2e

opensim_nem2e.set_log_level("warn")
example = Path("../01_refine_walking").resolve()
out = Path(tempfile.mkdtemp())

tool = opensim_nem2e.KinematicsToActivationTool(
    model_file=str(example / "walker.osim"),
    coordinates_file=str(example / "walking_coordinates.mot"),
    external_loads_file=str(example / "external_loads.xml"),
    results_directory=str(out),
    write_report=False,
)
tool.setName("walking")
tool.run()
print(*sorted(path.name for path in out.iterdir()), sep="\n")

# %%
# The activations that minimise the sum of their squares, beside CMC's.
exact = opensim_nem2e.read_storage(out / "walking_activation.sto").to_frame()
cmc = opensim_nem2e.read_storage(example / "cmc" / "walking_states.sto").to_frame()
figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for panel, muscle in zip(axes, ("soleus_r", "gasmed_r", "vaslat_r"), strict=True):
    (column,) = (label for label in cmc if label.endswith(f"{muscle}/activation"))
    cmc[column].plot(ax=panel, label="CMC", color="0.6", title=muscle)
    exact[muscle].plot(ax=panel, label="static optimisation", color="tab:blue")
    panel.set_xlabel("time (s)")
axes[0].set_ylabel("activation")
# The last muscle's curves leave room for it.
legend = axes[-1].legend()
