"""The virtual cohort: OpenSim makes it again, its EMG has the known distortions, and the study finds them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from opensim_nem2e import STDRCrossValidateTool, STDRTrainTool
from opensim_nem2e.data.gait_cycles import read_gait_cycles
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.storage import read_storage

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = [EXAMPLES / "01_refine_walking", EXAMPLES / "02_virtual_cohort"]
MODULES = ("walking_body", "walking_motion", "walking_files", "walking_model", "virtual_subjects", "virtual_emg")


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """The example's modules."""
    sys.path[:0] = map(str, FOLDERS)
    try:
        names = (*MODULES, "make_cohort", "run_study")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        for folder in map(str, FOLDERS):
            while folder in sys.path:
                sys.path.remove(folder)
        for name in (*MODULES, "make_cohort", "run_study"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return pd.read_csv(FOLDERS[1] / "cohort.csv.gz")


@pytest.fixture(scope="module")
def files(example: SimpleNamespace, cohort: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations, EMG and manifests of all cases."""
    folder = tmp_path_factory.mktemp("cohort")
    example.virtual_emg.write_cases(cohort, folder)
    return folder


# --- the simulations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "index"), [(1, 0), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_opensim_makes_a_stride_again(example: SimpleNamespace, cohort: pd.DataFrame, number: int, index: int) -> None:
    """A slow and a comfortable stride; the tolerance is for other machines' rounding in the fit of the motion."""
    make = example.make_cohort
    subject = example.virtual_subjects.draw_subject(make.SEED, number, make.STRIDES)
    stride = subject.strides[index]
    ours = make.simulate_stride(subject, stride)
    key = (cohort["subject"] == subject.name) & (cohort["pace"] == stride.speed_name)
    shipped = cohort[key & (cohort["stride"] == stride.number)].reset_index(drop=True)
    assert ours.columns.tolist() == shipped.columns.tolist()
    numbers = [name for name in ours.columns if name not in ("subject", "pace")]
    np.testing.assert_allclose(ours[numbers], shipped[numbers], atol=0.01)


def test_cohort_is_whole_and_different(example: SimpleNamespace, cohort: pd.DataFrame) -> None:
    make = example.make_cohort
    strides = cohort.groupby(["subject", "pace", "stride"], sort=False)
    assert strides.ngroups == make.SUBJECTS * 3 * make.STRIDES
    assert (strides.size() == 101).all()
    muscles = [name for name in cohort.columns if name.endswith("_r")]
    assert len(muscles) == 12
    assert cohort[muscles].min().min() >= 0.0199
    assert cohort[muscles].max().max() <= 1.0001
    # The muscles do the work: moments of hip, knee and ankle reach 30 to 150 Nm.
    assert cohort["reserve_Nm"].max() < 5.0
    assert (strides["reserve_Nm"].max() < 0.1).mean() > 0.9
    # The motion is periodic, and so are the activations.
    ends = cohort[cohort["percent"] == 100][muscles].to_numpy() - cohort[cohort["percent"] == 0][muscles].to_numpy()
    assert np.abs(ends).mean() < 0.005
    # Speed raises the effort, and subjects differ in how they share it.
    peaks = strides[muscles].max()
    effort = peaks["soleus_r"].groupby("pace", sort=False).mean()
    assert effort["slow"] < effort["comfortable"] < effort["fast"]
    share = (peaks["gasmed_r"] / peaks["soleus_r"]).groupby("subject").mean()
    assert share.std() > 0.2 * share.mean()


def test_seed_decides(example: SimpleNamespace) -> None:
    draw = example.virtual_subjects.draw_subject
    assert draw(1, 3, 2) == draw(1, 3, 2)
    assert draw(1, 3, 2) != draw(2, 3, 2)
    # More strides or subjects change nobody.
    assert draw(1, 3, 4).body == draw(1, 3, 2).body
    assert draw(1, 3, 4).strides[0] == draw(1, 3, 2).strides[0]


def test_a_stride_departs_from_the_style_a_little(example: SimpleNamespace) -> None:
    motion, people = example.walking_motion, example.virtual_subjects
    phase = np.arange(100) / 100
    style = motion.Variation(5, **people.STYLE)
    alone = motion.Variation(6, **people.STRIDE)
    both = motion.Variation(5, **people.STYLE, stride=alone)
    np.testing.assert_allclose(both.draw(phase).angles, style.draw(phase).angles + alone.draw(phase).angles)
    assert both.draw(phase).lean == pytest.approx(style.draw(phase).lean + alone.draw(phase).lean)
    # Over many subjects the departures have the standard deviations they are given.
    angles = np.array([motion.Variation(k, **people.STYLE).draw(phase).angles for k in range(400)])
    np.testing.assert_allclose(np.rad2deg(angles.std(axis=0)), people.STYLE["angle_sd"], rtol=0.25)


# --- the EMG ----------------------------------------------------------------------------------------------------------


def test_redistribution_moves_effort_and_makes_none(example: SimpleNamespace, cohort: pd.DataFrame) -> None:
    emg = example.virtual_emg
    names = [name.removesuffix("_r") for name in cohort.columns if name.endswith("_r")]
    matrix = emg.mixing(names)
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert (np.linalg.matrix_rank(matrix), (matrix >= 0).all()) == (len(names), True)
    activation = cohort[[f"{name}_r" for name in names]].to_numpy()[:101]
    moved = emg.distort(activation, names, "redistribution", 7.0)
    for group in emg.SYNERGISTS:
        rows = [names.index(name) for name in group]
        np.testing.assert_allclose(moved[:, rows].sum(axis=1), activation[:, rows].sum(axis=1))
        # By hand: 0.3 of its own, 0.5 of the next one's, 0.2 of the one after's.
        first, second, third = activation[:, rows].T
        np.testing.assert_allclose(moved[:, rows[0]], 0.3 * first + 0.5 * second + 0.2 * third)
    untouched = names.index("tibant")
    np.testing.assert_array_equal(moved[:, untouched], activation[:, untouched])


def test_delay_means_that_emg_is_ahead(example: SimpleNamespace) -> None:
    emg = example.virtual_emg
    # A pulse at 50 % of the cycle, as OpenSim has it.
    activation = np.exp(-(((np.arange(101) - 50) / 8.0) ** 2))[:, None]
    np.testing.assert_allclose(emg.distort(activation, ["tibant"], "delay", 7.0)[:90], activation[7:97], atol=1e-12)
    assert np.argmax(emg.distort(activation, ["tibant"], "delay", 7.0)) == 43
    np.testing.assert_array_equal(emg.distort(activation, ["tibant"], "none", 7.0), activation)
    delays = [emg.delay_of(f"v{k:02d}", 1) for k in range(1, 200)]
    assert np.mean(delays) == pytest.approx(emg.DELAY, abs=0.002)
    assert np.std(delays) == pytest.approx(emg.DELAY_SD, rel=0.2)


def test_noise_is_of_the_stated_size(example: SimpleNamespace) -> None:
    emg, rng = example.virtual_emg, np.random.default_rng(0)
    measured = np.array([emg.noisy(np.full((101, 3), 0.5), 1.1, rng) for _ in range(300)])
    assert measured.std() == pytest.approx(0.5 * emg.FLUCTUATION, rel=0.1)
    assert emg.noisy(np.zeros((101, 3)), 1.1, rng).max() < 6 * emg.BASELINE
    # Slow: hardly any power above the stated frequency.
    power = np.abs(np.fft.rfft(measured[:, :100, 0] - 0.5, axis=1)) ** 2
    assert power[:, 8:].sum() < 0.02 * power[:, 1:].sum()


def test_manifests_are_readable_and_true(example: SimpleNamespace, cohort: pd.DataFrame, files: Path) -> None:
    emg = example.virtual_emg
    for case in emg.CASES:
        trials, channels = read_trials(files / case / "trials.csv"), read_channels(files / case / "emg_channels.csv")
        assert len(trials) == 2 * cohort.groupby(["subject", "pace", "stride"]).ngroups
        assert {channel.standard_name for channel in channels} == set(emg.CHANNELS.values())
        trial = trials[-1]
        activations, measured = read_storage(trial.activation_file), read_storage(trial.emg_file)
        assert (measured.time[0], measured.time[-1]) == (trial.start, pytest.approx(trial.end, abs=1e-7))
        np.testing.assert_allclose(activations.column("tibant_r"), cohort["tibant_r"].to_numpy()[-101:], atol=1e-7)
        # Muscle without synergists: as simulated, or only late, up to the noise.
        late = case in ("delay", "both")
        error = np.abs(measured.column("tibant_r") - activations.column("tibant_r")).max()
        assert (error > 0.15) == late


def test_left_cycles_begin_with_the_left_heel_strike(cohort: pd.DataFrame, files: Path) -> None:
    trials, channels = read_trials(files / "none" / "trials.csv"), read_channels(files / "none" / "emg_channels.csv")
    found = read_gait_cycles(trials[:2], channels, targets=["soleus"], samples=21, emg_normalization="none")
    data = found.cycles("soleus")
    stride = cohort[:101]
    right, left = stride["soleus_r"].to_numpy()[::5], np.roll(stride["soleus_l"].to_numpy()[:100], 50)[::5]
    np.testing.assert_allclose(data.own[0], right, atol=1e-6)
    np.testing.assert_allclose(data.own[1][:20], left, atol=5e-3)
    # The soleus pushes off at the end of either stance.
    assert 8 <= np.argmax(data.own[0]) <= 12
    assert 8 <= np.argmax(data.own[1]) <= 12
    # Without distortion the EMG is the activation of the same leg, up to the noise.
    np.testing.assert_allclose(data.y, data.own, atol=0.15)


# --- the study --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forked_workers")
def test_study_says_what_is_removed(
    example: SimpleNamespace, cohort: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way from the cohort's table to the shares removed, on three subjects; networks are not looked at."""
    study = example.run_study
    quick = partial(STDRCrossValidateTool, epochs=2, write_report=False)
    monkeypatch.setattr(study, "STDRCrossValidateTool", quick)
    example.virtual_emg.write_cases(cohort[cohort["subject"].isin(["v01", "v02", "v03"])], tmp_path)
    errors = study.run_case(tmp_path, "delay", ["soleus"], ["One-Entire"])
    assert errors.columns.tolist() == ["opensim", "stdr_net", "mean", "shift", "ridge"]
    # OpenSim's error, from the files: 75 ms at 20 samples of a cycle.
    trials, channels = (
        read_trials(tmp_path / "delay" / "trials.csv"),
        read_channels(tmp_path / "delay/emg_channels.csv"),
    )
    data = read_gait_cycles(trials, channels, targets=["soleus"], emg_normalization="none").cycles("soleus")
    by_cycle = np.sqrt(np.mean((data.own - data.y) ** 2, axis=1))
    expected = np.mean([by_cycle[data.subjects == name].mean() for name in ("v01", "v02", "v03")])
    found = errors.loc[("One-Entire", "soleus")]
    assert found["opensim"] == pytest.approx(expected, rel=1e-6)
    # A pure delay is undone by moving the curve, up to what differs between subjects, and the noise.
    removed = study.removed(errors).loc[("One-Entire", "soleus")]
    assert removed["shift"] == pytest.approx(1 - found["shift"] / found["opensim"])
    assert removed["shift"] > 0.6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_networks_find_the_known_answers(example: SimpleNamespace, files: Path, tmp_path: Path) -> None:
    """Every fourth subject is left out of one training; with the settings of the README's table."""
    muscles = ["gaslat", "glmax1"]

    def removed(case: str, condition: str) -> pd.DataFrame:
        results = tmp_path / f"{case}_{condition}"
        tool = STDRTrainTool()
        tool.trials_file, tool.emg_channels_file = files / case / "trials.csv", files / case / "emg_channels.csv"
        tool.setResultsDir(results)
        tool.emg_normalization, tool.condition, tool.muscles = "none", condition, muscles
        tool.hold_out_subjects = ["v04", "v08", "v12", "v16"]
        if condition == "All-Entire":
            tool.input_muscles = example.run_study.INPUTS
        tool.run()
        errors = pd.read_csv(results / "network_validation.csv").groupby("muscle")[["E_opensim", "E_refined", "E_mean"]]
        means = errors.mean()
        return 1 - means.div(means["E_opensim"], axis=0).loc[muscles]

    none, delay = removed("none", "One-Entire"), removed("delay", "One-Entire")
    one, every = removed("redistribution", "One-Entire"), removed("redistribution", "All-Entire")
    # Nothing is wrong, so nothing can be gained: what the networks do not learn exactly is added error.
    assert (none["E_refined"] < 0).all()
    # Most of a pure delay goes, and not because subjects are alike.
    assert (delay["E_refined"] > 0.45).all()
    assert (delay["E_refined"] > delay["E_mean"] + 0.1).all()
    # Most of a redistribution goes with all muscles of the leg as input, and less with the muscle alone.
    assert every["E_refined"].mean() > 0.5
    assert (every["E_refined"] > every["E_mean"] + 0.05).all()
    assert every["E_refined"].mean() > one["E_refined"].mean() + 0.05
