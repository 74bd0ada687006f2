"""Kernel ridge regression of joint moments: what it finds, and how width and penalty are chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from opensim_nem2e.methods.mjca_bigru.forward import Architecture, run
from opensim_nem2e.methods.mjca_bigru.kernel import MOST_CENTERS, fit_kernel
from opensim_nem2e.methods.mjca_bigru.method import MomentNetwork
from opensim_nem2e.methods.motion_bundle import MotionBundle

RANDOM = np.random.default_rng(3)


def moments_of(x):
    return np.column_stack([np.sin(2.0 * x[:, 0]) + x[:, 1], x[:, 0] * x[:, 1]]).astype(np.float32)


def estimate(fitted, x):
    architecture = Architecture("kernel", 1, x.shape[1], 0, 2, 2, 1, lags=(0,), head=(len(fitted["centers"]),))
    assert {name: array.shape for name, array in fitted.items()} == architecture.weight_shapes()
    windows = np.stack([np.zeros_like(x), x], axis=1)[:, :, None]
    return run(architecture, fitted, windows, np.zeros((len(x), 0), np.float32))[:, 0]


def test_a_smooth_function_is_found_between_its_rows():
    x = RANDOM.normal(size=(400, 2)).astype(np.float32)
    fitted = fit_kernel(x[:300], moments_of(x[:300]), np.ones((300, 2)), np.arange(300) // 50)
    inner = np.flatnonzero(np.abs(x[300:]).max(axis=1) < 1.5) + 300
    found, true = estimate(fitted, x[inner]), moments_of(x[inner])
    assert np.sqrt(((found - true) ** 2).mean()) < 0.05 * true.std()


def test_far_from_all_rows_it_gives_the_mean():
    """Where there is nothing to leave out, so that nothing says that a plane goes on."""
    x = RANDOM.normal(size=(200, 2)).astype(np.float32)
    fitted = fit_kernel(x, moments_of(x), np.ones((200, 2)), np.zeros(200, dtype=int))
    far = estimate(fitted, np.full((1, 2), 1e3, np.float32))
    np.testing.assert_allclose(far[0], moments_of(x).mean(axis=0), atol=1e-5)


def test_what_grows_from_group_to_group_goes_on_growing():
    """As moments do with speed: the linear part is chosen, and reaches farther than the Gaussian functions."""
    groups = np.arange(300) // 100
    x = (RANDOM.normal(size=(300, 2)) + groups[:, None]).astype(np.float32)
    y = x @ np.array([[1.0, 0.0], [-0.5, 2.0]], dtype=np.float32)
    fitted = fit_kernel(x, y, np.ones((300, 2)), groups)
    assert fitted["linear"] > 0.0
    faster = x[:50] + 6.0
    true = faster @ np.array([[1.0, 0.0], [-0.5, 2.0]], dtype=np.float32)
    assert np.abs(estimate(fitted, faster) - true).max() < 0.2 * np.abs(true - y.mean(axis=0)).max()


def test_bundles_without_a_linear_part_are_read():
    """Those of earlier versions: they had none."""
    today = MotionBundle.load("kinematics").network
    shape = replace(today.architecture, name="kernel", head=today.architecture.head[:1])
    weights = {name: array for name, array in today.weights.items() if not name.startswith("head.")}
    weights = {name.replace("kernel.", "head.0."): array for name, array in weights.items() if name != "linear"}
    old = replace(today, architecture=shape, weights=weights)
    read = MomentNetwork.load("moments", old.description(), old.arrays())
    assert read.weights["linear"] == 0.0


def test_kernel_and_mlp_are_averaged():
    """Both see the same; their weights stand side by side."""
    x = RANDOM.normal(size=(200, 3)).astype(np.float32)
    fitted = fit_kernel(x, moments_of(x), np.ones((200, 2)), np.arange(200) // 50)
    shape = partial(Architecture, joints=1, features=3, conditions=0, outputs=2, samples=2, before=1, lags=(0,))
    mlp = shape("mlp", head=(5, 4))
    weights = {name: RANDOM.normal(size=size).astype(np.float32) for name, size in mlp.weight_shapes().items()}
    both = shape("kernel_mlp", head=(len(fitted["centers"]), 5, 4))
    joined = {**{name.replace("head.0", "kernel"): array for name, array in fitted.items()}, **weights}
    assert {name: array.shape for name, array in joined.items()} == both.weight_shapes()
    assert Architecture.read(both.described()) == both
    windows, none = np.stack([np.zeros_like(x), x], axis=1)[:, :, None], np.zeros((len(x), 0), np.float32)
    mean = 0.5 * (estimate(fitted, x) + run(mlp, weights, windows, none)[:, 0])
    np.testing.assert_allclose(run(both, joined, windows, none)[:, 0], mean, rtol=1e-5, atol=1e-5)


def test_what_does_not_carry_over_to_other_groups_is_smoothed_away():
    """Noise alone serves no group that is left out: it is fitted far less than what all groups have in common."""
    x = RANDOM.normal(size=(240, 2)).astype(np.float32)
    noise = RANDOM.normal(size=(240, 2)).astype(np.float32)
    left = []
    for y in (moments_of(x), noise):
        fitted = fit_kernel(x, y, np.ones((240, 2)), np.arange(240) // 40)
        left.append(((estimate(fitted, x) - y) ** 2).mean() / y.var())
    assert left[0] < 0.05
    assert left[1] > 0.2


def test_many_rows_are_thinned():
    x = RANDOM.normal(size=(MOST_CENTERS + 500, 2)).astype(np.float32)
    fitted = fit_kernel(x, moments_of(x), np.ones((len(x), 2)), np.zeros(len(x), dtype=int))
    assert fitted["centers"].shape == (MOST_CENTERS, 2)
