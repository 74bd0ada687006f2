"""Forces and joint moments of all muscles of a model: OpenSim's own evaluation beside the fitted paths, in one run.

OpenSim is used in two ways. As most scripts do it: the model is posed and assembled, its dynamics realized with
DeGrooteFregly2016 muscles and rigid tendons, each muscle's force read, and ``computeMomentArm`` called for every
coordinate that the muscle really spans. And as an expert would: coordinates that follow others are set by their
function instead of by assembly, and a moment arm is minus the muscle's lengthening speed while its coordinate moves at
unit speed. The expert's way is what ours is compared with. Ours evaluates the fitted polynomials and the same muscles
for all frames at once, in numpy and in torch (with and without the gradient of all moments with respect to the
activations and coordinates). All get the same random postures, speeds and activations; how far the moments differ is
printed, too. OpenSim is measured on part of the frames and compared per frame, in processor time.

The model is that of walk_3d_example (80 muscles) in the folder named by OPENSIM_NEM2E_DATA, or the shipped example's
(24). Fitting the paths comes first, takes seconds, and is found in the cache afterwards.

    python benchmarks/muscle_forces.py [--frames 1000] [--opensim-frames 100] [--repeat 5] [--model MODEL.osim]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from recordings import DATA

from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.musculoskeletal.paths import MusclePaths, fit_paths
from opensim_nem2e.storage.osim import OsimModel, read_model

ROOT = Path(__file__).resolve().parent.parent

#: Ranges of walking (degrees), by how the coordinates' names begin; others stay at their neighbourhood of zero.
RANGES = {"hip_flexion": (-30, 40), "hip_": (-20, 20), "ankle": (-30, 30), "lumbar": (-20, 20)}


def default_model() -> Path:
    """Return the model with 80 muscles if it is there, otherwise the shipped one."""
    real = DATA / "walk_3d_example" / "subject_walk_scaled.osim"
    return real if real.is_file() else ROOT / "examples" / "01_refine_walking" / "walker.osim"


def walking_ranges(model: OsimModel, knee_flexes: int) -> dict[str, tuple[float, float]]:
    """Return ranges of walking for every coordinate (rad)."""
    ranges = {}
    for coordinate in model.coordinates:
        found = next((limits for start, limits in RANGES.items() if coordinate.name.startswith(start)), (-10, 10))
        if coordinate.name.startswith("knee_angle"):
            found = (0, 80) if knee_flexes > 0 else (-80, 0)
        ranges[coordinate.name] = (float(np.radians(found[0])), float(np.radians(found[1])))
    return ranges


def opensim_moments(
    path: Path, paths: MusclePaths, q: np.ndarray, qdot: np.ndarray, activation: np.ndarray, own_class: bool = False
) -> tuple:
    """Return the moments of every frame, by DeGrooteFregly2016Muscle or the model's own, and the seconds it took."""
    import opensim

    opensim.Logger.setLevelString("off")
    model = opensim.Model(str(path))
    model.initSystem()
    if not own_class:
        opensim.DeGrooteFregly2016Muscle.replaceMuscles(model)
    muscles = [model.getMuscles().get(name) for name in paths.muscles]
    for muscle in muscles:
        muscle.set_ignore_tendon_compliance(True)
    state = model.initSystem()
    coordinates = [model.getCoordinateSet().get(name) for name in paths.coordinates]
    crossed = np.abs(paths.evaluate(q)[1]).max(axis=0) > 0.0
    moments = np.zeros((len(q), len(coordinates)))
    start = time.process_time()
    for frame in range(len(q)):
        for coordinate, value, speed in zip(coordinates, q[frame], qdot[frame], strict=True):
            coordinate.setValue(state, value, False)
            coordinate.setSpeedValue(state, speed)
        model.assemble(state)
        for muscle, a in zip(muscles, activation[frame], strict=True):
            muscle.setActivation(state, a)
        model.realizeDynamics(state)
        for number, muscle in enumerate(muscles):
            force = muscle.getActuation(state)
            for column in np.flatnonzero(crossed[number]):
                moments[frame, column] += force * muscle.computeMomentArm(state, coordinates[column])
    return moments, time.process_time() - start


