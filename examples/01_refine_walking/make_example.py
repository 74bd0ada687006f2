"""Make the walking example from nothing: model, motion, ground reactions, and a real CMC run. See README.md.

python examples/01_refine_walking/make_example.py              # everything; CMC takes several minutes
python examples/01_refine_walking/make_example.py --no-cmc     # all inputs and the inverse dynamics check
python examples/01_refine_walking/make_example.py --figure check.png   # draw the shipped files, nothing else
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from walking_body import Body
from walking_files import (
    RESERVE,
    RESIDUALS,
    write_actuators,
    write_cmc_setup,
    write_ground_reactions,
    write_inverse_dynamics_setup,
    write_motion,
    write_tasks,
)
from walking_motion import (
    COORDINATES,
    GroundReactions,
    Variation,
    Walk,
    ground_reactions,
    stride_period,
    walking_motion,
)

from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool
from opensim_nem2e.storage import TimeSeries, read_storage

HERE = Path(__file__).resolve().parent

#: The example's walker: an adult of 70 kg and 1.75 m at a comfortable speed.
MASS, HEIGHT, SPEED = 70.0, 1.75, 1.25
#: Time of the right heel strike at x = 0, s.
FIRST_HEEL_STRIKE = 0.25
#: Step of the motion and ground reaction files, s.
STEP = 0.005
#: Start of CMC's window, s. Its first row comes 0.03 s later; what starting up disturbs is over before the first heel
#: strike.
CMC_START = 0.05
#: How long CMC goes on after the heel strike that ends the left leg's complete gait cycle, s.
CMC_MARGIN = 0.13
#: Files of CMC's results that ship.
SHIPPED_RESULTS = ("walking_states.sto", "walking_controls.sto", "walking_Kinematics_q.sto", "walking_pErr.sto")


@dataclass(frozen=True)
class Inputs:
    """A walker's motion and ground reactions, as written to a folder.

    Parameters
    ----------
    walk : Walk
        The motion.
    reactions : GroundReactions
        The ground reactions at the files' times.
    end : float
        End of CMC's window, s.
    """

    walk: Walk
    reactions: GroundReactions
    end: float


def write_inputs(
    folder: Path,
    body: Body,
    speed: float,
    variation: Variation | None = None,
    end: float | None = None,
) -> Inputs:
    """Build a walker and write everything that CMC needs.

    Parameters
    ----------
    folder : Path
        Where to write; made if it does not exist.
    body : Body
        Mass (kg) and height (m).
    speed : float
        Walking speed, m/s.
    variation : Variation, optional
        How the walker differs from the norm.
    end : float, optional
        End of CMC's window, s. By default it holds one complete gait cycle of each leg.

    Returns
    -------
    Inputs
        What was written.
    """
    from walking_model import build_model  # the only import of opensim

    folder.mkdir(parents=True, exist_ok=True)
    build_model(body).printToXML(str(folder / "walker.osim"))
    walk = walking_motion(body, speed, variation)
    if end is None:
        end = round(FIRST_HEEL_STRIKE + 1.5 * walk.period + CMC_MARGIN, 2)
    # A margin of 0.2 s to either side keeps the ends of OpenSim's splines out of the window.
    time = np.arange(0.0, end + 0.2 + STEP / 2, STEP)
    write_motion(folder / "walking_coordinates.mot", walk, time, FIRST_HEEL_STRIKE)
    reactions = ground_reactions(walk, time, FIRST_HEEL_STRIKE)
    write_ground_reactions(folder, "walking_grf", reactions)
    write_tasks(folder / "tasks.xml")
    write_actuators(folder / "actuators.xml", body)
    write_cmc_setup(folder / "setup_cmc.xml", "walking", CMC_START, end, "cmc")
    return Inputs(walk, reactions, end)


def inverse_dynamics(folder: Path, start: float, end: float) -> TimeSeries:
    """Run OpenSim's inverse dynamics on the files of a folder.

    Parameters
    ----------
    folder : Path
        As written by :func:`write_inputs`; it is left as it was.
    start, end : float
        Time window, s.

    Returns
    -------
    TimeSeries
        Generalised forces, N and Nm.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in ("walker.osim", "walking_coordinates.mot", "walking_grf.mot", "external_loads.xml"):
            shutil.copy(folder / name, copy)
        write_inverse_dynamics_setup(copy / "setup_id.xml", start, end, ".")
        run_opensim_tool(copy / "setup_id.xml")
        return read_storage(copy / "inverse_dynamics.sto")


