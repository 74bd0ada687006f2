"""The study of the PI-MJCA-BiGRU paper on made-up frames: its exact minimiser, its scores and its space of features."""

from __future__ import annotations

import lxml.html
import numpy as np
import pytest
from scipy.optimize import minimize

from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.errors import ModelError, TrainingError
from opensim_nem2e.evaluation.mjca_study import (
    EXACT,
    MUSCLES,
    PHASE,
    VARIANTS,
    Frames,
    MJCAStudy,
    StudySettings,
    feature_space,
    mean_by_phase,
    minimise_loss,
    read_frames,
    summarise_scores,
)
from opensim_nem2e.musculoskeletal.row_programs import solve_rows
from opensim_nem2e.report.mjca_report import write_mjca_report
from opensim_nem2e.storage.atomic import ResultFiles
from opensim_nem2e.training.trainer import train_task

WEIGHTS = (3.0, 1000.0, 500.0)


def make_frames(cycles=5, frames=12, window=6, seed=0, speed=1.0):
    """Make frames of a leg whose moments and muscles turn with the phase."""
    random = np.random.default_rng(seed)
    count = len(MUSCLES)
    base, swing = random.normal(scale=40.0, size=(2, 3, count))
    phase = np.tile(np.linspace(0.0, 1.0, frames), cycles)
    cycle = np.repeat(np.arange(cycles), frames)
    angle = 2.0 * np.pi * phase + random.normal(scale=0.05, size=cycles)[cycle]
    gain = base + swing * np.cos(angle)[:, None, None]
    needed = speed * 60.0 * np.column_stack([np.sin(angle), np.cos(angle), np.sin(2.0 * angle)])
    activation = solve_rows(gain, needed, low=0.01, high=1.0, reserve=1.0).activations
    active = 1000.0 + 200.0 * np.cos(angle)[:, None] * np.ones(count)
    past = angle[:, None] - 0.1 * np.arange(window)[::-1]
    x = np.stack([np.stack([np.sin(past + k), np.cos(past + k), -np.sin(past + k)], -1) for k in range(3)], 2)
    return Frames(
        cycle, phase, x, gain, needed, active, np.full((len(phase), count), 5.0), activation, activation * active
    )


def loss(a, gain, needed, weights):
    missing = needed - gain @ a
    beyond = np.maximum(0.0, 0.01 - a) ** 2 + np.maximum(0.0, a - 1.0) ** 2
    return weights[0] * missing @ missing + weights[1] * a @ a + weights[2] * beyond.sum()


@pytest.mark.parametrize("weights", [WEIGHTS, (3.0, 1000.0, 0.0), (3.0, 10.0, 5e4)])
def test_nothing_is_below_the_exact_minimiser(weights):
    frames = make_frames(cycles=1)
    found = minimise_loss(frames, weights)
    for row in range(0, len(found), 3):
        of_row = (frames.gain[row], frames.needed[row], weights)
        best = minimize(loss, np.full(len(MUSCLES), 0.1), of_row, method="BFGS", options={"gtol": 1e-6})
        assert loss(found[row], *of_row) <= best.fun * (1.0 + 1e-6) + 1e-9


def test_the_paper_s_bound_lets_activations_go_negative():
    """The weight of the bounds is below that of effort."""
    assert (minimise_loss(make_frames(), WEIGHTS) < -0.01).any()


def test_the_mean_by_phase():
    frames = make_frames(cycles=3, frames=101)
    expected = np.array([frames.activation[frames.cycle == cycle] for cycle in range(3)]).mean(axis=0)
    np.testing.assert_allclose(mean_by_phase(frames), expected, atol=1e-12)


@pytest.fixture(scope="module")
def study():
    conditions = {
        ("s1", name): make_frames(seed=3, speed=speed) for name, speed in (("a", 0.8), ("b", 1.0), ("c", 1.2))
    }
    chosen = [variant for variant in VARIANTS if variant.key in ("pi", "supervised", "no_effort")]
    done = MJCAStudy(conditions, StudySettings(epochs=1, window=6), chosen)
    for job in done.jobs():
        job.done(train_task(job.task()))
    return done


def test_everything_is_scored_beside_minimiser_and_mean(study):
    assert [split.kind for split in study.splits] == ["within"] * 3 + ["left_out"] * 3
    within, left_out = study.splits[0], study.splits[3]
    assert set(within.test.cycle) == {4}
    assert set(within.train.cycle) == {0, 1, 2, 3}
    assert len(left_out.train.x) == 2 * len(left_out.test.x)
    assert len(set(left_out.train.cycle)) == 10
    rows = {(row.split, row.method, row.quantity): row for row in summarise_scores(study.scores)}
    assert {method for kind, method, _ in rows if kind == "left_out"} == {
        *("PI-MJCA-BiGRU", "supervised MJCA-BiGRU", EXACT, PHASE)
    }
    assert ("within", "exact minimiser, PI without effort", "force") in rows
    assert rows["within", PHASE, "activation"].r2_median > 0.9
    for row in rows.values():
        assert row.count in (30, len(MUSCLES) * 3)
        assert np.isfinite([row.r2, row.nrmse]).all()


