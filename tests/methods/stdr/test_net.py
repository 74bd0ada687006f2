"""The training network against Luong's equations written out step by step, and the NumPy twin against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_tasks import stdr_task

from opensim_nem2e.data.cycle_view import cycle_samples, join_cycle, split_cycle
from opensim_nem2e.methods.stdr.forward import run_free, weight_shapes
from opensim_nem2e.methods.stdr.net import STDRNet
from opensim_nem2e.training.trainer import train_task

VARIANTS = [("temporal", 1), ("temporal", 3), ("spatial", 7)]


def step_by_step(net: STDRNet, x: torch.Tensor, target: torch.Tensor | None):
    """The obvious loop: cell equations by hand, one sequence and one step at a time."""

    def cell(lstm, value, h, c):
        gates = value @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    ys, attentions = [], []
    for n in range(x.shape[0]):
        sequence = x[n].T if net.variant == "spatial" else x[n]
        h = c = x.new_zeros(net.hidden)
        memory = []
        for value in sequence:
            h, c = cell(net.encoder, value, h, c)
            memory.append(h)
        previous = x.new_zeros(1)
        y, attention = [], []
        for s in range(net.samples):
            h, c = cell(net.decoder, previous, h, c)
            scores = []
            for e in memory:
                scores.append(h @ e if net.attention is None else h @ (net.attention.weight @ e))
            a = torch.softmax(torch.stack(scores), 0)
            context = sum(weight * e for weight, e in zip(a, memory, strict=True))
            out = net.output.weight @ torch.tanh(net.combine.weight @ torch.cat((context, h)))
            previous = out if target is None else target[n, s : s + 1]
            y.append(out)
            attention.append(a)
        ys.append(torch.cat(y))
        attentions.append(torch.stack(attention))
    return torch.stack(ys), torch.stack(attentions)


@pytest.mark.parametrize("score", ["dot", "general"])
@pytest.mark.parametrize(("variant", "inputs"), VARIANTS)
@pytest.mark.parametrize("forced", [True, False])
def test_equals_the_step_by_step_equations_with_gradients(variant, inputs, score, forced):
    torch.manual_seed(0)
    net = STDRNet(variant, inputs, samples=6, hidden=5, score=score).double()
    x = torch.rand(3, 6, inputs, dtype=torch.float64)
    target = torch.rand(3, 6, dtype=torch.float64)
    given = target if forced else None

    y, attention = net(x, given)
    ((y - target) ** 2).mean().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    y_loop, attention_loop = step_by_step(net, x, given)
    ((y_loop - target) ** 2).mean().backward()

    torch.testing.assert_close(y, y_loop, rtol=0, atol=1e-13)
    torch.testing.assert_close(attention, attention_loop, rtol=0, atol=1e-13)
    for (name, parameter), gradient in zip(net.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-9, atol=1e-13, msg=name)
    torch.testing.assert_close(attention.sum(2), torch.ones(3, 6, dtype=torch.float64))


def test_free_running_is_teacher_forcing_on_its_own_output():
    torch.manual_seed(1)
    net = STDRNet("temporal", samples=20, hidden=8).double()
    x = torch.rand(2, 20, 1, dtype=torch.float64)
    free, _ = net(x)
    forced, _ = net(x, free)
    torch.testing.assert_close(free, forced)


def test_size_of_the_papers_network():
    """5.41 million parameters at hidden 700, the number the encoder-decoder of section 3.2.1 comes to."""
    assert sum(p.numel() for p in STDRNet("temporal").parameters()) == 5_407_500


@pytest.mark.parametrize("score", ["dot", "general"])
@pytest.mark.parametrize(("variant", "inputs"), VARIANTS)
@pytest.mark.parametrize("hidden", [1, 2, 33, 700])
@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_numpy_twin(variant, inputs, score, hidden, gain):
    torch.manual_seed(hidden)
    net = STDRNet(variant, inputs, hidden=hidden, score=score)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(gain if hidden < 700 else 1.0)
        x = torch.rand(4, 20, inputs)
        y, attention = net(x)
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == weight_shapes(variant, inputs, 20, hidden, score)
    y_twin, attention_twin = run_free(weights, x.numpy(), variant)
    assert y_twin.dtype == np.float32
    np.testing.assert_allclose(y_twin, y.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(attention_twin, attention.numpy(), rtol=0, atol=1e-5)


def test_numpy_twin_of_a_trained_network():
    torch.manual_seed(3)
    net = STDRNet("temporal", hidden=24)
    x = torch.rand(12, 20, 1)
    target = torch.roll(x[:, :, 0], 2, 1) * 0.8
    task = stdr_task("temporal", x.numpy(), target.numpy(), hidden=24, epochs=150, batch_size=12, learning_rate=1e-2)
    weights = train_task(task).weights
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    with torch.no_grad():
        y, attention = net(x)
    y_twin, attention_twin = run_free(weights, x.numpy(), "temporal")
    np.testing.assert_allclose(y_twin, y.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(attention_twin, attention.numpy(), rtol=0, atol=1e-5)


def test_quarters_share_their_borders_and_join_again():
    assert cycle_samples("One-Quarter") == 77
    assert cycle_samples("One-Entire") == 20
    cycles = np.random.default_rng(0).random((3, 77))
    windows = split_cycle(cycles, "One-Quarter")
    assert windows.shape == (12, 20)
    np.testing.assert_array_equal(windows[1], cycles[0, 19:39])
    np.testing.assert_allclose(join_cycle(windows, "One-Quarter"), cycles, rtol=1e-15)
    # Two quarters that disagree at their border meet halfway.
    windows[0, -1] += 0.2
    assert join_cycle(windows, "One-Quarter")[0, 19] == pytest.approx(cycles[0, 19] + 0.1)
    # What has further dimensions (attention weights) is joined in the same way.
    further = np.random.default_rng(1).random((12, 20, 5))
    joined = join_cycle(further, "One-Quarter")
    assert joined.shape == (3, 77, 5)
    for k in range(5):
        np.testing.assert_array_equal(joined[..., k], join_cycle(further[..., k], "One-Quarter"))
    # Every fourth sample is the paper's 20-sample grid.
    np.testing.assert_allclose(np.linspace(0, 1, 77)[::4], np.linspace(0, 1, 20), atol=1e-15)
    np.testing.assert_array_equal(split_cycle(cycles[:, :20], "One-Entire"), cycles[:, :20])
