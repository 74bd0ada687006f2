"""Activation dynamics of many folds and muscles at once, with gradients of its own: autograd would keep every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

#: Deactivation is slower than activation by this (NMSM Pipeline).
DEACTIVATION = 4.0


class ActivationDynamics(torch.autograd.Function):
    """First-order activation dynamics (Thelen 2003), each row's step an exponential with the rate held.

    ``a += (e - a) (1 - exp(-h rate))`` with ``rate = 1 / (tau z)`` where e exceeds a, else ``z / (4 tau)``, and
    ``z = 0.5 + 1.5 a``; the first row is where the first excitation holds it. It cannot overshoot at any step.
    """

    @staticmethod
    def forward(ctx: Any, excitations: torch.Tensor, tau: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Integrate.

        Parameters
        ----------
        ctx : object
            Autograd's.
        excitations : torch.Tensor, shape (folds, windows, rows, muscles)
            0..1.
        tau : torch.Tensor, shape (folds, 1)
            Time constant of activation (s).
        step : torch.Tensor, shape (windows,)
            Between rows (s).

        Returns
        -------
        torch.Tensor, shape (folds, windows, rows, muscles)
            Activations.
        """
        e = np.ascontiguousarray(excitations.detach().numpy().transpose(2, 0, 1, 3))
        rise = (1.0 / tau.detach().numpy())[:, :, None]
        fall = rise / DEACTIVATION
        h = step.numpy()[None, :, None]
        a = np.empty_like(e)
        left = np.empty_like(e)
        reached = e[0]
        for row in range(len(e)):
            before = reached
            difference = e[row] - before
            z = 0.5 + 1.5 * before
            rate = np.where(difference > 0.0, rise / z, fall * z)
            np.exp(-h * rate, out=left[row])
            reached = before + difference * (1.0 - left[row])
            a[row] = reached
        ctx.saved = (e, a, left, rise, fall, h)
        return torch.from_numpy(np.ascontiguousarray(a.transpose(1, 2, 0, 3)))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Go back through the rows.

        Parameters
        ----------
        ctx : object
            Autograd's.
        gradient : torch.Tensor, shape (folds, windows, rows, muscles)
            With respect to the activations.

        Returns
        -------
        tuple of torch.Tensor
            With respect to excitations and time constants.
        """
        e, a, left, rise, fall, h = ctx.saved
        g = gradient.numpy().transpose(2, 0, 1, 3)
        before = np.concatenate([e[:1], a[:-1]])
        difference = e - before
        z = 0.5 + 1.5 * before
        up = difference > 0.0
        bend = difference * left * h
        carried = left + bend * np.where(up, -1.5 * rise / z**2, 1.5 * fall)
        by_tau = -bend * np.where(up, rise / z, fall * z) * rise
        total = np.empty_like(e)
        later = np.zeros_like(e[0])
        for row in range(len(e) - 1, -1, -1):
            later = later + g[row]
            total[row] = later
            later = later * carried[row]
        to_excitations = total * (1.0 - left)
        to_excitations[0] += later
        to_tau = (total * by_tau).sum((0, 2, 3))[:, None]
        return (
            torch.from_numpy(np.ascontiguousarray(to_excitations.transpose(1, 2, 0, 3))),
            torch.from_numpy(to_tau),
            None,
        )