def test_scores_are_the_paper_s_equations(study):
    split = study.splits[0]
    exact = minimise_loss(split.test, WEIGHTS)
    muscle = 4
    true, found = split.test.activation[:, muscle], exact[:, muscle]
    label = list(MUSCLES.values())[muscle]
    score = next(
        s
        for s in study.scores
        if (s.split, s.condition, s.method, s.muscle, s.quantity) == ("within", "a", EXACT, label, "activation")
    )
    assert score.r2 == pytest.approx(1.0 - ((true - found) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    assert score.nrmse == pytest.approx(np.sqrt(((true - found) ** 2).mean()) / np.ptp(true))


def test_the_space_of_features(study):
    pytest.importorskip("sklearn")
    split = study.splits[3]
    networks = {key: study.networks[split.name, key] for key in ("pi", "supervised")}
    space = feature_space(networks, split.test)
    assert space.places["pi"].shape == (60, 2)
    assert 0.0 <= space.similarity <= 1.0
    assert (space.smoothness["pi"] < 1.0).all()
    assert (space.separation["supervised"] > 0.0).all()
    assert feature_space(networks, split.test.at(np.arange(60) < 20)) is None


def test_the_page(study, tmp_path):
    """What the networks are worth comes first; every figure and table stands in one page."""
    with ResultFiles(tmp_path) as files:
        write_mjca_report(files, "mini", study, study.splits[0], None, "png", ["s1: beware"])
    names = {f"mini_{key}.png" for key in ("within", "left_out", "ablations", "cycle")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"mini_report.html"}
    root = lxml.html.fromstring((tmp_path / "mini_report.html").read_text(encoding="utf-8"))
    assert len(root.xpath("//img[starts-with(@src, 'data:image/png;base64,')]")) == len(names)
    assert root.xpath("string(//p[@class='by'])").endswith(
        "3 conditions · 15 networks, 1 epoch each (the paper's: 500)"
    )
    first, second = root.xpath("//p[@class='summary']/text()")
    medians = {
        (row.split, row.method): row.r2_median for row in summarise_scores(study.scores) if row.quantity == "activation"
    }
    told = {key: f"{value:.2f}".replace("-", "−") for key, value in medians.items()}
    assert f"PI-MJCA-BiGRU {told['within', 'PI-MJCA-BiGRU']}," in first
    assert f"mean by phase of the cycle {told['left_out', PHASE]}." in second
    assert "No network is better than the latter." in first
    # However the trainings were finished.
    study.scores.reverse()
    assert study.in_order()[0].method == "PI-MJCA-BiGRU"
    study.scores.reverse()
    rows = root.xpath("//section[@aria-labelledby='within']//tbody/tr")
    assert [row.xpath("string(th)") for row in rows] == [
        *("PI-MJCA-BiGRU", "supervised MJCA-BiGRU", "PI without effort"),
        *(PHASE, EXACT, "exact minimiser, PI without effort"),
    ]
    assert root.xpath("//section[@aria-labelledby='worries']//li/text()") == ["s1: beware"]


def test_too_little_is_told():
    with pytest.raises(TrainingError, match="at least two cycles"):
        MJCAStudy({("s", "walk"): make_frames(cycles=1)}, StudySettings(window=6))
    record = CycleRecord("d", "s", "t", "1", "walk", None, "r", None, None, "", None, 0.0, 0.0, 1.0, None, 2)
    missing = "the study needs model_file, coordinates_file and external_loads_file; the manifest has no model_file and"
    with pytest.raises(TrainingError, match=missing):
        read_frames([record], StudySettings())


def test_a_model_without_the_ten_muscles(repository, paths_cache):
    pytest.importorskip("opensim")
    example = repository / "examples" / "01_refine_walking"
    files = {
        "model_file": example / "walker.osim",
        "coordinates_file": example / "walking_coordinates.mot",
        "external_loads_file": example / "external_loads.xml",
    }
    record = CycleRecord(
        "d",
        "s",
        "t",
        "1",
        "walk",
        None,
        "r",
        files["model_file"],
        None,
        "",
        None,
        0.0,
        0.5,
        1.0,
        None,
        2,
        files["external_loads_file"],
        files["coordinates_file"],
    )
    with pytest.raises(ModelError, match="lacks psoas, iliacus, vasint"):
        read_frames([record], StudySettings(lowpass=-1.0), paths_cache)