def expert_moments(path: Path, paths: MusclePaths, q: np.ndarray, qdot: np.ndarray, activation: np.ndarray) -> tuple:
    """Return the moments of every frame without assembly and ``computeMomentArm``, and the seconds that it took."""
    import opensim

    from opensim_nem2e.musculoskeletal.opensim._model_process import _Poser

    model = opensim.Model(str(path))
    model.initSystem()
    opensim.DeGrooteFregly2016Muscle.replaceMuscles(model)
    for name in paths.muscles:
        opensim.DeGrooteFregly2016Muscle.safeDownCast(model.getMuscles().get(name)).set_ignore_tendon_compliance(True)
    with tempfile.TemporaryDirectory(prefix="muscle_forces_") as folder:
        file = str(Path(folder, "rigid.osim"))
        model.printToXML(file)
        poser = _Poser(file)
    names = list(paths.coordinates)
    order = [poser.muscle_names.index(name) for name in paths.muscles]
    muscles = [opensim.DeGrooteFregly2016Muscle.safeDownCast(poser.muscles[k]) for k in order]
    spans = np.zeros((len(order), len(names)), dtype=bool)
    spans[order] = np.abs(paths.evaluate(q)[1]).max(axis=0) > 0.0
    moments = np.zeros((len(q), len(names)))
    # Where lengthening speeds are not OpenSim's moment arms (a muscle around two cylinders), an expert would know.
    poser.compare = True
    poser.measure_all(q[:8], names, spans)
    poser.compare = False
    start = time.process_time()
    for frame in range(len(q)):
        _, _, arms = poser.measure_all(q[frame : frame + 1], names, spans)
        for name, speed in zip(names, qdot[frame].tolist(), strict=True):
            poser._move(poser.free[name], speed)
        for muscle, a in zip(muscles, activation[frame].tolist(), strict=True):
            muscle.setActivation(poser.state, a)
        poser.model.realizeDynamics(poser.state)
        forces = np.array([muscle.getActuation(poser.state) for muscle in muscles])
        moments[frame] = forces @ arms[0][order]
        for name in names:
            poser._move(poser.free[name], 0.0)
    return moments, time.process_time() - start


def our_moments(paths: MusclePaths, hill: HillMuscles, q, qdot, activation):  # type: ignore[no-untyped-def]
    """Return the moments of every frame, from numpy arrays or tensors."""
    lengths, arms = paths.evaluate(q)
    force = hill.rigid_force(activation, lengths, paths.velocities(arms, qdot))
    return (arms * force[..., None]).sum(-2)


def median_seconds(work: Callable[[], object], repeat: int) -> float:
    """Return the median of several measurements, after one that does not count."""
    work()
    measured = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        measured.append(time.process_time() - start)
    return statistics.median(measured)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--opensim-frames", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", type=Path, default=default_model())
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    model = read_model(options.model)
    # Rajagopal's knee flexes in the positive direction.
    paths = fit_paths(options.model, walking_ranges(model, 1 if "vasint_r" in model.muscles else -1))
    hill = HillMuscles.from_model(model, paths.muscles)
    rng = np.random.default_rng(0)
    q = rng.uniform(paths.ranges[:, 0], paths.ranges[:, 1], (options.frames, len(paths.coordinates)))
    qdot = rng.normal(scale=1.0, size=q.shape)
    activation = rng.uniform(0.02, 0.8, (options.frames, len(paths.muscles)))

    part = slice(options.opensim_frames)
    theirs, seconds = opensim_moments(options.model, paths, q[part], qdot[part], activation[part])
    experts, expert_seconds = expert_moments(options.model, paths, q[part], qdot[part], activation[part])
    per_frame = expert_seconds / len(theirs)
    ours = our_moments(paths, hill, q, qdot, activation)
    error = np.sqrt(np.mean((ours[part] - experts) ** 2, axis=0)) / np.abs(experts).max(axis=0)
    tensors = [torch.as_tensor(array) for array in (q, qdot, activation)]
    in_torch = hill.to_torch()

    def with_gradient() -> None:
        inputs = [tensor.clone().requires_grad_() for tensor in tensors]
        our_moments(paths, in_torch, *inputs).sum().backward()

    print(f"{options.model.name}: {len(paths.muscles)} muscles, {len(paths.coordinates)} coordinates, 1 thread")
    print(f"{'':<44}{'us per frame':>14}{'times the expert':>18}")
    common = 1e6 * seconds / len(theirs)
    print(f"{'OpenSim, assemble and computeMomentArm':<44}{common:14.1f}{expert_seconds / seconds:18.3f}")
    print(f"{f'OpenSim, as an expert ({len(theirs)} frames)':<44}{1e6 * per_frame:14.1f}{1.0:18.0f}")
    for name, work in (
        ("numpy", lambda: our_moments(paths, hill, q, qdot, activation)),
        ("torch", lambda: our_moments(paths, in_torch, *tensors)),
        ("torch with gradient", with_gradient),
    ):
        mine = median_seconds(work, options.repeat) / options.frames
        print(f"{f'{name} ({options.frames} frames)':<44}{1e6 * mine:14.1f}{per_frame / mine:18.0f}")
    average, most = 100 * error.mean(), 100 * error.max()
    expert_error = np.abs(experts - theirs).max() / np.abs(theirs).max()
    print(f"OpenSim's two ways differ by at most {100 * expert_error:.2g} % of the largest moment")
    print("(the first leaves what follows a coordinate, such as a patella, at rest)")
    print(f"our moments differ from the expert's by {average:.2f} % of their peak (RMS, mean), at most {most:.2f} %")


if __name__ == "__main__":
    main()
