"""How long one frame of a live motion takes: activations and forces of a leg, with joint moments found in four ways.

    python benchmarks/streaming.py [--model M --motion F --loads L --coordinates C ...] [--frames 1000] ...

The shipped walk by default (12 muscles, 3 coordinates), which needs no other data. Every frame is one call of
``StreamingPredictor.step``, all in: the smoothed coordinates and speeds, joint moments, muscle paths, forces and the
program. The joint moments come

* given: with the frame, as from force plates;
* kernel: by kernel ridge regression on the motion so far, about 1500 frames kept (the most there can be);
* mlp, mjca_bigru: by such a network on the motion so far (the small one of its kind, of untrained weights, which take
  as long as trained ones).

Wall time is what a device waits. On a machine with other work it counts the neighbours, too, and so to a lesser degree
does processor time; the least processor time that each frame took in several rounds is what the program itself needs.
Memory: what is allocated within a frame at its peak, and what stays of a frame on average.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np

from opensim_nem2e.data.leg_kinematics import LegCoordinates, LegTrial, leg_samples, leg_trial_of
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.estimates.static_optimization import read_motion
from opensim_nem2e.estimates.streaming import StreamingPredictor, load
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.mjca_bigru.method import PART, MJCABiGRUMethod, MomentNetwork, Windowing
from opensim_nem2e.methods.mjca_bigru.moment_options import MJCAOptions
from opensim_nem2e.storage.osim import read_model

WALK = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
SHARES = (50, 99)
CENTERS = 1500


def learned(trial: LegTrial, joints: tuple[str, ...], architecture: str) -> MomentNetwork:
    """Learn the moments of one trial, for use while a motion goes on."""
    whole = CycleRecord("d", "s", "t", "1", "walk", None, "r", None, None, "", None, 0.0, *trial.time[[0, -1]], None, 1)
    # So many windows that the kernel keeps as many frames as it can.
    step = float(np.ptp(trial.time)) / (CENTERS + 200) if architecture == "kernel" else 0.01
    options = MJCAOptions(architecture=architecture, frames="last", sampling_step=step, epochs=1)
    windows = Windowing.of(architecture, options)
    around = (windows.before * windows.step, windows.after * windows.step)
    samples = leg_samples([(trial, [whole])], windows.cut(), *around, joints, joints)
    plan = MJCABiGRUMethod().plan(samples, PART, None, options, RunSettings())
    if plan.task is None:
        return plan.finish(None)
    # Only here: a device that learned nothing itself does not import PyTorch.
    from opensim_nem2e.training.trainer import train_task

    return plan.finish(train_task(plan.task))


def measure(predictor: StreamingPredictor, frames: list[tuple], rounds: int) -> str:
    """Take the frames one by one, several times over."""
    wall, own = [], []
    for _ in range(rounds + 1):
        predictor.reset()
        for frame in frames:
            begun, used = time.perf_counter(), time.thread_time()
            predictor.step(*frame)
            own.append(time.thread_time() - used)
            wall.append(time.perf_counter() - begun)
    # The first round warms up.
    wall, own = (1e3 * np.array(values[len(frames) :]).reshape(rounds, -1) for values in (wall, own))
    tracemalloc.start()
    predictor.reset()
    peaks = np.zeros(len(frames))
    for number, frame in enumerate(frames):
        if number == len(frames) // 4:
            settled, _ = tracemalloc.get_traced_memory()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        predictor.step(*frame)
        peaks[number] = tracemalloc.get_traced_memory()[1] - before
    kept = (tracemalloc.get_traced_memory()[0] - settled) / (len(frames) - len(frames) // 4)
    tracemalloc.stop()
    cells = [f"{np.percentile(values, share):8.3f}" for values in (wall, own, own.min(axis=0)) for share in SHARES]
    return f"{' '.join(cells)} {np.median(peaks) / 1e3:8.1f} {kept:8.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=WALK / "walker.osim")
    parser.add_argument("--motion", type=Path, default=WALK / "walking_coordinates.mot")
    parser.add_argument("--loads", type=Path, default=WALK / "external_loads.xml")
    parser.add_argument("--coordinates", nargs="+", default=["hip_flexion_r", "knee_angle_r", "ankle_angle_r"])
    parser.add_argument("--side", default="r")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=1000, help="at most so many frames of the motion")
    given = parser.parse_args()
    model = read_model(given.model)
    motion = read_motion(model, given.motion, given.loads)
    trial = leg_trial_of(motion, model, given.side)
    names = {own: channel for channel, own in LegCoordinates.of(model, given.side).names.items()}
    joints = tuple(names[name] for name in given.coordinates)
    title = " ".join(
        f"{name:>8s}" for name in ("wall p50", "p99", "cpu p50", "p99", "own p50", "p99", "peak kB", "kept B")
    )
    for source in ("given", "kernel", "mlp", "mjca_bigru"):
        network = None if source == "given" else learned(trial, joints, source)
        predictor = load(network, model, coordinates=given.coordinates, motion_file=given.motion)
        if network is None:
            print(f"{len(predictor.muscles)} muscles, {len(joints)} coordinates; ms per frame")
            print(f"{'moments':12s} {title}", flush=True)
        angles = motion.q[:, motion.columns(predictor.coordinates)]
        torques = motion.torques[:, motion.columns(predictor.torque_coordinates)]
        told = [torques] if network is None else []
        frames = list(zip(motion.time.tolist(), angles, *told, strict=True))[: given.frames]
        print(f"{source:12s} {measure(predictor, frames, given.rounds)}", flush=True)


if __name__ == "__main__":
    main()
