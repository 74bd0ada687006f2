"""What one training step costs: the engine beside the obvious loop, in one run on one thread.

    python benchmarks/network_training.py [--hidden 64 128 256 700] [--batch 1] [--muscles 40] [--seconds 5]

The obvious loop calls the decoder LSTM and the attention once per sample and uses PyTorch's default Adam; the
mathematics is the same (tests/training/test_engine.py compares the weights after 50 steps). Batch size 1, as in the
paper. "fused Adam": what that alone gains. Free-running: autograd through the decoder's cells against gradients by
hand (opensim_nem2e.methods.stacked_net), both with fused Adam.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from opensim_nem2e.methods.stacked_net import Pass, StackedNet
from torch import Tensor

from opensim_nem2e.methods.stdr.net import STDRNet
from opensim_nem2e.training.task import TrainingSettings
from opensim_nem2e.training.trainer import adam_step

SAMPLES = 20


def obvious_forward(net: STDRNet, x: Tensor, target: Tensor) -> Tensor:
    """Decode step by step under teacher forcing."""
    memory, state = net.encoder(x.transpose(1, 2) if net.variant == "spatial" else x)
    previous = x.new_zeros(len(x), 1, 1)
    outputs = []
    for step in range(net.samples):
        hidden, state = net.decoder(previous, state)
        assert net.attention is not None
        weights = torch.softmax(net.attention(memory) @ hidden.transpose(1, 2), dim=1)
        context = (weights * memory).sum(dim=1, keepdim=True)
        outputs.append(net.output(torch.tanh(net.combine(torch.cat((context, hidden), dim=2)))))
        previous = target[:, step].reshape(-1, 1, 1)
    return torch.cat(outputs, dim=1).squeeze(2)


def race(steps: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Take turns, and return the lower quartile of each one's processor time (ms).

    In turns, because the speed of a shared machine changes from minute to minute; processor time and the lower
    quartile, because neighbours take cores away.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    end = time.monotonic() + seconds * len(steps)
    while time.monotonic() < end:
        for name, step in steps.items():
            # The first brings its weights back into the cache.
            step()
            for _ in range(3):
                begun = time.process_time()
                step()
                times[name].append(time.process_time() - begun)
    return {name: statistics.quantiles(values, n=4)[0] * 1e3 for name, values in times.items()}


def stepper(net: STDRNet, forward: Callable[[], Tensor], y: Tensor, fused: bool) -> Callable[[], None]:
    """Make a function that does one training step by autograd."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused or None)

    def step() -> None:
        loss = torch.nn.functional.mse_loss(forward(), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def by_hand(net: STDRNet, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Make a function that does one free-running training step as the engine does."""
    stack = StackedNet(net.variant, net.inputs, net.samples, net.hidden, net.score)
    for name, value in net.state_dict().items():
        stack.weights[name][0] = value
    run = Pass(stack, x.shape[0], free=True)
    run.fill(0, x, y)
    weights, gradients = ([rows[name][0] for name in stack.weights] for rows in (stack.weights, stack.gradients))
    means, squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    steps = [torch.zeros(()) for _ in weights]

    def step() -> None:
        run.forward()
        run.backward()
        adam_step(weights, gradients, means, squares, steps, TrainingSettings())

    return step


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 128, 256, 700])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--muscles", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"ms per step at batch size {options.batch}, 1 thread, PyTorch {torch.__version__}")
    print(f"{'':>6}  {'':<12}{'--- teacher forced ---':^38}{'--- free-running ---':^34}")
    print(
        f"{'hidden':>6}  {'condition':<12}{'obvious loop':>13}{'engine':>9}{'ratio':>7}{'fused Adam':>11}"
        f"{'autograd':>12}{'engine':>9}{'ratio':>7}"
    )
    for hidden in options.hidden:
        for condition, variant, inputs in (("One-Entire", "temporal", 1), ("All-Entire", "spatial", options.muscles)):
            torch.manual_seed(0)
            net = STDRNet(variant, inputs, SAMPLES, hidden)  # type: ignore[arg-type]
            x, y = torch.rand(options.batch, SAMPLES, inputs), torch.rand(options.batch, SAMPLES)

            def obvious(net: STDRNet = net, x: Tensor = x, y: Tensor = y) -> Tensor:
                return obvious_forward(net, x, y)

            def forced(net: STDRNet = net, x: Tensor = x, y: Tensor = y) -> Tensor:
                return net(x, y)[0]

            def free(net: STDRNet = net, x: Tensor = x) -> Tensor:
                return net(x)[0]

            ms = race(
                {
                    "obvious": stepper(net, obvious, y, fused=False),
                    "engine": stepper(net, forced, y, fused=True),
                    "adam": stepper(net, obvious, y, fused=True),
                    "autograd": stepper(net, free, y, fused=True),
                    "by hand": by_hand(net, x, y),
                },
                options.seconds,
            )
            print(
                f"{hidden:>6}  {condition:<12}{ms['obvious']:>13.2f}{ms['engine']:>9.2f}"
                f"{ms['obvious'] / ms['engine']:>6.1f}x{ms['obvious'] / ms['adam']:>10.1f}x"
                f"{ms['autograd']:>12.2f}{ms['by hand']:>9.2f}{ms['autograd'] / ms['by hand']:>6.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
