"""Activation dynamics with gradients of their own: right derivatives, and the package's own answer."""

from __future__ import annotations

import numpy as np
import torch

from opensim_nem2e.methods.nmm.excitation_dynamics import ActivationDynamics
from opensim_nem2e.musculoskeletal.activation import activation_from_excitation


def test_gradients_are_those_of_difference_quotients():
    torch.manual_seed(0)
    excitations = torch.rand(2, 3, 9, 4, dtype=torch.float64, requires_grad=True)
    tau = torch.tensor([[0.012], [0.03]], dtype=torch.float64, requires_grad=True)
    step = torch.tensor([0.01, 0.02, 0.03], dtype=torch.float64)
    assert torch.autograd.gradcheck(ActivationDynamics.apply, (excitations, tau, step))


def test_small_steps_integrate_as_the_package_does():
    time = np.arange(0.0, 1.0, 0.002)
    excitation = 0.5 + 0.45 * np.sin(12.0 * time)
    theirs = activation_from_excitation(time, excitation, 0.015, 0.06, excitation[0], min_activation=0.0)
    given = torch.tensor(excitation)[None, None, :, None]
    ours = ActivationDynamics.apply(given, torch.tensor([[0.015]], dtype=torch.float64), torch.tensor([0.002]))
    assert np.ptp(theirs) > 0.5
    assert np.abs(ours[0, 0, :, 0].numpy() - theirs.ravel()).max() < 0.03
