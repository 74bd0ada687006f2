"""Figures of a study: what is drawn is what the files say."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from opensim_nem2e.evaluation.study import Skeleton, read_study
from opensim_nem2e.report.study_figures import (
    curve_figure,
    error_change_figure,
    error_figure,
    loss_figure,
    spatial_attention_figure,
    study_figures,
    temporal_attention_figure,
    top_inputs,
)
from opensim_nem2e.storage.muscles import PAPER_MUSCLES

CONDITIONS = ["One-Quarter", "One-Entire", "All-Entire"]
SAMPLES = [f"y{k:02d}" for k in range(20)]


@pytest.fixture(scope="module")
def results(study_folder):
    return read_study(study_folder)


def lines(axis):
    """Lines by what they stand for."""
    return {line.get_gid(): line for line in axis.lines if line.get_gid()}


def panel(drawn, title):
    return next(axis for axis in drawn.figure.axes if axis.get_title(loc="left").startswith(title))


def test_curves_are_means_over_people(results, study_folder):
    raw = pd.read_csv(study_folder / "walking_curves.csv")
    axis = panel(curve_figure(results, "One-Entire"), "tib (n = 5)")
    drawn = lines(axis)
    assert set(drawn) == {"emg", "opensim", "stdr_net"}
    assert len(axis.collections) == 3  # the spread of each
    for method, line in drawn.items():
        part = raw[(raw["condition"] == "One-Entire") & (raw["muscle"] == "tib") & (raw["method"] == method)]
        people = part.groupby("subject")[SAMPLES].mean()
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 100, 20))
        np.testing.assert_allclose(line.get_ydata(), people.mean(), rtol=1e-12)
    assert drawn["emg"].get_color() == "#000000"


def test_the_spread_is_one_standard_deviation(results, study_folder):
    raw = pd.read_csv(study_folder / "walking_curves.csv")
    axis = panel(curve_figure(results, "All-Entire"), "soleus")
    part = raw[(raw["condition"] == "All-Entire") & (raw["muscle"] == "soleus") & (raw["method"] == "emg")]
    people = part.groupby("subject")[SAMPLES].mean()
    box = axis.collections[0].get_datalim(axis.transData)
    assert box.y1 == pytest.approx((people.mean() + people.std(ddof=1)).max())
    assert box.y0 == pytest.approx((people.mean() - people.std(ddof=1)).min())


def test_box_plots_show_every_person(results, study_folder):
    subjects = pd.read_csv(study_folder / "walking_subjects.csv")
    statistics = pd.read_csv(study_folder / "walking_statistics.csv")
    conditions = pd.read_csv(study_folder / "walking_conditions.csv")
    (axis,) = error_change_figure(results).figure.axes
    drawn = lines(axis)
    assert len(drawn) == 9
    for (condition, muscle), part in subjects[subjects["method"] == "stdr_net"].groupby(["condition", "muscle"]):
        line = drawn[f"{condition}/{muscle}"]
        np.testing.assert_allclose(line.get_ydata(), part["Er"], rtol=1e-12)
        assert np.abs(line.get_xdata() - ["soleus", "tib", "rect"].index(muscle)).max() < 0.5
    p = statistics.loc[statistics["method"] == "stdr_net", "p"]
    expected = sorted("*" * ((v < 0.05) + (v < 0.01) + (v < 0.001)) for v in [*p, *conditions["tukey_p"]] if v < 0.05)
    shown = sorted(text.get_text() for text in axis.texts)
    assert len(expected) > 3
    assert shown == expected


def test_errors_by_method(results, study_folder):
    subjects = pd.read_csv(study_folder / "walking_subjects.csv")
    (axis,) = error_figure(results, "All-Entire").figure.axes
    part = subjects[subjects["condition"] == "All-Entire"]
    drawn = lines(axis)
    assert set(drawn) == {"opensim", "stdr_net", "mean", "shift", "ridge"}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["soleus", "tib", "rect"]
    for method, line in drawn.items():
        means = part[part["method"] == method].groupby("muscle")["E"].mean()
        np.testing.assert_allclose(line.get_xdata(), means[["soleus", "tib", "rect"]], rtol=1e-12)


def test_losses_are_medians(results, study_folder):
    raw = pd.read_csv(study_folder / "walking_losses.csv")
    axis = panel(loss_figure(results, "One-Entire"), "rect (10 networks)")
    part = raw[(raw["condition"] == "One-Entire") & (raw["muscle"] == "rect")]
    for column in ("loss", "validation_loss"):
        expected = part.groupby("epoch")[column].median()
        np.testing.assert_allclose(lines(axis)[column].get_ydata(), expected, rtol=1e-12)
        np.testing.assert_allclose(lines(axis)[column].get_xdata(), expected.index)


def test_without_validation_loss(results):
    table = results.losses.assign(validation_loss=np.nan)
    axis = panel(loss_figure(replace(results, losses=table), "One-Entire"), "rect")
    assert set(lines(axis)) == {"loss"}


def test_temporal_attention(results):
    drawn = temporal_attention_figure(results, "One-Entire")
    axis = panel(drawn, "tib")
    (image,) = axis.images
    np.testing.assert_array_equal(image.get_array(), results.attention["One-Entire", "tib"].weights)
    assert image.origin == "lower"
    # The centres of the outer samples are at 0 and 100 %.
    low, high = image.get_extent()[:2]
    assert (low + (high - low) / 40, high - (high - low) / 40) == (pytest.approx(0), pytest.approx(100))
    assert "quarter" in temporal_attention_figure(results, "One-Quarter").caption


def test_even_attention_is_said_not_drawn(results):
    """A map of weights that are all the same would show noise; the others use the whole scale."""
    even = replace(results.attention["One-Entire", "rect"], weights=np.full((20, 20), 0.05))
    drawn = temporal_attention_figure(
        replace(results, attention={**results.attention, ("One-Entire", "rect"): even}), "One-Entire"
    )
    axis = panel(drawn, "rect (0.050 to 0.050)")
    assert not axis.images
    assert [text.get_text() for text in axis.texts] == ["evenly spread"]
    weights = results.attention["One-Entire", "tib"].weights
    (image,) = panel(drawn, "tib").images
    assert image.get_clim() == (weights.min(), weights.max())
    inputs = results.attention["All-Entire", "rect"].inputs
    even = replace(results.attention["All-Entire", "rect"], weights=np.full((20, len(inputs)), 1 / len(inputs)))
    spatial = spatial_attention_figure(
        replace(results, attention={**results.attention, ("All-Entire", "rect"): even}), "All-Entire", "rect"
    )
    assert "read nothing into the pattern" in spatial.caption


def skeleton_of(names, phases=(0.0, 50.0, 100.0)):
    """A stick leg, and one straight path for every name, all different."""
    bones = np.tile(
        np.array([[[0, 1, 0.1], [0.0, 0.5, 0.1]], [[0, 1, -0.1], [0.1, 0.5, -0.1]]]), (len(phases), 1, 1, 1)
    )
    muscles = {
        name: (tuple(np.array([[0, 1 - 0.02 * k, 0], [0.1, 0.5, 0]]) for _ in phases),) for k, name in enumerate(names)
    }
    return Skeleton(phases, bones, ("ipsi", "contra"), muscles, "a leg")


def test_spatial_attention_with_a_skeleton(results):
    attention = results.attention["All-Entire", "soleus"]
    known = [name for name in attention.inputs if name != top_inputs(attention, 0)[0]]
    drawn = spatial_attention_figure(replace(results, skeleton=skeleton_of(known)), "All-Entire", "soleus")
    heat = next(axis for axis in drawn.figure.axes if axis.images)
    names = [label.get_text() for label in heat.get_yticklabels()]
    original = [name.replace("ipsi:", "").replace("contra:", "contra ") for name in attention.inputs]
    assert sorted(names) == sorted(original)
    rows = [original.index(name) for name in names]
    np.testing.assert_array_equal(heat.images[0].get_array(), attention.weights.T[rows])
    assert not any(name.startswith("contra") for name in names[:16])
    for phase, sample in ((0, 0), (50, 10), (100, 19)):
        view = next(axis for axis in drawn.figure.axes if axis.get_title() == f"{phase} % of the gait cycle")
        highest = [attention.inputs[k] for k in np.argsort(-attention.weights[sample])[:10]]
        assert set(lines(view)) == set(highest) & set(known)
        labels = {text.get_text() for text in view.texts}
        absent = {text for text in labels if text.startswith("not in the model")}
        assert len(absent) == len(set(highest) - set(known)) <= 1
        assert labels - absent == {
            name.replace("ipsi:", "").replace("contra:", "contra ") for name in highest if name in known
        }
    assert "a leg" in drawn.caption


def test_spatial_attention_without_a_skeleton(results):
    drawn = spatial_attention_figure(results, "All-Entire", "rect")
    assert len(drawn.figure.axes) == 2
    assert "model" not in drawn.caption


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 16))])
def test_legible(make_study, tmp_path, count):
    """No two tick labels of an axis touch, no letter is smaller than 6 points, and nothing hangs over the edge."""
    from opensim_nem2e.report.drawing import figure_settings
    from opensim_nem2e.report.study_figures import _STYLE

    muscles = PAPER_MUSCLES[:count]
    results = read_study(
        make_study(tmp_path, muscles=muscles, conditions=("One-Entire", "All-Entire"), people=4, seeds=(0,))
    )
    names = [f"ipsi:{muscle}" for muscle in muscles]
    results = replace(results, skeleton=skeleton_of(names))
    drawn = [
        curve_figure(results, "One-Entire"),
        error_change_figure(results),
        error_figure(results, "One-Entire"),
        loss_figure(results, "One-Entire"),
        temporal_attention_figure(results, "One-Entire"),
        spatial_attention_figure(results, "All-Entire", muscles[0]),
    ]
    for one in drawn:
        canvas = one.figure.bbox
        with figure_settings(_STYLE):
            one.figure.canvas.draw()
            for axis in one.figure.axes:
                for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
                    texts = [text for text in ticks if text.get_visible() and text.get_text()]
                    boxes = [text.get_window_extent() for text in texts]
                    inside = [box for box in boxes if box.width and canvas.x0 <= box.x0 and box.x1 <= canvas.x1]
                    assert not [1 for a, b in combinations(inside, 2) if a.overlaps(b)], one.key
                    assert all(text.get_fontsize() >= 6 for text in texts)
                title = axis.title.get_window_extent()
                assert title.width == 0 or (title.x0 >= 0 and title.x1 <= canvas.x1), one.key
                label = axis.yaxis.label.get_window_extent()
                assert label.width == 0 or label.x1 <= canvas.x1, one.key
            for legend in one.figure.legends:
                assert legend.get_window_extent().x1 <= canvas.x1 + 1, one.key


def test_the_host_programs_matplotlib_is_left_alone(study_folder):
    script = f"""
