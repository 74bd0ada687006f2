"""Gated recurrent units for training on a processor: PyTorch's, with the gradients written down by hand.

PyTorch records a dozen operations of every step for its automatic gradients, and at the few windows of a training step
these cost far more than their arithmetic. Here all that does not depend on the next step is done for all steps at once,
both directions together, and one step of the gradient is a product, a sum and a matrix product.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def run_gru(gru: nn.GRU, steps: Tensor, before: int, after: int) -> Tensor:
    """Run bidirectional gated recurrent units, the last layer only as far as its answers are wanted.

    Parameters
    ----------
    gru : torch.nn.GRU
        Weights and sizes; its dropout is applied between layers in training.
    steps : torch.Tensor, shape (windows, samples, inputs)
        What goes in.
    before, after : int
        Samples at the start and end whose states are not wanted.

    Returns
    -------
    torch.Tensor, shape (windows, samples - before - after, 2 units)
        The states of the last layer, forwards and backwards.
    """
    values = steps.transpose(0, 1)
    for layer in range(gru.num_layers):
        last = layer == gru.num_layers - 1
        first, end = (before, len(values) - after) if last else (0, len(values))
        ways = (values[:end], values[first:].flip(0))
        weights = [[getattr(gru, f"{name}_l{layer}{way}") for way in ("", "_reverse")] for name in _NAMES]
        inputs, kernels, input_biases, biases = weights
        given = [
            functional.linear(way, kernel, bias) for way, kernel, bias in zip(ways, inputs, input_biases, strict=True)
        ]
        if len(given[0]) == len(given[1]):
            both = _states(torch.stack(given, 1), torch.stack(kernels), torch.stack(biases))
            states = [both[:, 0], both[:, 1]]
        else:
            states = [
                _states(own[:, None], kernel[None], bias[None])[:, 0]
                for own, kernel, bias in zip(given, kernels, biases, strict=True)
            ]
        values = torch.cat([states[0][first:], states[1].flip(0)[: end - first]], -1)
        if not last:
            values = functional.dropout(values, gru.dropout, gru.training)
    return values.transpose(0, 1)


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _states(given: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return cast(Tensor, _Recurrence.apply(given, kernel, bias))  # type: ignore[no-untyped-call]


class _Recurrence(torch.autograd.Function):
    """The states that follow from what is given at each step, from zero on; (steps, directions, windows, units)."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        steps, directions, windows, width = given.shape
        units = width // 3
        turned, added = kernel.transpose(1, 2).contiguous(), bias[:, None]
        states = given.new_zeros(steps + 1, directions, windows, units)
        pasts, gates = torch.empty_like(given), torch.empty_like(given[..., : 2 * units])
        news = torch.empty_like(states[1:])
        # All views are taken beforehand: at this size one costs as much as a sum.
        for given_gate, given_new, past, past_gate, past_new, gate, reset, update, new, before, state in zip(
            *(part.unbind() for part in (given[..., : 2 * units], given[..., 2 * units :])),
            *(part.unbind() for part in (pasts, pasts[..., : 2 * units], pasts[..., 2 * units :])),
            *(part.unbind() for part in (gates, gates[..., :units], gates[..., units:])),
            *(part.unbind() for part in (news, states[:-1], states[1:])),
            strict=True,
        ):
            torch.baddbmm(added, before, turned, out=past)
            torch.add(given_gate, past_gate, out=gate).sigmoid_()
            torch.addcmul(given_new, reset, past_new, out=new).tanh_()
            torch.lerp(new, before, update, out=state)
        ctx.save_for_backward(kernel, states, gates, news, pasts)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kernel, states, gates, news, pasts = ctx.saved_tensors
        (slope,) = slopes
        units = states.shape[-1]
        reset, update = gates[..., :units], gates[..., units:]
        of_new = (1.0 - update) * (1.0 - news**2)
        # How a state's change reaches, before their functions, reset gate, update gate and the past's part of the new
        # state; and the state before.
        factors = torch.stack(
            [
                of_new * pasts[..., 2 * units :] * reset * (1.0 - reset),
                (states[:-1] - news) * update * (1.0 - update),
                of_new * reset,
                update,
            ],
            -2,
        )
        reached = torch.empty_like(factors)
        flat = reached.flatten(-2)
        of_past, onwards = flat[..., : 3 * units], flat[..., 3 * units :]
        changes, change = torch.empty_like(slope), torch.zeros_like(slope[0])
        for own, total, wide, factor, inner, gate, onward in reversed(
            list(
                zip(
                    *(part.unbind() for part in (slope, changes, changes[..., None, :], factors, reached)),
                    *(part.unbind() for part in (of_past, onwards)),
                    strict=True,
                )
            )
        ):
            torch.add(own, change, out=total)
            torch.mul(wide, factor, out=inner)
            change = torch.baddbmm(onward, gate, kernel)
        of_given = torch.cat([of_past[..., : 2 * units], changes * of_new], -1)
        rows = of_past.transpose(0, 1).flatten(1, 2)
        of_kernel = rows.transpose(1, 2) @ states[:-1].transpose(0, 1).flatten(1, 2)
        return of_given, of_kernel, rows.sum(1)
