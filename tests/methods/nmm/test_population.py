"""What other subjects' EMG says of a muscle: weights that are known, laboratories without simulations, bundles."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from opensim_nem2e.errors import BundleError, TrainingError
from opensim_nem2e.methods.nmm.population import SAMPLES, SIMULATION, PersonCycles, Population

PHASE = np.arange(SAMPLES) / SAMPLES


def bump(at, width=0.08):
    return np.exp(-0.5 * (((PHASE - at + 0.5) % 1.0 - 0.5) / width) ** 2)


def people(count=6, simulated=True, lab="a", shift=0):
    """Make subjects whose c is 0.7 a + 0.3 b, whatever their a and b are."""
    found = []
    for k in range(count):
        rng = np.random.default_rng(100 * (lab == "a") + k)
        cycles = []
        for _ in range(3):
            a = rng.uniform(0.5, 1.0) * bump(0.2 + 0.05 * rng.normal()) + rng.uniform(0, 0.5) * bump(0.8)
            b = rng.uniform(0.5, 1.0) * bump(0.6 + 0.05 * rng.normal()) + rng.uniform(0, 0.5) * bump(0.1)
            cycles.append((a, b, 0.7 * a + 0.3 * b))
        table = np.roll(np.array(cycles), -shift, axis=-1)
        emg = {name: table[:, place] for place, name in enumerate("abc")}
        other = {"c": np.tile(bump(0.45), (3, 1))} if simulated else {}
        found.append(PersonCycles(f"{lab}{k}", lab, emg, other))
    return found


def test_weights_find_the_mixture_and_ignore_a_poor_simulation():
    population = Population.learn(people())
    weights, spread = population.weights("c", ["a", "b", SIMULATION])
    assert weights[0] > 1.5 * weights[1] > 0.0
    assert weights[2] < 0.15
    assert spread < 0.25
    alone, wider = population.weights("c", ["b", SIMULATION])
    assert (alone >= 0.0).all()
    assert wider > 1.5 * spread


def test_a_laboratory_without_simulations_is_shifted_to_the_others():
    population = Population.learn([*people(), *people(4, simulated=False, lab="b", shift=6)])
    alone = Population.learn(people())
    for muscle in "abc":
        place = population.muscles.index(muscle)
        assert np.corrcoef(population.profiles[place], alone.profiles[place])[0, 1] > 0.97


def test_bundle_comes_back(tmp_path):
    population = Population.learn(people())
    file = tmp_path / "people.safetensors"
    population.save(file, "made up")
    again = Population.load(file)
    assert again.muscles == population.muscles
    assert again.subjects == population.subjects
    np.testing.assert_allclose(again.moments, population.moments, rtol=1e-6)
    np.testing.assert_allclose(again.profile("a", np.array([0.2])), population.profile("a", np.array([0.2])), rtol=1e-6)


def test_what_is_no_population_bundle_is_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"moments": np.zeros((2, 2))}, foreign)
    with pytest.raises(BundleError, match="a population bundle"):
        Population.load(foreign)
    cut = tmp_path / "cut.safetensors"
    Population.learn(people()).save(cut)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(BundleError, match="cannot be read"):
        Population.load(cut)
    with pytest.raises(BundleError, match="no population bundle 'nobody'"):
        Population.load("nobody")
    with pytest.raises(TrainingError, match="at least two"):
        Population.learn(people(1))


def test_shipped_bundle_knows_the_muscles_of_gait():
    population = Population.load("muscles")
    assert {"soleus", "gasmed", "vaslat", "bi", "tib"} <= set(population.muscles)
    assert len(population.subjects) >= 20
    # Vasti act together, and not with the calf.
    weights, _ = population.weights("vaslat", ["vasmed", "soleus"])
    assert weights[0] > 3.0 * weights[1]