import sys
import matplotlib
before = matplotlib.rcParams.copy()
from opensim_nem2e.evaluation.study import read_study
from opensim_nem2e.report.study_figures import study_figures
assert sum(1 for _ in study_figures(read_study({str(study_folder)!r}))) == 15
assert "matplotlib.pyplot" not in sys.modules, "a back end was chosen"
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_threads_draw_the_same_bytes(results, tmp_path):
    def draw(name):
        path = tmp_path / f"{name}.svg"
        curve_figure(results, CONDITIONS[name % 2]).save(path)
        return path.read_bytes()

    alone = [draw(name) for name in range(2)]
    before = matplotlib.rcParams.copy()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, range(2, 6)))
    assert together == alone * 2
    assert matplotlib.rcParams.copy() == before
    assert b"<text" in alone[0]


def test_all_figures_are_described(results):
    keys = set()
    for drawn in study_figures(results):
        keys.add(drawn.key)
        assert drawn.title
        assert len(drawn.alt) > 40
        assert len(drawn.caption) > 40
    expected = {"error_change", *(f"{kind}_{name}" for kind in ("errors", "curves", "losses") for name in CONDITIONS)}
    expected |= {"attention_One-Quarter", "attention_One-Entire"}
    expected |= {f"attention_All-Entire_{muscle}" for muscle in ("soleus", "tib", "rect")}
    assert keys == expected
