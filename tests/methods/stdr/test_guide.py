"""Profiles beside a network: never worse than the mean profile, where that can be known from training subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_record, make_samples

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.errors import BundleError
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.guide import Guide, mix
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.network import load_network
from opensim_nem2e.training.trainer import train_task

PHASE = np.linspace(0, 1, 20)
VIEW = CycleView()
METHOD = find_method("stdr_net")
OPTIONS = STDROptions(hidden_units=3, epochs=1)


def burst(centre, width=4.0):
    return 0.05 + 0.9 * np.exp(width * (np.cos(2 * np.pi * (PHASE - np.atleast_1d(centre)[:, None])) - 1))


def made(laboratories=4, cycles=5, follows=True, seed=0, motion="walk"):
    """EMG of one muscle that follows the simulation, and of one that is the same whatever that says."""
    random = np.random.default_rng(seed)
    records = []
    for lab in range(laboratories):
        records += [
            make_record(f"s{seed}{lab}", 2 + 1000 * seed + cycles * lab + k, dataset=f"lab {lab}", motion=motion)
            for k in range(cycles)
        ]
    centres = random.uniform(0.2, 0.8, len(records))
    x, y = burst(centres), burst(centres + 0.05) if follows else burst(np.full(len(records), 0.5))
    fixed = burst(np.full(len(records), 0.3)) + random.normal(0, 0.02, y.shape)
    other = random.random(y.shape)
    return make_samples({"ipsi:soleus": x, "ipsi:tib": other}, {"soleus": y, "tib": np.abs(fixed)}, records)


def network_of(samples, part):
    common = METHOD.common(samples, VIEW, OPTIONS)
    plan = METHOD.plan(samples, part, VIEW, OPTIONS, RunSettings(), common)
    return plan.finish(train_task(plan.task))


def inputs_of(samples, muscle, motion="walk"):
    x = samples.select_channels("activation", [f"ipsi:{muscle}"])
    return {"activation": x, "motion": np.full(len(x), motion)}


def test_the_profile_is_used_where_the_network_is_no_better():
    samples, new = made(), made(seed=1)
    soleus, tib = network_of(samples, "soleus"), network_of(samples, "tib")
    assert soleus.chosen["share walk"] >= 0.5 > tib.chosen["share walk"]
    found = soleus.predict(inputs_of(new, "soleus"))
    error = np.sqrt(np.mean((found.values - new.channel("emg", "soleus")) ** 2))
    assert error < 0.7 * np.sqrt(np.mean((soleus.guide.profiles.profiles[0] - new.channel("emg", "soleus")) ** 2))
    # A muscle whose EMG does not follow the input gets its profile.
    said = tib.predict(inputs_of(new, "tib"))
    assert set(said.remarks) == {"mean EMG profile (walk)"}
    assert set(said.origins) == {"profile"}
    np.testing.assert_allclose(said.values, np.tile(tib.guide.profiles.profiles[1], (20, 1)))


def test_the_network_stands_alone_where_it_is_better():
    """With nothing but muscles that follow their input."""
    samples = made()
    twice = {"activation": samples.inputs["activation"][:, :, [0, 0]]}
    both = replace(samples, inputs=twice, targets={"emg": samples.targets["emg"][:, :, [0, 0]]})
    alone = network_of(both, "soleus")
    assert alone.chosen["share walk"] == 1.0
    found = alone.predict(inputs_of(made(seed=1), "soleus"))
    assert set(found.remarks) == {""}
    assert set(found.origins) == {"network"}


def test_a_motion_without_profiles_is_left_to_the_network():
    samples, new = made(), made(seed=1)
    tib = network_of(samples, "tib")
    never = replace(tib, guide=Guide(tib.guide.profiles, np.zeros(2)))
    found = never.predict(inputs_of(new, "tib", "skip"))
    np.testing.assert_allclose(found.values, replace(tib, guide=None).predict(inputs_of(new, "tib")).values)


def test_emg_of_more_subjects_moves_the_estimate():
    """Those whom nobody simulated have more EMG late in the cycle: so has the estimate, by what they weigh."""
    samples = made()
    records = tuple(
        replace(make_record(f"t{k}", 500 + k, dataset="stranger"), activation_file=None, activation_source="")
        for k in range(9)
    )
    nothing = np.full((9, 20, 2), np.nan)
    emg = np.full((9, 20, 2), np.nan)
    emg[:, :, 0] = burst(np.full(9, 0.5)) + burst(np.full(9, 0.9))
    both = replace(
        samples,
        inputs={"activation": np.concatenate([samples.inputs["activation"], nothing])},
        targets={"emg": np.concatenate([samples.targets["emg"], emg])},
        time=np.concatenate([samples.time, np.tile(PHASE, (9, 1))]),
        records=(*samples.records, *records),
    )
    plain, moved = network_of(samples, "soleus"), network_of(both, "soleus")
    offset = moved.guide.offset(inputs_of(samples, "soleus"))
    np.testing.assert_allclose(plain.guide.offset(inputs_of(samples, "soleus")), 0)
    assert np.abs(offset).max() > 0.05
    alone = moved.alone()
    assert alone.guide is None
    np.testing.assert_allclose(alone.output_offset, moved.output_offset + offset[0], rtol=1e-5)


def test_shares_do_not_see_the_laboratory_that_is_left_out():
    """The choice rests on predictions without each subject: with one in all there is none, so the profile is used."""
    assert set(network_of(made(laboratories=1), "soleus").guide.shares) == {0.0}


def test_mixing():
    estimate, profile = np.array([[-1.0, 2.0]]), np.array([[0.5, 0.25]])
    np.testing.assert_allclose(mix(estimate, profile, np.array([0.5])), [[0.25, 1.125]])


def test_a_network_with_profiles_is_read_back():
    network = network_of(made(), "soleus")
    again = load_network("soleus", network.description(), network.arrays(), VIEW)
    inputs = inputs_of(made(seed=2), "soleus")
    np.testing.assert_allclose(again.predict(inputs).values, network.predict(inputs).values, atol=1e-6)
    arrays = network.arrays()
    for name, value in (("guide.shares", np.array([2.0, 0.0], np.float32)), ("guide.base", arrays["guide.base"][:1])):
        with pytest.raises(BundleError, match=name):
            load_network("soleus", network.description(), {**arrays, name: value}, VIEW)
    without = {key: value for key, value in arrays.items() if key != "guide.shares"}
    with pytest.raises(BundleError, match="shares' is missing"):
        load_network("soleus", network.description(), without, VIEW)
