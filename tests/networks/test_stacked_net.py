"""Gradients by hand against autograd, network by network."""

from __future__ import annotations

import pytest
import torch

from opensim_nem2e.networks.stacked_net import Pass, StackedNet
from opensim_nem2e.networks.stdr_net import STDRNet

COUNT, SAMPLES, HIDDEN = 3, 6, 5


def stack_of(variant, inputs, score, dtype):
    torch.manual_seed(0)
    nets = [STDRNet(variant, inputs, SAMPLES, HIDDEN, score).to(dtype) for _ in range(COUNT)]
    stack = StackedNet(variant, inputs, SAMPLES, HIDDEN, score, COUNT, dtype)
    for k, net in enumerate(nets):
        for name, value in net.state_dict().items():
            stack.weights[name][k] = value
    return nets, stack


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("score", ["general", "dot"])
@pytest.mark.parametrize(("variant", "inputs"), [("temporal", 1), ("temporal", 3), ("spatial", 7)])
def test_gradients_equal_autograd(variant, inputs, score, free, batch, dtype, tolerance):
    nets, stack = stack_of(variant, inputs, score, dtype)
    run = Pass(stack, batch, free=free)
    # Where some may run free, one is forced; the last has a window less than the others.
    forced = [False, True, False] if free else [True] * COUNT
    for _ in range(2):
        sizes = [batch, batch, max(1, batch - 1)]
        windows = [(torch.rand(n, SAMPLES, inputs, dtype=dtype), torch.rand(n, SAMPLES, dtype=dtype)) for n in sizes]
        for k, (x, target) in enumerate(windows):
            run.fill(k, x, target)
            run.forced[k] = float(forced[k])
        run.forward()
        run.backward()
        for k, (net, (x, target)) in enumerate(zip(nets, windows, strict=True)):
            y, _ = net(x, target if forced[k] else None)
            loss = torch.nn.functional.mse_loss(y, target)
            net.zero_grad()
            loss.backward()
            torch.testing.assert_close(run.y[k, : sizes[k]], y, rtol=0, atol=tolerance)
            torch.testing.assert_close(run.loss[k], loss, rtol=0, atol=tolerance)
            for name, weight in net.named_parameters():
                gradient = stack.gradients[name][k]
                torch.testing.assert_close(gradient, weight.grad, rtol=0, atol=tolerance, msg=f"{name} of {k}")


def test_estimates_without_learning():
    nets, stack = stack_of("temporal", 1, "general", torch.float64)
    run = Pass(stack, 2, learns=False, free=True)
    x, target = torch.rand(2, SAMPLES, 1, dtype=torch.float64), torch.rand(2, SAMPLES, dtype=torch.float64)
    for k in range(COUNT):
        run.fill(k, x, target)
    run.forward()
    for k, net in enumerate(nets):
        torch.testing.assert_close(run.y[k], net(x)[0], rtol=0, atol=1e-13)


def test_rows_hold_all_weights_and_nothing_else():
    _, stack = stack_of("spatial", 3, "general", torch.float64)
    stack.flat.zero_()
    for value in stack.weights.values():
        value += 1
    assert stack.flat.sum() == COUNT * sum(value[0].numel() for value in stack.weights.values())
    parts = stack.split(torch.arange(stack.flat.shape[1]))
    assert all(int(part.flatten()[0]) % 16 == 0 for part in parts.values())
    assert {name: part.shape for name, part in parts.items()} == {
        name: value.shape[1:] for name, value in stack.weights.items()
    }
