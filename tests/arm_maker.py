"""Makes a forearm that OpenSim's tools can move in a second, and their setup files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import opensim

TASKS = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <CMC_TaskSet name="arm">
        <objects>
            <CMC_Joint name="elbow">
                <on>true</on>
                <weight>1 1 1</weight>
                <wrt_body>-1</wrt_body>
                <express_body>-1</express_body>
                <active>true false false</active>
                <kp>100 1 1</kp>
                <kv>20 1 1</kv>
                <ka>1 1 1</ka>
                <coordinate>elbow</coordinate>
            </CMC_Joint>
        </objects>
    </CMC_TaskSet>
</OpenSimDocument>
"""

CMC = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <CMCTool name="{name}">
        <model_file>{where}arm.osim</model_file>
        <results_directory>results</results_directory>
        <initial_time>0.1</initial_time>
        <final_time>{end}</final_time>
        <solve_for_equilibrium_for_auxiliary_states>true</solve_for_equilibrium_for_auxiliary_states>
        <desired_kinematics_file>{motion}</desired_kinematics_file>
        <task_set_file>{where}tasks.xml</task_set_file>
        <cmc_time_window>0.01</cmc_time_window>
        <use_fast_optimization_target>true</use_fast_optimization_target>
    </CMCTool>
</OpenSimDocument>
"""


def build_arm(folder: Path, strength: float = 600.0, muscles: tuple[str, str] = ("flexor", "extensor")) -> None:
    """Write a forearm that two muscles swing about a pin, a motion for it, and CMC's tasks."""
    model = opensim.Model()
    model.setName("arm")
    forearm = opensim.Body("forearm", 1.5, opensim.Vec3(0, -0.15, 0), opensim.Inertia(0.01, 0.01, 0.01))
    model.addBody(forearm)
    joint = opensim.PinJoint(
        "elbow_joint", model.getGround(), opensim.Vec3(0), opensim.Vec3(0), forearm, opensim.Vec3(0), opensim.Vec3(0)
    )
    joint.upd_coordinates(0).setName("elbow")
    model.addJoint(joint)
    for name, side in zip(muscles, (1, -1), strict=True):
        muscle = opensim.Millard2012EquilibriumMuscle(name, strength, 0.12, 0.16, 0.0)
        muscle.addNewPathPoint("origin", model.getGround(), opensim.Vec3(0.03 * side, 0.2, 0))
        muscle.addNewPathPoint("insertion", forearm, opensim.Vec3(0.03 * side, -0.08, 0))
        model.addForce(muscle)
    model.finalizeConnections()
    model.printToXML(str(folder / "arm.osim"))
    write_motion(folder / "motion.mot")
    (folder / "tasks.xml").write_text(TASKS)


def write_motion(path: Path, swing: float = 10.0) -> None:
    """Write a swing of the elbow (degrees), once in a second."""
    time = np.linspace(0, 1, 101)
    rows = "".join(f"{t:.2f}\t{swing * np.sin(2 * np.pi * t):.8f}\n" for t in time)
    head = "motion\nversion=1\nnRows=101\nnColumns=2\ninDegrees=yes\nendheader\ntime\telbow\n"
    path.write_text(head + rows)


def write_cmc(folder: Path, name: str, end: float = 0.2, motion: str = "motion.mot", where: str = "") -> Path:
    """Write a setup file of CMC from 0.1 s on; model and tasks are in the folder ``where``."""
    setup = folder / f"setup_{name}.xml"
    setup.write_text(CMC.format(name=name, end=end, motion=motion, where=where))
    return setup


def write_inverse_dynamics(folder: Path, model: str = "arm.osim") -> Path:
    """Write a setup file of inverse dynamics for the same motion."""
    setup = folder / "setup_id.xml"
    setup.write_text(
        f"""<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <InverseDynamicsTool name="arm">
        <results_directory>id</results_directory>
        <model_file>{model}</model_file>
        <time_range>0 1</time_range>
        <forces_to_exclude>Muscles</forces_to_exclude>
        <coordinates_file>motion.mot</coordinates_file>
        <output_gen_force_file>moments.sto</output_gen_force_file>
    </InverseDynamicsTool>
</OpenSimDocument>
"""
    )
    return setup
