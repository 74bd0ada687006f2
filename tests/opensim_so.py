"""Runs OpenSim's own StaticOptimization in a process of its own, for comparison."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from opensim_nem2e.storage import TimeSeries, read_storage

SETUP = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <AnalyzeTool name="so">
        <model_file>{model}</model_file>
        <replace_force_set>false</replace_force_set>
        <force_set_files>{reserves}</force_set_files>
        <results_directory>{folder}</results_directory>
        <output_precision>12</output_precision>
        <initial_time>{start}</initial_time>
        <final_time>{end}</final_time>
        <solve_for_equilibrium_for_auxiliary_states>false</solve_for_equilibrium_for_auxiliary_states>
        <AnalysisSet>
            <objects>
                <StaticOptimization name="StaticOptimization">
                    <start_time>{start}</start_time>
                    <end_time>{end}</end_time>
                    <step_interval>{step}</step_interval>
                    <use_model_force_set>true</use_model_force_set>
                    <activation_exponent>2</activation_exponent>
                    <use_muscle_physiology>true</use_muscle_physiology>
                    <optimizer_convergence_criterion>1e-6</optimizer_convergence_criterion>
                    <optimizer_max_iterations>500</optimizer_max_iterations>
                </StaticOptimization>
            </objects>
        </AnalysisSet>
        <external_loads_file>{loads}</external_loads_file>
        <coordinates_file>{coordinates}</coordinates_file>
        <lowpass_cutoff_frequency_for_coordinates>{lowpass}</lowpass_cutoff_frequency_for_coordinates>
    </AnalyzeTool>
</OpenSimDocument>
"""

RESERVE = """
            <CoordinateActuator name="reserve_{name}">
                <coordinate>{name}</coordinate>
                <optimal_force>{force}</optimal_force>
            </CoordinateActuator>"""

RUN = """
import sys
import opensim
opensim.Logger.setLevelString("error")
assert opensim.AnalyzeTool(sys.argv[1]).run()
"""


def static_optimization(
    folder: Path,
    model: Path,
    coordinates: Path,
    reserves: Sequence[str],
    *,
    loads: Path | str = "",
    strong: Sequence[str] = (),
    lowpass: float = 6.0,
    start: float,
    end: float,
    step: int = 1,
) -> TimeSeries:
    """Return the activations; ``reserves`` get actuators of 1 Nm, ``strong`` ones of 100 N or Nm."""
    folder.mkdir(exist_ok=True)
    actuators = "".join(RESERVE.format(name=name, force=100.0 if name in strong else 1.0) for name in reserves)
    forces = folder / "reserves.xml"
    forces.write_text(
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<OpenSimDocument Version="40600">\n<ForceSet name="reserves">'
        f"<objects>{actuators}\n</objects></ForceSet></OpenSimDocument>\n"
    )
    setup = folder / "setup_so.xml"
    values = {"model": model, "coordinates": coordinates, "loads": loads, "reserves": forces, "folder": folder}
    setup.write_text(SETUP.format(**values, start=start, end=end, step=step, lowpass=lowpass))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(setup)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return read_storage(folder / "so_StaticOptimization_activation.sto")
