"""What one training step costs: the engine beside the obvious loop, in one run on one thread.

    python benchmarks/network_training.py [--hidden 64 700] [--muscles 40] [--seconds 5]

The obvious loop calls the decoder LSTM and the attention once per sample and uses PyTorch's default Adam; the
mathematics is the same (tests/training/test_engine.py compares the weights after 50 steps). Batch size 1, as in the
paper.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from opensim_nem2e.networks.stdr_net import STDRNet

SAMPLES = 20


def obvious_forward(net: STDRNet, x: Tensor, target: Tensor) -> Tensor:
    """Decode step by step under teacher forcing."""
    memory, state = net.encoder(x.transpose(1, 2) if net.variant == "spatial" else x)
    previous = x.new_zeros(1, 1, 1)
    outputs = []
    for step in range(net.samples):
        hidden, state = net.decoder(previous, state)
        assert net.attention is not None
        weights = torch.softmax(net.attention(memory) @ hidden.transpose(1, 2), dim=1)
        context = (weights * memory).sum(dim=1, keepdim=True)
        outputs.append(net.output(torch.tanh(net.combine(torch.cat((context, hidden), dim=2)))))
        previous = target[:, step].reshape(1, 1, 1)
    return torch.cat(outputs, dim=1).squeeze(2)


def milliseconds(step: Callable[[], None], seconds: float) -> float:
    """Return the median time of a step."""
    step()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def stepper(net: STDRNet, forward: Callable[[], Tensor], y: Tensor, fused: bool) -> Callable[[], None]:
    """Make a function that does one training step."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused or None)

    def step() -> None:
        loss = torch.nn.functional.mse_loss(forward(), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 700])
    parser.add_argument("--muscles", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"ms per step at batch size 1, 1 thread, PyTorch {torch.__version__}")
    print(f"{'hidden':>6}  {'condition':<12}{'obvious loop':>14}{'engine':>10}{'ratio':>8}{'free-running':>14}")
    for hidden in options.hidden:
        for condition, variant, inputs in (("One-Entire", "temporal", 1), ("All-Entire", "spatial", options.muscles)):
            torch.manual_seed(0)
            net = STDRNet(variant, inputs, SAMPLES, hidden)  # type: ignore[arg-type]
            x, y = torch.rand(1, SAMPLES, inputs), torch.rand(1, SAMPLES)

            def obvious(net: STDRNet = net, x: Tensor = x, y: Tensor = y) -> Tensor:
                return obvious_forward(net, x, y)

            def forced(net: STDRNet = net, x: Tensor = x, y: Tensor = y) -> Tensor:
                return net(x, y)[0]

            def free(net: STDRNet = net, x: Tensor = x) -> Tensor:
                return net(x)[0]

            slow = milliseconds(stepper(net, obvious, y, fused=False), options.seconds)
            fast = milliseconds(stepper(net, forced, y, fused=True), options.seconds)
            loose = milliseconds(stepper(net, free, y, fused=True), options.seconds)
            print(f"{hidden:>6}  {condition:<12}{slow:>14.1f}{fast:>10.1f}{slow / fast:>8.1f}{loose:>14.1f}")


if __name__ == "__main__":
    main()
