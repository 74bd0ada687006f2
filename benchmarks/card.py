"""Everything that a graphics card could be good for here, in one run of a few minutes; beside it, the same card used
plainly, and the processor.

    python benchmarks/card.py [--device cuda] [--networks 160] [--hidden 700] [--seconds 30]
    python benchmarks/card.py --small        # on a processor, in some seconds: that it still runs

Three tables, each with its ratio in the same run:

1. STDR-Net at the paper's size: a training step of many networks computed together, per network, against the obvious
   loop (decoder and attention step by step, default Adam, one network after the other) on the same device.
2. MJCA-BiGRU at the paper's size: a training step per labelled frame, all frames of a window and the last one only, on
   the device and on one thread of the processor.
3. Forces of 24 rigid-tendon muscles over many frames with their gradient, on the device and by numpy on the processor
   (without a gradient).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from network_training import made_up, obvious

from opensim_nem2e.methods.mjca_bigru.forward import Architecture
from opensim_nem2e.methods.mjca_bigru.moment_options import SIZES
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.storage import read_model
from opensim_nem2e.training.schedule import TrainingStep
from opensim_nem2e.training.task import ModuleSpec, Task, TrainingSettings
from opensim_nem2e.training.together import measure
from opensim_nem2e.training.trainer import Training

WALKER = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking" / "walker.osim"


def milliseconds(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Time some work until a while has passed: the lower quartile of wall time, the device's queue emptied."""

    def once() -> float:
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    once()
    once()
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 3:
        times.append(once())
    return statistics.quantiles(times, n=4)[0] * 1e3


def stdr_net(device: torch.device, networks: int, hidden: int, seconds: float) -> None:
    """Compare networks computed together with the obvious loop on the same device."""
    print(f"\nSTDR-Net, hidden {hidden}, batch size 1, up to {networks} networks: ms per step and network")
    print(f"{'condition':<12}{'':<16}{'obvious loop':>13}{'alone':>9}{'together':>10}{'at once':>9}{'ratio':>9}")
    for condition, variant, inputs in (("One-Entire", "temporal", 1), ("All-Entire", "spatial", 40)):
        for forcing, words in ((1.0, "teacher-forced"), (0.0, "free-running")):
            tasks = [made_up(variant, inputs, hidden, 1, forcing, seed) for seed in range(networks)]
            speed = measure(tasks, device)
            plain = milliseconds(obvious(tasks[0], False, device), device, seconds)
            print(
                f"{condition:<12}{words:<16}{plain:>13.2f}{1e3 * speed.alone:>9.2f}{1e3 * speed.together:>10.3f}"
                f"{speed.places:>9d}{plain / (1e3 * speed.together):>8.1f}x",
                flush=True,
            )


def mjca_bigru(device: torch.device, size: str, batch: int, seconds: float) -> None:
    """Compare a training step per labelled frame: every frame of the window, the last one, device and processor."""
    print(f"\nMJCA-BiGRU, size {size}, batches of {batch} windows of 100 samples: ms per labelled frame")
    print(f"{'labels':<24}{'processor':>11}{device!s:>11}{'ratio':>9}")
    random = np.random.default_rng(0)
    for words, before, after in (("all frames of a window", 10, 10), ("the last frame", 99, 0)):
        shape = Architecture("mjca_bigru", 3, 2, 3, 3, samples=100, before=before, after=after, **SIZES[size])
        frames = 100 - before - after
        data = {
            "x": random.normal(size=(batch, 100, 3, 2)),
            "conditions": random.normal(size=(batch, 3)),
            "y": random.normal(size=(batch, frames, 3)),
            "known": np.ones((batch, 3)),
        }
        module = ModuleSpec("opensim_nem2e.methods.mjca_bigru.net:MomentNet", {"architecture": shape.described()})
        task = Task(module, TrainingSettings(batch_size=batch), data)

        def step_on(where: torch.device, task: Task = task) -> float:
            training, rows = Training(task, where), torch.arange(batch)
            return milliseconds(lambda: training.step(TrainingStep(rows, 0.5)), where, seconds)

        plain, there = (step_on(where) / (batch * frames) for where in (torch.device("cpu"), device))
        print(f"{words:<24}{plain:>11.4f}{there:>11.4f}{plain / there:>8.1f}x", flush=True)


def muscle_forces(device: torch.device, frames: int, seconds: float) -> None:
    """Compare forces of rigid-tendon muscles with gradient on the device, and without by numpy."""
    hill = HillMuscles.from_model(read_model(WALKER))
    random = np.random.default_rng(0)
    shape = (frames, len(hill.names))
    length = hill.tendon_slack_length + hill.optimal_fiber_length * random.uniform(0.7, 1.2, shape)
    velocity, activation = random.uniform(-0.2, 0.2, shape), random.uniform(0.02, 1.0, shape)
    numpy_ms = milliseconds(lambda: hill.rigid_force(activation, length, velocity), torch.device("cpu"), seconds)
    there = hill.to_torch(torch.float32, device)
    inputs = [torch.as_tensor(values, dtype=torch.float32, device=device) for values in (activation, length, velocity)]
    inputs[0].requires_grad_()

    def step() -> None:
        inputs[0].grad = None
        there.rigid_force(*inputs).sum().backward()

    ms = milliseconds(step, device, seconds)
    print(f"\nForces of {shape[1]} muscles, {frames} frames: ms")
    print(f"numpy, one thread, no gradient {numpy_ms:.2f}; {device}, with gradient {ms:.2f}: {numpy_ms / ms:.1f}x")


def main() -> None:
    """Measure and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--networks", type=int, default=160)
    parser.add_argument("--hidden", type=int, default=700)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each of about twelve measurements")
    parser.add_argument("--small", action="store_true", help="small networks, some seconds on a processor")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor, 1 thread"
    print(f"{device}: {name}; PyTorch {torch.__version__}")
    if options.small:
        stdr_net(device, 2, 4, 0.0)
        mjca_bigru(device, "small", 1, 0.0)
        muscle_forces(device, 200, 0.0)
        return
    stdr_net(device, options.networks, options.hidden, options.seconds)
    mjca_bigru(device, "paper", 32, options.seconds)
    muscle_forces(device, 100_000, options.seconds)


if __name__ == "__main__":
    main()
