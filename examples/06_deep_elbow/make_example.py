"""Makes the example from nothing: an elbow, its owner's true excitations, and the EMG that a laboratory would have.

    python make_example.py [FOLDER] [--seed N] [--loads 0 2 4] [--seconds 8]

No part of this is a recording of a person. The model (seven muscles, arm26's numbers rounded) is made with OpenSim; the
torques that lifting needs are those of its inverse dynamics. The owner's muscles differ from the model's, and share
the torque as no optimisation does: synergists by ratios that change with load and angle, and co-contraction. EMG is
each true excitation over its maximum, with noise, 50 ms early; ``truth`` holds the excitations themselves.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import opensim

from opensim_nem2e import TimeSeries, write_storage
from opensim_nem2e.musculoskeletal.activation import activation_from_excitation, find_excitation
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.musculoskeletal.paths import coordinate_ranges, fit_paths
from opensim_nem2e.storage.osim import read_model
from opensim_nem2e.storage.osim_edit import write_carried_mass

#: Maximal force (N), optimal fiber length (m), pennation (degrees), and where the path begins on the upper arm and ends
#: on the forearm (m; forward, up from the elbow). The triceps run over a cylinder.
MUSCLES = {
    "TRIlong": (798.5, 0.134, 12.0, (-0.025, 0.32), (-0.022, -0.03)),
    "TRIlat": (624.3, 0.1138, 9.0, (-0.022, 0.17), (-0.022, -0.03)),
    "TRImed": (624.3, 0.1138, 9.0, (-0.020, 0.13), (-0.022, -0.03)),
    "BIClong": (624.3, 0.1157, 0.0, (0.020, 0.30), (0.006, -0.045)),
    "BICshort": (435.6, 0.1321, 0.0, (0.024, 0.29), (0.006, -0.045)),
    "BRA": (987.3, 0.0858, 0.0, (0.012, 0.12), (0.004, -0.025)),
    "BRD": (261.3, 0.1726, 0.0, (0.010, 0.09), (0.012, -0.22)),
}

#: The hand, in the forearm's frame (m), what nobody measures, and where fibers have their optimal length (rad).
HAND, DEEP, BEND = (0.0, -0.33, 0.0), ("BRA", "TRImed"), 1.2

#: Rows per second, and how far EMG runs ahead of the excitation that acts (s).
RATE, AHEAD = 100.0, 0.05


def build_model(path: Path) -> None:
    """Write the model: an upper arm that hangs still, and a forearm on a pin."""
    model = opensim.Model()
    model.setName("elbow")
    ground = model.getGround()
    roller = opensim.WrapCylinder()
    roller.setName("elbow_roller")
    roller.set_radius(0.016)
    roller.set_length(0.1)
    roller.set_quadrant("-x")
    model.updGround().addWrapObject(roller)
    forearm = opensim.Body("forearm", 1.5, opensim.Vec3(0, -0.16, 0), opensim.Inertia(0.022, 0.002, 0.022))
    model.addBody(forearm)
    zero = opensim.Vec3(0)
    joint = opensim.PinJoint("elbow", ground, zero, zero, forearm, zero, zero)
    coordinate = joint.upd_coordinates(0)
    coordinate.setName("elbow_flexion")
    coordinate.setRangeMin(0.0)
    coordinate.setRangeMax(2.4)
    coordinate.setDefaultValue(BEND)
    model.addJoint(joint)
    for name, (force, fiber, angle, start, end) in MUSCLES.items():
        muscle = opensim.Millard2012EquilibriumMuscle(name, force, fiber, 0.1, np.radians(angle))
        muscle.set_ignore_tendon_compliance(True)
        muscle.addNewPathPoint("origin", ground, opensim.Vec3(*start, 0))
        muscle.addNewPathPoint("insertion", forearm, opensim.Vec3(*end, 0))
        if name.startswith("TRI"):
            muscle.updGeometryPath().addPathWrap(roller)
        model.addForce(muscle)
    model.finalizeConnections()
    state = model.initSystem()
    model.realizePosition(state)
    lengths = {name: model.getMuscles().get(name).getLength(state) for name in MUSCLES}
    for name, (_, fiber, angle, _, _) in MUSCLES.items():
        slack = lengths[name] - fiber * np.cos(np.radians(angle))
        model.updMuscles().get(name).set_tendon_slack_length(slack)
    model.finalizeConnections()
    model.printToXML(str(path))


def lift(seconds: float, rng: np.random.Generator) -> TimeSeries:
    """Bend and stretch the elbow, no two times alike."""
    time = np.arange(0.0, seconds + 0.5 / RATE, 1.0 / RATE)
    pace = np.interp(time, np.linspace(0, seconds, 6), rng.uniform(0.35, 0.65, 6))
    phase = 2.0 * np.pi * np.cumsum(pace) / RATE
    size = np.interp(time, np.linspace(0, seconds, 6), rng.uniform(0.5, 0.75, 6))
    angle = 1.25 - size * np.cos(phase) + 0.05 * np.sin(2.0 * phase + rng.uniform(0, 6))
    return TimeSeries(time, ("elbow_flexion",), np.degrees(angle)[:, np.newaxis], name="lift", in_degrees=True)


def personal(hill: HillMuscles, rng: np.random.Generator) -> HillMuscles:
    """Change the model's muscles into their owner's."""
    count = len(hill.names)
    return replace(
        hill,
        max_isometric_force=hill.max_isometric_force * np.exp(rng.normal(0.0, 0.2, count)),
        optimal_fiber_length=hill.optimal_fiber_length * (1.0 + rng.normal(0.0, 0.04, count)),
        tendon_slack_length=hill.tendon_slack_length * (1.0 + rng.normal(0.0, 0.015, count)),
    )


def share(names, angle, need, active, passive, arms, load, rng):
    """Share the needed torque among the owner's muscles: ratios that change, and co-contraction; activations."""
    time = np.arange(len(angle)) / RATE
    ratio = np.ones((len(angle), len(names)))
    ratio[:, names.index("BRA")] = 1.3 - 0.5 * np.sin(angle)
    ratio[:, names.index("BRD")] = 0.5 + 0.04 * load
    ratio[:, names.index("BICshort")] = 0.8 + 0.2 * np.cos(1.3 * time + rng.uniform(0, 6))
    ratio[:, names.index("TRImed")] = 0.7 + 0.3 * np.sin(0.9 * time + rng.uniform(0, 6))
    together = 0.03 * (1.0 + np.sin(0.7 * time + rng.uniform(0, 6)))[:, np.newaxis] * ratio
    gain = arms * active
    left = need - (arms * passive).sum(1) - (gain * together).sum(1)
    pulling = gain * np.sign(left)[:, np.newaxis] > 0.0
    strength = (np.abs(gain) * ratio * pulling).sum(1)
    more = ratio * pulling * (np.abs(left) / np.maximum(strength, 1e-3))[:, np.newaxis]
    return np.clip(together + more, 0.01, 1.0)


