"""
Refine a CMC result
===================

The shipped example is a walk that CMC has simulated with a model of 24 muscles. The shipped networks refine it.
"""

# %%
# CMC's states and model, and the ground reactions, in which the heel strikes are found. Results go to a folder that is
# thrown away here.
import tempfile
from pathlib import Path

import opensim_nem2e

opensim_nem2e.set_log_level("warn")
example = Path("../01_refine_walking").resolve()
out = tempfile.mkdtemp()

result = opensim_nem2e.refine(
    states=example / "cmc" / "walking_states.sto",
    model=example / "walker.osim",
    external_loads=example / "external_loads.xml",
    out=out,
)
result

# %%
# Activations are a table, time by muscle.
result.activations[["soleus_r", "gasmed_r", "tibant_r"]].describe().round(3)

# %%
# Before and after, over the gait cycle that begins at the limb's own heel strike.
figure = result.plot("soleus_r", cycle="%")

# %%
# What changed, muscle by muscle.
columns = ["rms_change", "peak_before_percent", "peak_after_percent", "peak_shift_ms"]
result.summary[columns].round(2).head()

# %%
# The report is one page that needs no other file; ``result.report(show=True)`` opens it in the browser. All files:
print(*sorted(result.files), sep="\n")
