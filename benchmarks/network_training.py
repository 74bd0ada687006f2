"""What one training step of STDR-Net costs: the trainer beside the obvious loop, and networks together or one by one.

    python benchmarks/network_training.py [--hidden 16 64 256 700] [--batch 1] [--muscles 40] [--seconds 5]
        [--networks 8] [--device cpu]

First table, on one thread of the processor: the obvious loop calls the decoder LSTM and the attention once per sample
and uses PyTorch's default Adam; the mathematics is the same (tests/training/test_trainer.py compares the weights after
50 steps). "fused Adam": what that alone gains. Batch size 1, as in the paper. Second table, on the device: a step of a
network trained alone, and its share of a step of many that are computed together; the trainer makes the same
measurement to choose.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from opensim_nem2e.methods.stdr.forward import Variant
from opensim_nem2e.methods.stdr.method import module_of
from opensim_nem2e.methods.stdr.net import STDRNet
from opensim_nem2e.training.schedule import TrainingStep
from opensim_nem2e.training.task import Task, TrainingSettings
from opensim_nem2e.training.together import measure
from opensim_nem2e.training.trainer import Training

SAMPLES = 20


def made_up(variant: Variant, inputs: int, hidden: int, batch: int, teacher_forcing: float, seed: int = 0) -> Task:
    """Make a training of random numbers: one batch."""
    random = np.random.default_rng(seed)
    data = {
        "x": random.random((batch, SAMPLES, inputs), dtype=np.float32),
        "y": random.random((batch, SAMPLES), dtype=np.float32),
    }
    module = module_of(variant, inputs, SAMPLES, hidden, "general", teacher_forcing)
    return Task(module, TrainingSettings(batch_size=batch, seed=seed), data)


def obvious_forward(net: STDRNet, x: Tensor, target: Tensor | None) -> Tensor:
    """Decode step by step, fed the target or what came out before."""
    memory, state = net.encoder(x.transpose(1, 2) if net.variant == "spatial" else x)
    previous = x.new_zeros(len(x), 1, 1)
    outputs: list[Tensor] = []
    for step in range(net.samples):
        hidden, state = net.decoder(previous, state)
        assert net.attention is not None
        weights = torch.softmax(net.attention(memory) @ hidden.transpose(1, 2), dim=1)
        context = (weights * memory).sum(dim=1, keepdim=True)
        outputs.append(net.output(torch.tanh(net.combine(torch.cat((context, hidden), dim=2)))))
        previous = outputs[-1] if target is None else target[:, step].reshape(-1, 1, 1)
    return torch.cat(outputs, dim=1).squeeze(2)


def obvious(task: Task, fused: bool, device: torch.device | str = "cpu") -> Callable[[], None]:
    """Make a function that does one step of the obvious loop."""
    net: STDRNet = task.module.build().to(device)
    x, y = (torch.from_numpy(task.data[name]).to(device) for name in ("x", "y"))
    target = y if net.teacher_forcing else None
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused or None)

    def step() -> None:
        loss = torch.nn.functional.mse_loss(obvious_forward(net, x, target), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def trainer(task: Task) -> Callable[[], None]:
    """Make a function that does one step as the trainer does."""
    training, rows = Training(task), torch.arange(task.rows)
    return lambda: training.step(TrainingStep(rows, 0.5))


def race(steps: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Take turns, and return the lower quartile of each one's processor time (ms).

    In turns, because the speed of a shared machine changes from minute to minute; processor time and the lower
    quartile, because neighbours take cores away.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    end = time.monotonic() + seconds * len(steps)
    while time.monotonic() < end or min(map(len, times.values())) < 2:
        for name, step in steps.items():
            # The first brings its weights back into the cache.
            step()
            for _ in range(3):
                begun = time.process_time()
                step()
                times[name].append(time.process_time() - begun)
    return {name: statistics.quantiles(values, n=4)[0] * 1e3 for name, values in times.items()}


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 64, 256, 700])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--muscles", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds: tuple[tuple[str, Variant, int], ...] = (
        ("One-Entire", "temporal", 1),
        ("All-Entire", "spatial", options.muscles),
    )
    print(f"ms per step at batch size {options.batch}, 1 thread, PyTorch {torch.__version__}")
    print(f"{'':>6}  {'':<12}{'--- teacher-forced ---':^40}{'--- free-running ---':^40}")
    columns = f"{'obvious loop':>13}{'trainer':>9}{'ratio':>7}{'fused Adam':>11}"
    print(f"{'hidden':>6}  {'condition':<12}{columns}{columns}")
    for hidden in options.hidden:
        for condition, variant, inputs in kinds:
            text = f"{hidden:>6}  {condition:<12}"
            for forcing in (1.0, 0.0):
                task = made_up(variant, inputs, hidden, options.batch, forcing)
                steps = {"obvious": obvious(task, False), "adam": obvious(task, True), "trainer": trainer(task)}
                ms = race(steps, options.seconds)
                text += (
                    f"{ms['obvious']:>13.2f}{ms['trainer']:>9.2f}{ms['obvious'] / ms['trainer']:>6.1f}x"
                    f"{ms['obvious'] / ms['adam']:>10.1f}x"
                )
            print(text, flush=True)
    print(f"\nms per step and network on {options.device}, {options.networks} networks")
    print(f"{'hidden':>6}  {'condition':<12}{'':<16}{'one by one':>11}{'together':>10}{'ratio':>8}")
    for hidden in options.hidden:
        for condition, variant, inputs in kinds:
            for forcing, words in ((1.0, "teacher-forced"), (0.0, "free-running")):
                tasks = [
                    made_up(variant, inputs, hidden, options.batch, forcing, seed) for seed in range(options.networks)
                ]
                speed = measure(tasks, options.device)
                print(
                    f"{hidden:>6}  {condition:<12}{words:<16}{1e3 * speed.alone:>11.2f}{1e3 * speed.together:>10.2f}"
                    f"{speed.alone / speed.together:>7.2f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