def summary(folder: Path) -> dict[str, float]:
    """Figures by which a CMC result is usually judged (Hicks et al. 2015, doi:10.1115/1.4029304).

    Parameters
    ----------
    folder : Path
        With `setup_cmc.xml`'s inputs and a `cmc` folder of results.

    Returns
    -------
    dict of str to float
        Name (with unit) and value.
    """
    states = read_storage(folder / "cmc" / "walking_states.sto")
    controls = read_storage(folder / "cmc" / "walking_controls.sto")
    wanted = read_storage(folder / "walking_coordinates.mot")
    # The first heel strike ends CMC's start-up.
    rows = states.time > FIRST_HEEL_STRIKE
    time = states.time[rows]
    out: dict[str, float] = {}
    for name in COORDINATES:
        label = next(x for x in states.labels if x.endswith(f"/{name}/value"))
        goal = np.interp(time, wanted.time, wanted.column(name))
        got = states.column(label)[rows]
        if name in ("pelvis_tx", "pelvis_ty"):
            out[f"error {name} (mm)"] = 1e3 * float(np.abs(got - goal).max())
        else:
            out[f"error {name} (deg)"] = float(np.abs(np.rad2deg(got) - goal).max())
    late = controls.time > FIRST_HEEL_STRIKE
    for label in controls.labels:
        if label in ("FX", "FY", "MZ") or label.startswith("reserve_"):
            optimal = dict(zip(("FX", "FY", "MZ"), RESIDUALS, strict=True)).get(label, RESERVE)
            values = optimal * controls.column(label)[late]
            unit = "N" if label in ("FX", "FY") else "Nm"
            out[f"rms {label} ({unit})"] = float(np.sqrt(np.mean(values**2)))
            out[f"peak {label} ({unit})"] = float(np.abs(values).max())
    step = np.gradient(time)
    for label in states.labels:
        if label.endswith("/activation"):
            full = states.column(label)[rows] > 0.98
            out[f"saturated {label.split('/')[2]} (%)"] = float(100 * np.sum(step * full) / np.sum(step))
    return out


def draw(folder: Path, path: Path) -> None:
    """Draw motion, ground reactions and activations over time.

    Parameters
    ----------
    folder : Path
        With inputs and results.
    path : Path
        The picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    motion = read_storage(folder / "walking_coordinates.mot")
    ground = read_storage(folder / "walking_grf.mot")
    states = read_storage(folder / "cmc" / "walking_states.sto")
    controls = read_storage(folder / "cmc" / "walking_controls.sto")
    muscles = [label for label in states.labels if label.endswith("_r/activation")]
    figure, axes = plt.subplots(6, 4, figsize=(18, 20), sharex=True)
    flat = axes.ravel()
    for axis, joint in zip(flat, ("hip_flexion", "knee_angle", "ankle_angle"), strict=False):
        for side, color in (("r", "C3"), ("l", "C0")):
            axis.plot(motion.time, motion.column(f"{joint}_{side}"), color, lw=0.8)
            label = next(x for x in states.labels if x.endswith(f"/{joint}_{side}/value"))
            axis.plot(states.time, np.rad2deg(states.column(label)), color, ls="--")
        axis.set_title(f"{joint} (deg), dashed: CMC")
    for axis, (quantity, unit) in zip(flat[3:6], (("vy", "N"), ("vx", "N"), ("px", "m")), strict=True):
        axis.plot(ground.time, ground.column(f"ground_force_{quantity}"), "C3")
        axis.plot(ground.time, ground.column(f"1_ground_force_{quantity}"), "C0")
        axis.set_title(f"ground_force_{quantity} ({unit})")
    for axis, label in zip(flat[6:], muscles, strict=False):
        axis.plot(states.time, states.column(label), "C3")
        axis.plot(states.time, states.column(label.replace("_r/", "_l/")), "C0", lw=0.8)
        axis.set_ylim(0, 1)
        axis.set_title(label.split("/")[2])
    for axis, name in zip(flat[18:], ("FX", "FY", "MZ"), strict=False):
        axis.plot(controls.time, controls.column(name))
        axis.set_title(f"{name} control")
    for axis, joint in zip(flat[21:], ("hip_flexion", "knee_angle", "ankle_angle"), strict=False):
        for side, color in (("r", "C3"), ("l", "C0")):
            axis.plot(controls.time, controls.column(f"reserve_{joint}_{side}"), color, lw=0.8)
        axis.set_title(f"reserve_{joint} (Nm)")
    strikes = [FIRST_HEEL_STRIKE + k * 0.5 * stride_period(SPEED, HEIGHT) for k in range(5)]
    for axis in flat:
        for number, strike in enumerate(strikes):
            axis.axvline(strike, color="C3" if number % 2 == 0 else "C0", lw=0.5)
    figure.tight_layout()
    figure.savefig(path, dpi=60)


def main() -> int:
    """Make the example; print what was made and how good it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE, help="where to write (default: this folder)")
    parser.add_argument("--no-cmc", action="store_true", help="write the inputs only")
    parser.add_argument("--figure", type=Path, help="draw the files that are there, and stop")
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.figure:
        draw(folder, arguments.figure)
        return 0
    inputs = write_inputs(folder, Body(MASS, HEIGHT), SPEED)
    print(f"gait cycle {inputs.walk.period:.4f} s; inputs written to '{folder}'")
    forces = inverse_dynamics(folder, CMC_START, inputs.end)
    for name in ("pelvis_tx_force", "pelvis_ty_force", "pelvis_tilt_moment"):
        print(f"inverse dynamics, largest residual {name}: {np.abs(forces.column(name)).max():.3g}")
    if arguments.no_cmc:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for path in folder.iterdir():
            if path.suffix in (".xml", ".osim", ".mot"):
                shutil.copy(path, work)
        run = run_opensim_tool(work / "setup_cmc.xml", log_file=work / "cmc.log")
        print(f"CMC took {run.seconds:.0f} s")
        (folder / "cmc").mkdir(exist_ok=True)
        for name in SHIPPED_RESULTS:
            shutil.copyfile(run.results_directory / name, folder / "cmc" / name)
    for name, value in summary(folder).items():
        print(f"{name:36s}{value:10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
