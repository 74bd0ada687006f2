"""What training many networks together gains, on a graphics card if there is one, otherwise on one processor core.

    python benchmarks/stacked_training.py [--device auto] [--hidden 700] [--networks 1 8 40 160] [--batch 1]
                                          [--muscles 40] [--seconds 10]

Measured in one run: the obvious loop (step by step, default Adam, one network after the other) and networks together
(opensim_nem2e.training.stacked), on the same device, each with its whole training step, reading data and losses
included; and the device's memory bandwidth by a large copy. The bound is what a step must move if all weights stream
from memory: each recurrent matrix once per time step forward and backward, the others once each, and seven times all
weights for Adam; small networks fit the caches and can be faster. The hours are those of one of the three conditions
of the paper's study: a third of 600 networks x 700 epochs x 28 to 36 windows.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from network_training import SAMPLES, obvious_forward

from opensim_nem2e.networks.conditions import Variant
from opensim_nem2e.networks.forward import weight_shapes
from opensim_nem2e.networks.stdr_net import STDRNet
from opensim_nem2e.training.settings import Task, TrainingSettings
from opensim_nem2e.training.stacked import Stack

#: Steps of the networks of one condition at batch size 1: 14.4 million for the three.
STUDY = 4.8e6
WINDOWS = 32


def wait(device: str) -> None:
    """Let the device finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def bandwidth(device: str) -> float:
    """Measure the memory bandwidth by copying: bytes read and written per second."""
    size = 2**30 if device == "cuda" else 2**28
    one, other = torch.ones(size // 4, device=device), torch.zeros(size // 4, device=device)
    times = []
    for _ in range(8):
        wait(device)
        begun = time.perf_counter()
        other.copy_(one)
        wait(device)
        times.append(time.perf_counter() - begun)
    return 2 * size / statistics.median(times)


def bytes_per_step(variant: Variant, inputs: int, hidden: int) -> float:
    """Count what one step of one network must move."""
    shapes = weight_shapes(variant, inputs, SAMPLES, hidden, "general")
    numbers = {name: float(np.prod(shape)) for name, shape in shapes.items()}
    steps = {"encoder": inputs if variant == "spatial" else SAMPLES, "decoder": SAMPLES}
    recurrent = sum(2 * steps[part] * numbers[f"{part}.weight_hh_l0"] for part in steps)
    once = 2 * sum(value for name, value in numbers.items() if "weight_hh" not in name)
    return 4 * (recurrent + once + 7 * sum(numbers.values()))


def obvious_rate(task: Task, device: str, seconds: float) -> float:
    """Train one network as a first reading of the paper would: steps per second."""
    settings = task.settings
    net = STDRNet(task.variant, task.x.shape[2], SAMPLES, settings.hidden).to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
    x, y = (torch.from_numpy(values).to(device) for values in (task.x, task.y))

    def step(k: int) -> None:
        rows = slice(k % WINDOWS, k % WINDOWS + settings.batch_size)
        loss = torch.nn.functional.mse_loss(obvious_forward(net, x[rows], y[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()

    return rate(step, device, seconds)


def stacked_rate(tasks: list[Task], device: str, seconds: float) -> float:
    """Train networks together: steps per second, of all of them."""
    stack = Stack(tasks[0], len(tasks), device)
    for k, task in enumerate(tasks):
        stack.add(k, task)
    return len(tasks) * rate(lambda k: stack.advance(), device, seconds)


def rate(step, device: str, seconds: float) -> float:  # type: ignore[no-untyped-def]
    """Count steps for some time, after a few that set things up."""
    for k in range(3):
        step(k)
    wait(device)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or done < 3:
        step(done)
        done += 1
    wait(device)
    return done / (time.perf_counter() - begun)


def made_up(variant: Variant, inputs: int, hidden: int, batch: int, seed: int) -> Task:
    """Make a training of the paper's size that would take for ever."""
    random = np.random.default_rng(seed)
    x, y = random.random((WINDOWS, SAMPLES, inputs)), random.random((WINDOWS, SAMPLES))
    settings = TrainingSettings(hidden=hidden, batch_size=batch, epochs=10**9, seed=seed)
    return Task(variant, settings, x.astype(np.float32), y.astype(np.float32))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--hidden", type=int, nargs="+")
    parser.add_argument("--networks", type=int, nargs="+")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--muscles", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    device = given.device if given.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    speed = bandwidth(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "one processor core (no graphics card is used)"
    print(f"On {name}: copies {speed / 1e9:.0f} GB/s; PyTorch {torch.__version__}; batch size {given.batch}")
    print(
        f"{'hidden':>6}  {'condition':<11}{'networks':>9}{'obvious loop':>14}{'together':>12}{'gain':>8}"
        f"{'of the bound':>14}{'hours for the study':>21}"
    )
    for hidden in given.hidden or ([700] if device == "cuda" else [16, 64, 700]):
        for condition, variant, inputs in (("One-Entire", "temporal", 1), ("All-Entire", "spatial", given.muscles)):
            first = made_up(variant, inputs, hidden, given.batch, 0)  # type: ignore[arg-type]
            obvious = obvious_rate(first, device, given.seconds)
            bound = speed / bytes_per_step(variant, inputs, hidden)  # type: ignore[arg-type]
            for count in given.networks or ([8, 40, 160] if device == "cuda" else [1, 4, 16]):
                tasks = [made_up(variant, inputs, hidden, given.batch, k) for k in range(count)]  # type: ignore[arg-type]
                together = stacked_rate(tasks, device, given.seconds)
                hours = STUDY / given.batch / together / 3600
                print(
                    f"{hidden:>6}  {condition:<11}{count:>9}{obvious:>12.1f}/s{together:>10.1f}/s"
                    f"{together / obvious:>7.1f}x{together / bound:>13.2f}x{hours:>21.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
