"""A batch of CMC runs in Python, and what is added to it to refine each result.

python batch_cmc.py [TRIAL ...]      each TRIAL is a folder like ../01_refine_walking, which is also the default
"""

import sys
from pathlib import Path

import opensim as osim
import pandas as pd

from opensim_nem2e import STDRRefineTool  # added
from opensim_nem2e.errors import NEM2EError  # added

trials = [Path(argument) for argument in sys.argv[1:]] or [Path(__file__).parent.parent / "01_refine_walking"]
summaries, failed = {}, []

for trial in trials:
    states = trial / "cmc" / "walking_states.sto"

    # --- your script: CMC, where it has not been run yet ---
    if not states.exists() and not osim.CMCTool(str(trial / "setup_cmc.xml")).run():
        failed.append(f"{trial}: CMC")
        continue

    # --- added: refine its activations ---
    refine = STDRRefineTool()
    refine.setName("walking_refined")
    refine.setModelFilename(trial / "walker.osim")
    refine.setStatesFileName(states)
    refine.setExternalLoadsFileName(trial / "external_loads.xml")
    refine.setResultsDir(trial / "results")
    try:
        refine.run()
    except NEM2EError as error:
        failed.append(f"{trial}: {error}")
        continue
    summaries[str(trial)] = pd.read_csv(trial / "results" / "walking_refined_summary.csv", index_col="muscle")

if summaries:
    changes = pd.concat(summaries).groupby("muscle", sort=False)[["rms_change", "peak_shift_ms"]].mean()
    print(f"\nMean over the refined trials ({len(summaries)}):\n{changes.round(3)}")
if failed:
    sys.exit("\n".join(["Failed:", *failed]))
