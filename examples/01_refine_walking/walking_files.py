"""Write a walking motion as the files that OpenSim's tools read: motion, ground reactions, tasks, actuators, setups.

OpenSim is not needed to write them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from walking_body import Body
from walking_motion import COORDINATES, GroundReactions, Walk

#: Optimal force of the reserve actuators, Nm. Small, so that the optimiser finds them dear.
RESERVE = 1.0
#: Optimal force or moment of the residual actuators at the pelvis: forward (N), up (N), around z (Nm).
RESIDUALS = (4.0, 8.0, 2.0)
#: Optimal moment of the lumbar actuator, Nm: the trunk's muscles are not modelled.
LUMBAR = 50.0
#: Tracking gains of all tasks, 1/s^2 and 1/s: critically damped. Stiffer gains at the pelvis (400, 40) make CMC, whose
#: forces lag by one window, oscillate.
KP, KV = 100.0, 20.0
#: Error tolerance of CMC's integrator. OpenSim's default of 1e-5 doubles the number of rows in the results.
INTEGRATOR_TOLERANCE = 1e-3
#: Tracking weights; the pelvis's position follows the ground reactions and may give way.
WEIGHTS = {"pelvis_tx": 5.0, "pelvis_ty": 5.0}


def write_table(path: Path, time: np.ndarray, columns: dict[str, np.ndarray], in_degrees: bool) -> None:
    """Write a `.mot` file with OpenSim's plain header.

    Parameters
    ----------
    path : Path
        The file.
    time : ndarray, shape (rows,)
        Times, s.
    columns : dict of str to ndarray
        Label and values `(rows,)`.
    in_degrees : bool
        Whether angles are in degrees.
    """
    head = [
        path.stem,
        "version=1",
        f"nRows={len(time)}",
        f"nColumns={len(columns) + 1}",
        f"inDegrees={'yes' if in_degrees else 'no'}",
        "endheader",
        "\t".join(["time", *columns]),
    ]
    table = np.column_stack([time, *columns.values()]) + 0.0  # + 0.0 turns -0 into 0
    rows = ["\t".join(f"{value:.9f}" for value in row) for row in table]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def write_motion(path: Path, walk: Walk, time: np.ndarray, first_heel_strike: float) -> None:
    """Write the coordinates, angles in degrees.

    Parameters
    ----------
    path : Path
        The file.
    walk : Walk
        The motion.
    time : ndarray, shape (rows,)
        Times, s.
    first_heel_strike : float
        Time of the right heel strike at x = 0, s.
    """
    q = walk.coordinates(time, 0, first_heel_strike)
    columns = {
        name: q[:, i] if name in ("pelvis_tx", "pelvis_ty") else np.rad2deg(q[:, i])
        for i, name in enumerate(COORDINATES)
    }
    write_table(path, time, columns, in_degrees=True)


def write_ground_reactions(folder: Path, stem: str, reactions: GroundReactions) -> None:
    """Write the ground reactions (`<stem>.mot`) and the external loads that apply them (`external_loads.xml`).

    Parameters
    ----------
    folder : Path
        Where to write.
    stem : str
        Name of the `.mot` file without suffix.
    reactions : GroundReactions
        Forces in N, points in m.
    """
    columns = {}
    for foot, prefix in enumerate(("", "1_")):  # right, left: the customary names
        for axis, letter in enumerate("xyz"):
            columns[f"{prefix}ground_force_v{letter}"] = reactions.force[foot, :, axis]
        for axis, letter in enumerate("xyz"):
            columns[f"{prefix}ground_force_p{letter}"] = reactions.point[foot, :, axis]
    for prefix in ("", "1_"):
        for letter in "xyz":
            columns[f"{prefix}ground_torque_{letter}"] = np.zeros(len(reactions.time))
    write_table(folder / f"{stem}.mot", reactions.time, columns, in_degrees=False)
    forces = "".join(
        f"""
            <ExternalForce name="{side}">
                <applied_to_body>calcn_{side[0]}</applied_to_body>
                <force_expressed_in_body>ground</force_expressed_in_body>
                <point_expressed_in_body>ground</point_expressed_in_body>
                <force_identifier>{prefix}ground_force_v</force_identifier>
                <point_identifier>{prefix}ground_force_p</point_identifier>
                <torque_identifier>{prefix}ground_torque_</torque_identifier>
            </ExternalForce>"""
        for side, prefix in (("right", ""), ("left", "1_"))
    )
    _write_xml(
        folder / "external_loads.xml",
        f"""
    <ExternalLoads name="walking">
        <objects>{forces}
        </objects>
        <groups/>
        <datafile>{stem}.mot</datafile>
    </ExternalLoads>""",
    )


def write_tasks(path: Path) -> None:
    """Write the tracking tasks of all coordinates.

    Parameters
    ----------
    path : Path
        The file.
    """
    tasks = "".join(
        f"""
            <CMC_Joint name="{name}">
                <on>true</on>
                <weight>{WEIGHTS.get(name, 10.0)} 1 1</weight>
                <wrt_body>-1</wrt_body>
                <express_body>-1</express_body>
                <active>true false false</active>
                <kp>{KP:g} 1 1</kp>
                <kv>{KV:g} 1 1</kv>
                <ka>1 1 1</ka>
                <coordinate>{name}</coordinate>
                <limit>0</limit>
            </CMC_Joint>"""
        for name in COORDINATES
    )
    _write_xml(
        path,
        f"""
    <CMC_TaskSet name="walking">
        <objects>{tasks}
        </objects>
        <groups/>
    </CMC_TaskSet>""",
    )


def write_actuators(path: Path, body: Body) -> None:
    """Write residual actuators at the pelvis, the lumbar actuator, and a small reserve at every leg joint.

    Parameters
    ----------
    path : Path
        The file.
    body : Body
        The walker; the residual forces act at the pelvis's mass centre.
    """
    x, y = body.pelvis.center
    bounds = """
                <min_control>-1000</min_control>
                <max_control>1000</max_control>"""
    parts = [
        f"""
            <PointActuator name="{name}">{bounds}
                <optimal_force>{force}</optimal_force>
                <body>pelvis</body>
                <point>{x:.6f} {y:.6f} 0</point>
                <point_is_global>false</point_is_global>
                <direction>{direction}</direction>
                <force_is_global>true</force_is_global>
            </PointActuator>"""
        for name, direction, force in (("FX", "1 0 0", RESIDUALS[0]), ("FY", "0 1 0", RESIDUALS[1]))
    ]
    parts.append(
        f"""
            <TorqueActuator name="MZ">{bounds}
                <bodyA>pelvis</bodyA>
                <bodyB>ground</bodyB>
                <torque_is_global>true</torque_is_global>
                <axis>0 0 1</axis>
                <optimal_force>{RESIDUALS[2]}</optimal_force>
            </TorqueActuator>"""
    )
    for name in COORDINATES[3:]:
        lumbar = name == "lumbar_extension"
        parts.append(
            f"""
            <CoordinateActuator name="{"lumbar" if lumbar else f"reserve_{name}"}">{bounds}
                <coordinate>{name}</coordinate>
                <optimal_force>{LUMBAR if lumbar else RESERVE}</optimal_force>
            </CoordinateActuator>"""
        )
    _write_xml(
        path,
        f"""
    <ForceSet name="reserves_and_residuals">
        <objects>{"".join(parts)}
        </objects>
        <groups/>
    </ForceSet>""",
    )


def write_cmc_setup(path: Path, name: str, start: float, end: float, results: str) -> None:
    """Write the CMC setup.

    Parameters
    ----------
    path : Path
        The file; all other files are expected beside it.
    name : str
        Name of the tool, with which the results' names start.
    start, end : float
        Time window, s.
    results : str
        Results directory, relative to the setup file.
    """
    _write_xml(
        path,
        f"""
    <CMCTool name="{name}">
        <model_file>walker.osim</model_file>
        <replace_force_set>false</replace_force_set>
        <force_set_files>actuators.xml</force_set_files>
        <results_directory>{results}</results_directory>
        <output_precision>8</output_precision>
        <initial_time>{start:.3f}</initial_time>
        <final_time>{end:.3f}</final_time>
        <solve_for_equilibrium_for_auxiliary_states>true</solve_for_equilibrium_for_auxiliary_states>
        <maximum_number_of_integrator_steps>100000</maximum_number_of_integrator_steps>
        <maximum_integrator_step_size>1</maximum_integrator_step_size>
        <minimum_integrator_step_size>1e-8</minimum_integrator_step_size>
        <integrator_error_tolerance>{INTEGRATOR_TOLERANCE:g}</integrator_error_tolerance>
        <external_loads_file>external_loads.xml</external_loads_file>
        <desired_kinematics_file>walking_coordinates.mot</desired_kinematics_file>
        <task_set_file>tasks.xml</task_set_file>
        <!--The motion is a sum of sines: there is no noise to filter, and filtering would part it from its forces.-->
        <lowpass_cutoff_frequency>-1</lowpass_cutoff_frequency>
        <cmc_time_window>0.01</cmc_time_window>
        <use_curvature_filter>false</use_curvature_filter>
        <use_fast_optimization_target>true</use_fast_optimization_target>
        <optimizer_algorithm>ipopt</optimizer_algorithm>
        <optimizer_derivative_dx>1</optimizer_derivative_dx>
        <optimizer_convergence_criterion>1e-4</optimizer_convergence_criterion>
        <optimizer_max_iterations>1000</optimizer_max_iterations>
        <optimizer_print_level>0</optimizer_print_level>
        <use_verbose_printing>false</use_verbose_printing>
    </CMCTool>""",
    )


def write_static_optimization_setup(path: Path, name: str, start: float, end: float, results: str) -> None:
    """Write the setup of a static optimisation: the sum of squared activations is least at every instant.

    Parameters
    ----------
    path : Path
        The file; all other files are expected beside it.
    name : str
        Name of the tool, with which the results' names start.
    start, end : float
        Time window, s.
    results : str
        Results directory, relative to the setup file.
    """
    _write_xml(
        path,
        f"""
    <AnalyzeTool name="{name}">
        <model_file>walker.osim</model_file>
        <replace_force_set>false</replace_force_set>
        <force_set_files>actuators.xml</force_set_files>
        <results_directory>{results}</results_directory>
        <output_precision>8</output_precision>
        <initial_time>{start:.3f}</initial_time>
        <final_time>{end:.3f}</final_time>
        <solve_for_equilibrium_for_auxiliary_states>false</solve_for_equilibrium_for_auxiliary_states>
        <AnalysisSet name="Analyses">
            <objects>
                <StaticOptimization name="StaticOptimization">
                    <on>true</on>
                    <!--Rows of the motion file from one optimisation to the next.-->
                    <step_interval>2</step_interval>
                    <in_degrees>true</in_degrees>
                    <use_model_force_set>true</use_model_force_set>
                    <activation_exponent>2</activation_exponent>
                    <use_muscle_physiology>true</use_muscle_physiology>
                    <optimizer_convergence_criterion>0.0001</optimizer_convergence_criterion>
                    <optimizer_max_iterations>100</optimizer_max_iterations>
                </StaticOptimization>
            </objects>
            <groups/>
        </AnalysisSet>
        <external_loads_file>external_loads.xml</external_loads_file>
        <coordinates_file>walking_coordinates.mot</coordinates_file>
        <lowpass_cutoff_frequency_for_coordinates>-1</lowpass_cutoff_frequency_for_coordinates>
    </AnalyzeTool>""",
    )


def write_inverse_dynamics_setup(path: Path, start: float, end: float, results: str) -> None:
    """Write the inverse dynamics setup that checks motion against ground reactions.

    Parameters
    ----------
    path : Path
        The file; all other files are expected beside it.
    start, end : float
        Time window, s.
    results : str
        Results directory, relative to the setup file.
    """
    _write_xml(
        path,
        f"""
    <InverseDynamicsTool name="walking">
        <results_directory>{results}</results_directory>
        <model_file>walker.osim</model_file>
        <time_range>{start:.3f} {end:.3f}</time_range>
        <forces_to_exclude>Muscles</forces_to_exclude>
        <external_loads_file>external_loads.xml</external_loads_file>
        <coordinates_file>walking_coordinates.mot</coordinates_file>
        <lowpass_cutoff_frequency_for_coordinates>-1</lowpass_cutoff_frequency_for_coordinates>
        <output_gen_force_file>inverse_dynamics.sto</output_gen_force_file>
    </InverseDynamicsTool>""",
    )


def _write_xml(path: Path, body: str) -> None:
    text = f'<?xml version="1.0" encoding="UTF-8" ?>\n<OpenSimDocument Version="40600">{body}\n</OpenSimDocument>\n'
    path.write_text(text, encoding="utf-8")
