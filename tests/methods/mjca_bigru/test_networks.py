"""The networks in numpy against those in PyTorch, and what is refused of a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opensim_nem2e.errors import BundleError
from opensim_nem2e.methods.mjca_bigru.forward import Architecture, run
from opensim_nem2e.methods.mjca_bigru.net import ActivationNet, MomentNet, MotionNet

NAMES = ("mjca_bigru", "bigru", "cnn_bigru", "mlp")


def shape(name, **changes):
    sizes = {"joint_units": 6, "integrated_units": 10, "recurrent_units": 7, "head": (9, 5)}
    lags = (0, 3, -2) if name == "mlp" else ()
    return Architecture(name, 3, 2, 3, 4, samples=12, before=4, after=3, lags=lags, **{**sizes, **changes})


def weights_of(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_numpy_computes_what_pytorch_computes(name):
    architecture = shape(name)
    net = MotionNet(architecture.described(), dropout=0.3).eval()
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == architecture.weight_shapes()
    random = np.random.default_rng(1)
    x = random.normal(size=(5, 12, 3, 2)).astype(np.float32)
    conditions = random.normal(size=(5, 3)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x), torch.from_numpy(conditions)).numpy()
    found = run(architecture, weights_of(net), x, conditions)
    assert found.shape == (5, 5, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.ptp(found, axis=1).max() > 1e-3


def test_each_joint_attends_to_all_others():
    """Keys and values are those of the other joints side by side: (joints - 1) D_l numbers each."""
    shapes = shape("mjca_bigru").weight_shapes()
    assert shapes["query.0.weight"] == (6, 6)
    assert shapes["key.2.weight"] == shapes["value.2.weight"] == (6, 12)


def test_the_paper_s_sizes():
    """Section III-C: 256 recurrent outputs, then layers of 128, 64 and 10 outputs."""
    shapes = Architecture("mjca_bigru", 3, 3, 0, 10, samples=20, before=19).weight_shapes()
    assert [shapes[f"head.{layer}.weight"] for layer in range(3)] == [(128, 256), (64, 128), (10, 64)]
    assert shapes["gru.weight_hh_l1_reverse"] == (384, 128)
    assert "gru.weight_hh_l2" not in shapes


def test_what_a_file_says_of_an_architecture_is_checked():
    good = shape("mlp")
    assert Architecture.read(good.described()) == good
    for change in (
        {"name": "transformer"},
        {"joints": -1},
        {"head": [3, "x"]},
        {"before": 12},
        {"lags": [6]},
        {"recurrent_units": 10**9},
        {"outputs": True},
    ):
        with pytest.raises(BundleError):
            Architecture.read({**good.described(), **change})
    with pytest.raises(BundleError):
        Architecture.read({**shape("mjca_bigru").described(), "heads": 4})
    with pytest.raises(BundleError):
        Architecture.read(["mlp"])


def test_unknown_moments_do_not_count():
    net = MomentNet(shape("mlp").described())
    batch = {"x": torch.randn(4, 12, 3, 2), "conditions": torch.randn(4, 3), "y": torch.randn(4, 5, 4)}
    known = torch.ones(4, 4)
    known[:, 2] = 0.0
    loss = net.loss_terms({**batch, "known": known}, 0.0)["moments"]
    batch["y"][:, :, 2] += 100.0
    torch.testing.assert_close(net.loss_terms({**batch, "known": known}, 0.0)["moments"], loss)
    error = (net(batch["x"], batch["conditions"]) - batch["y"])[:, :, [0, 1, 3]].square().sum() / 80
    torch.testing.assert_close(loss, error)


def test_the_loss_of_the_paper():
    """Equations 15 to 22 by hand, for one window."""
    architecture = Architecture("mlp", 3, 2, 0, 4, samples=2, before=1, lags=(0, 1), head=(5,))
    net = ActivationNet(architecture.described(), weights=(3.0, 1000.0, 500.0))
    batch = {
        "x": torch.randn(1, 2, 3, 2),
        "gain": 10.0 * torch.randn(1, 3, 4),
        "needed": 10.0 * torch.randn(1, 3),
    }
    a = net(batch["x"], torch.zeros(1, 0))[0, 0].detach().numpy()
    missing = batch["needed"][0].numpy() - batch["gain"][0].numpy() @ a
    expected = {
        "dynamics": 3.0 * (missing**2).sum(),
        "effort": 1000.0 * (a**2).sum(),
        "bounds": 500.0 * (np.maximum(0.0, 0.01 - a) ** 2 + np.maximum(0.0, a - 1.0) ** 2).sum(),
    }
    found = net.loss_terms(batch, 0.0)
    assert {name: term.item() for name, term in found.items()} == pytest.approx(expected, rel=1e-4)
    net.weights = (3.0, 0.0, 500.0)
    assert set(net.loss_terms(batch, 0.0)) == {"dynamics", "bounds"}
