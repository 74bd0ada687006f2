"""A study whose steps take milliseconds: ground reactions of a made-up walk, and a GaitEventsTool for each trial."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

LOADS = """<OpenSimDocument Version="40600"><ExternalLoads name="grf"><objects>{forces}</objects>
<datafile>grf.mot</datafile></ExternalLoads></OpenSimDocument>"""
FORCE = """<ExternalForce name="{side}"><applied_to_body>calcn_{side}</applied_to_body>
<force_identifier>{side}_ground_force_v</force_identifier><point_identifier>{side}_ground_force_p</point_identifier>
<torque_identifier>{side}_ground_torque_</torque_identifier></ExternalForce>"""
SETUP = """<OpenSimDocument Version="40600"><GaitEventsTool name="walk"><results_directory>results</results_directory>
<external_loads_file>loads.xml</external_loads_file>
<write_figures>{figures}</write_figures></GaitEventsTool></OpenSimDocument>"""
PIPELINE = """<OpenSimDocument Version="40600"><NEM2EPipelineTool name="study">
<results_directory>pipeline</results_directory><setup_files>events.xml</setup_files>
<trial_folders>{trial}</trial_folders><jobs>2</jobs></NEM2EPipelineTool></OpenSimDocument>"""

#: What a step writes, seen from the trial's folder.
RESULT = "results/walk_events.csv"


def write_forces(folder: Path, period: float) -> None:
    """Write the ground reactions of a walk with so long a stride (s)."""
    # Whole or not at all: a run may be reading it.
    new = folder / "grf.mot.new"
    new.write_text(_forces(period))
    new.replace(folder / "grf.mot")


@cache
def _forces(period: float) -> str:
    time = np.arange(0, 4, 0.01)
    names, columns = ["time"], [time]
    for side, shift in (("r", 0.0), ("l", 0.5)):
        stance = (time / period + shift) % 1.0 < 0.6
        for what in ("ground_force_v", "ground_force_p", "ground_torque_"):
            for axis in "xyz":
                names.append(f"{side}_{what}{axis}")
                columns.append(700.0 * stance if (what, axis) == ("ground_force_v", "y") else 0 * time)
    rows = "\n".join("\t".join(f"{value:.2f}" for value in row) for row in np.column_stack(columns))
    head = f"grf\nversion=1\nnRows={len(time)}\nnColumns={len(names)}\ninDegrees=no\nendheader\n"
    return head + "\t".join(names) + "\n" + rows + "\n"


def make_gait_study(root: Path, trials: tuple[str, ...] = ("t1", "t2", "t3"), figures: bool = False) -> Path:
    """Write a pipeline over trials, each in a folder of its own. Figures take longer than all the rest of a step."""
    for number, trial in enumerate(trials):
        folder = root / trial
        folder.mkdir(parents=True)
        write_forces(folder, 1.0 + 0.1 * number)
        (folder / "loads.xml").write_text(LOADS.format(forces="".join(FORCE.format(side=side) for side in "rl")))
        (folder / "events.xml").write_text(SETUP.format(figures=str(figures).lower()))
    (root / "setup_pipeline.xml").write_text(PIPELINE)
    return root