def make(folder: Path, seed: int = 0, loads: tuple[float, ...] = (0.0, 2.0, 4.0), seconds: float = 8.0) -> None:
    """Write model, motions, EMG and truth."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    build_model(folder / "elbow.osim")
    model = read_model(folder / "elbow.osim")
    generic = HillMuscles.from_model(model, curves="own")
    owner = personal(generic, rng)
    names = list(owner.names)
    truth = {}
    for load in loads:
        name = f"lift_{load:g}kg"
        series = lift(seconds, rng)
        write_storage(folder / f"{name}.mot", series)
        with tempfile.TemporaryDirectory() as scratch:
            loaded = Path(scratch, "loaded.osim")
            write_carried_mass(folder / "elbow.osim", loaded, {"forearm": load}, HAND)
            motion = analyse_motion(loaded, series, lowpass=6.0)
            ranges = coordinate_ranges(motion.coordinates, motion.q, motion.rotational, motion.limits)
            paths = fit_paths(loaded, ranges, cache_directory=scratch)
        lengths, arms = paths.of(names).evaluate(motion.q)
        active, passive = owner.rigid_terms(lengths, paths.velocities(arms, motion.qdot))
        target = share(names, motion.q[:, 0], motion.torques[:, 0], active, passive, arms[..., 0], load, rng)
        low, high = np.zeros(7), np.ones(7)
        rise, fall = np.full(7, 0.015), np.full(7, 0.060)
        excitation = np.clip(find_excitation(motion.time, target, rise, fall, low, high), 0.0, 1.0)
        reached = activation_from_excitation(motion.time, excitation, rise, fall, target[0])
        truth[name] = (motion.time, excitation, reached)
    highest = np.max([excitation.max(0) for _, excitation, _ in truth.values()], axis=0)
    for name, (time, excitation, _) in truth.items():
        write_storage(folder / f"{name}_truth.sto", TimeSeries(time, tuple(names), excitation, name="excitations"))
        early = np.stack([np.interp(time + AHEAD, time, x) for x in excitation.T], -1) / highest
        noisy = np.maximum(smooth(early + 0.04 * rng.normal(size=early.shape)), 0.0)
        write_storage(folder / f"{name}_emg.sto", TimeSeries(time, tuple(names), noisy, name="EMG"), precision=5)


def smooth(values: np.ndarray) -> np.ndarray:
    """Filter as an envelope is."""
    from scipy import signal

    return signal.sosfiltfilt(signal.butter(2, 6.0, fs=RATE, output="sos"), values, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.0, 2.0, 4.0], help="kg")
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    make(given.folder, given.seed, tuple(given.loads), given.seconds)


if __name__ == "__main__":
    main()
