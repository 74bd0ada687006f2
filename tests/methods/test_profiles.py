"""EMG profiles: who weighs how much, what is moved and scaled, and which profile a cycle gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_record, make_samples

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.errors import BundleError, TrainingError
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.profiles import AGE_SHRINKAGE, fit_profiles
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.signals.compare import shift_cycles

PHASE = np.linspace(0, 1, 20)
METHOD = find_method("profiles")
METADATA = {
    "cycle": {"definition": "heel strike to heel strike", "sampling": "linear"},
    "normalization": {"activation": "none", "emg": "subject_max"},
    "data": {"description": "made", "licence": "none", "attribution": "nobody"},
    "training": {"seed": 0},
    "packages": {},
    "validation": {"method": "none"},
}


def burst(centre, height=1.0):
    return 0.1 + height * np.exp(4 * (np.cos(2 * np.pi * (PHASE - centre)) - 1))


def samples_of(rows):
    """Make samples from (laboratory, subject, motion, age group, simulated, EMG)."""
    records = []
    for line, (laboratory, subject, motion, age, simulated, _) in enumerate(rows, start=2):
        record = make_record(subject, line, dataset=laboratory, motion=motion)
        if not simulated:
            record = replace(record, activation_file=None, activation_source="")
        records.append(replace(record, age_group=age))
    emg = np.array([row[-1] for row in rows])
    activation = np.where(np.array([row[4] for row in rows])[:, None], emg, np.nan)
    return make_samples({"ipsi:soleus": activation}, {"soleus": emg}, records)


def fitted_of(rows):
    return METHOD.plan(samples_of(rows), "soleus", CycleView(), METHOD.options(), RunSettings()).finish(None)


def about(count=1, **words):
    return {"activation": np.zeros((count, 20, 1)), **{name: np.full(count, word) for name, word in words.items()}}


def test_laboratories_weigh_as_the_root_of_their_subjects_and_cycles_as_their_subject():
    early, late, other = burst(0.2), burst(0.5), burst(0.8)
    rows = [("one", "a", "walk", "", True, early)] * 7
    rows += [("two", f"s{k}", "walk", "", True, late if k else other) for k in range(4)]
    two = (other + 3 * late) / 4
    expected = (early + 2 * two) / 3
    np.testing.assert_allclose(fitted_of(rows).predict(about()).values[0], expected)
    spread = fit_profiles(samples_of(rows), ["soleus"]).sets["soleus"].spread[0]
    np.testing.assert_allclose(spread, np.std([early, other, late, late, late], axis=0, ddof=1))


def test_a_cycle_gets_the_profile_of_its_motion_and_age():
    rows = [("lab", f"adult {k}", "walk", "adult", True, burst(0.5)) for k in range(3)]
    rows += [("lab", f"child {k}", "walk", "child", True, burst(0.4)) for k in range(3)]
    rows += [("lab", "adult 0", "run", "adult", True, burst(0.2))]
    fitted = fitted_of(rows)
    walk = (burst(0.5) + burst(0.4)) / 2
    share = 3 / (3 + AGE_SHRINKAGE)
    np.testing.assert_allclose(fitted.predict(about(motion="walk")).values[0], walk)
    child = fitted.predict(about(2, motion="walk", age_group="child"))
    np.testing.assert_allclose(child.values, np.tile((1 - share) * walk + share * burst(0.4), (2, 1)))
    assert child.remarks == ("mean EMG profile (walk, child)",) * 2
    # One runner is not enough for a profile of adults who run; of skipping nothing is known.
    running = fitted.predict(about(motion="run", age_group="adult"))
    np.testing.assert_allclose(running.values[0], burst(0.2))
    assert running.remarks == ("mean EMG profile (run)",)
    assert fitted.predict(about(motion="skip")).remarks == ("mean EMG profile (all motions)",)


@pytest.mark.parametrize("lag", [-0.12, 0.09])
def test_emg_without_simulations_counts_with_its_shape_alone(lag):
    """It is moved by the lag that the others tell, and scaled to their strength."""
    rows = [("simulated", f"s{k}", "walk", "", True, burst(0.5)) for k in range(4)]
    alone = 7 * shift_cycles(burst(0.5)[None], -lag)[0]
    rows += [("stranger", f"t{k}", "walk", "", False, alone) for k in range(4)]
    found = fit_profiles(samples_of(rows), ["soleus"])
    assert found.lags == {"stranger": pytest.approx(lag)}
    np.testing.assert_allclose(found.sets["soleus"].profiles[0], burst(0.5), atol=0.03)
    np.testing.assert_allclose(found.sets["soleus"].base[0], burst(0.5))
    assert found.sets["soleus"].subjects.tolist() == [8, 8]


def test_a_short_burst_is_not_scaled_beyond_what_emg_can_be():
    """Scaled to the strength of a muscle that is always active, it would be."""
    short = burst(0.3, 0.9)
    busy = 0.7 + 0.3 * short
    rows = [("one", f"a{k}", "walk", "", True, busy) for k in range(2)]
    rows += [("mean cycles", f"b{k}", "walk", "", False, short) for k in range(2)]
    assert short.max() * np.sqrt(np.mean(busy**2) / np.mean(short**2)) > 1.5
    (profile,) = fitted_of(rows).predict(about(motion="walk")).values
    np.testing.assert_allclose(profile, (busy + short * busy.max() / short.max()) / 2)


def test_the_evidence_holds_all_that_was_learned():
    rows = [("one", "a", "walk", "", True, burst(0.2)), ("two", "b", "walk", "", False, burst(0.3))]
    before = METHOD.common(samples_of(rows), CycleView(), None).evidence("soleus")
    for changed in range(2):
        other = [(*row[:-1], burst(0.6)) if k == changed else row for k, row in enumerate(rows)]
        after = METHOD.common(samples_of(other), CycleView(), None).evidence("soleus")
        assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_a_bundle_of_profiles(tmp_path):
    rows = [("lab", f"s{k}", "walk", "child", True, burst(0.4 + 0.02 * k)) for k in range(4)]
    fitted = fitted_of(rows)
    Bundle(METHOD, CycleView(), {"soleus": fitted}, METADATA).save(tmp_path / "profiles.safetensors")
    bundle = Bundle.load(tmp_path / "profiles.safetensors")
    x = np.zeros((3, 20, 1))
    for words in ({}, {"motion": "walk"}, {"motion": "walk", "age_group": "child"}):
        expected = fitted.predict(about(3, **words)).values
        np.testing.assert_allclose(bundle.predict("soleus", x, **words).values, expected, rtol=1e-6)
    arrays, description = fitted.arrays(), fitted.description()
    for classes in (None, [["", ""]], [["walk", ""], ["walk", "child"], ["run", ""]]):
        with pytest.raises(BundleError, match=r"classes|shape"):
            METHOD.load("soleus", {**description, "classes": classes}, arrays, CycleView())
    with pytest.raises(BundleError, match=r"'soleus\.base' is missing"):
        METHOD.load("soleus", description, {n: a for n, a in arrays.items() if n != "base"}, CycleView())


def test_a_muscle_without_emg():
    with pytest.raises(TrainingError, match="no EMG of 'soleus'"):
        fitted_of([("lab", "a", "walk", "", True, np.full(20, np.nan))])
