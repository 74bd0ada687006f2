"""The refinement, from setup file to results."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from opensim_nem2e.cli.main import main
from opensim_nem2e.errors import BundleError, CycleError, LabelError, ModelError, NEM2EError, SetupError, StorageError
from opensim_nem2e.log import logger
from opensim_nem2e.methods.bands import Bands
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.training_range import References, TrainingRange
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

RIGHT_STRIKES = (0.2, 1.3, 2.35)
LEFT_STRIKES = (0.75, 1.8)


@pytest.fixture
def tool(simulation, make_bundle):
    """A tool for the made-up walk, with its heel strikes listed."""
    tool = STDRRefineTool()
    tool.setName("refined")
    tool.setStatesFileName(simulation.states)
    tool.setResultsDir(simulation.folder / "results")
    tool.bundle_file = make_bundle()
    tool.amplitude = "emg"
    tool.right_heel_strikes = RIGHT_STRIKES
    tool.left_heel_strikes = LEFT_STRIKES
    return tool


def results(tool) -> dict[str, object]:
    folder = tool.resolve("results_directory")
    return {path.name: path for path in folder.iterdir()}


def digests(folder) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.suffix != ".log"}


def cells(path) -> tuple[list[str], list[list[str]]]:
    """Read labels and the text of every cell, without the package's reader."""
    lines = path.read_text().splitlines()
    start = lines.index("endheader")
    return lines[start + 1].split("\t"), [line.split("\t") for line in lines[start + 2 :]]


class TestResults:
    def test_all_files_are_there(self, tool):
        assert tool.run() is True
        assert sorted(results(tool)) == [
            "refined.log",
            "refined_activation.sto",
            "refined_controls.sto",
            "refined_effective_setup.xml",
            "refined_emg.sto",
            "refined_report.html",
            "refined_states.sto",
            "refined_summary.csv",
        ]

    def test_log_names_all_files_as_the_scripts_of_matlab_and_the_gui_look_for_them(self, tool, repository):
        tool.run()
        written = {str(path) for name, path in results(tool).items() if name != "refined.log"}
        lines = results(tool)["refined.log"].read_text().splitlines()
        matlab = (repository / "setups/matlab/nem2e_refine.m").read_text()
        gui = (repository / "setups/gui/nem2e_refine.py").read_text()
        without_time = [re.sub(r"^\[\d{4}-\d\d-\d\d [\d:.]+\] ", "", line) for line in lines]
        pattern = re.search(r"regexp\(log_text, '(.*)', 'tokens'", matlab)[1].replace("''", "'")
        assert {found[1] for line in without_time if (found := re.search(pattern, line))} == written
        pattern = re.search(r're.search\(r"(.*)", line\)', gui)[1]
        assert {found[1] for line in lines if (found := re.search(pattern, line))} == written

    def test_whose_profiles_are_used_is_said(self, tool, caplog):
        tool.bundle_file, tool.write_report = "profiles", False
        tool.run()
        assert "EMG profiles are of all ages unless <age_group> is adult or child." in caplog.text
        caplog.clear()
        tool.age_group = "adults"
        tool.run()
        assert "<age_group> is 'adults', but the bundle has EMG profiles of adult and child" in caplog.text
        assert "of all ages unless" not in caplog.text
        caplog.clear()
        tool.age_group, tool.motion = "child", "run"  # nobody's running is known by age
        tool.run()
        assert "of all ages" not in caplog.text

    def test_bands_and_trust_of_a_bundle_that_has_them(self, tool, make_bundle, caplog):
        bands = Bands(0.9, {"soleus": np.full(20, 0.1)}, 5, 2.0, "worst subject", (0.0, 1.0))
        curves = np.random.default_rng(0).random((3, 3, 20))
        known = TrainingRange(3, (0.5, 0.9), None, References(("soleus", "gasmed", "tib"), curves, 0.3))
        tool.bundle_file = make_bundle(bands=bands.section(), training_range=known.section())
        tool.write_figures = True
        assert tool.run() is True
        emg, activation = (read_storage(results(tool)[f"refined_{name}.sto"]) for name in ("emg", "activation"))
        edges, bounded = (read_storage(results(tool)[f"refined_{name}_bands.sto"]) for name in ("emg", "activation"))
        assert edges.labels == ("soleus_r_low", "soleus_r_high", "soleus_l_low", "soleus_l_high")
        inside = (emg.time > RIGHT_STRIKES[0] + 0.06) & (emg.time < RIGHT_STRIKES[1] - 0.06)
        value, low, high = emg.column("soleus_r"), edges.column("soleus_r_low"), edges.column("soleus_r_high")
        middle = inside & (value > 0.15) & (value < 0.85)
        assert middle.sum() > 50
        np.testing.assert_allclose((high - low)[middle], 0.2, atol=0.01)
        assert (bounded.column("soleus_r_low") <= activation.column("soleus_r") + 1e-8)[inside].all()
        with results(tool)["refined_trust.csv"].open() as stream:
            rows = list(csv.DictReader(stream))
        assert [row["side"] for row in rows] == ["r", "r", "l"]
        assert all(row["outside"] == "1" for row in rows)
        assert f"Right cycle at {RIGHT_STRIKES[0]:.3f} s: cadence 0.91 strides/s: outside 1.1 to 2" in caplog.text
        with results(tool)["refined_summary.csv"].open() as stream:
            widths = {row["muscle"]: row["band_width"] for row in csv.DictReader(stream)}
        assert 0.1 < float(widths["soleus_r"]) <= 0.21
        assert widths["tib_ant_r"] == ""

    def test_header_is_the_one_that_matlab_scripts_expect(self, tool):
        tool.run()
        for name in ("states", "activation", "controls", "emg"):
            lines = (tool.resolve("results_directory") / f"refined_{name}.sto").read_text().splitlines()
            assert lines[0].startswith(f"refined_{name} (opensim_nem2e ")
            assert lines[1] == "version=1"
            assert lines[2] == f"nRows={len(lines) - 7}"
            assert lines[3] == f"nColumns={len(lines[6].split(chr(9)))}"
            assert lines[4] == "inDegrees=no"
            assert lines[5] == "endheader"
            assert lines[6].startswith("time\t")

    def test_what_is_not_refined_keeps_its_text(self, tool, simulation):
        tool.run()
        labels, rows = cells(results(tool)["refined_states.sto"])
        labels_in, rows_in = cells(simulation.states)
        assert labels == labels_in
        assert len(rows) == len(rows_in)
        refined = {
            labels.index(f"/forceset/{m}_{s}/activation") for m in ("soleus", "med_gas", "tib_ant") for s in "rl"
        }
        time = np.array([float(row[0]) for row in rows])
        spans = {"r": (RIGHT_STRIKES[0], RIGHT_STRIKES[-1]), "l": (LEFT_STRIKES[0], LEFT_STRIKES[-1])}
        for column, label in enumerate(labels):
            before = [row[column] for row in rows_in]
            after = [row[column] for row in rows]
            if column not in refined:
                assert after == before, label
                continue
            start, end = spans["r" if "_r/" in label else "l"]
            inside = (time >= start) & (time <= end)
            away = (time < start - tool.crossfade_duration) | (time > end + tool.crossfade_duration)
            # Text outside the cycles and their fades is untouched, inside nearly all of it is new.
            assert all(a == b for a, b, o in zip(after, before, away, strict=True) if o)
            assert sum(a != b for a, b, i in zip(after, before, inside, strict=True) if i) > 0.99 * inside.sum()

    def test_estimate_is_the_networks(self, tool, simulation):
        """The EMG file is the network's output without any blend, computed here by other means."""
        from scipy.interpolate import PchipInterpolator

        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        bundle = Bundle.load(tool.bundle_file)
        for muscle, standard, start, end in (
            ("soleus_r", "soleus", *RIGHT_STRIKES[:2]),
            ("soleus_r", "soleus", *RIGHT_STRIKES[1:]),
            ("med_gas_l", "gasmed", *LEFT_STRIKES),
        ):
            at = np.linspace(start, end, 20)
            x = np.interp(at, simulation.time, simulation.activations[muscle])
            y, _ = bundle.refine(standard, x[None, :, None])
            inside = (emg.time > start) & (emg.time < end)
            expected = PchipInterpolator(at, y[0])(emg.time[inside])
            np.testing.assert_allclose(emg.column(muscle)[inside], expected, atol=1e-6)

    def test_no_jump_anywhere(self, tool):
        tool.run()
        activation = read_storage(results(tool)["refined_activation.sto"])
        steps = np.diff(activation.time)
        for muscle in ("soleus_r", "tib_ant_l"):
            jumps = np.abs(np.diff(activation.column(muscle)))
            # No faster than 40/s (from 0 to 1 in 25 ms) at any of the boundaries.
            assert np.all(jumps <= 40.0 * steps + 2e-8)

    def test_activations_stay_in_bounds_and_clipping_is_counted(self, tool, make_bundle):
        tool.bundle_file = make_bundle(size=3.0)
        tool.crossfade_duration = 0.0
        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        activation = read_storage(results(tool)["refined_activation.sto"])
        with results(tool)["refined_summary.csv"].open() as stream:
            rows = {row["muscle"]: row for row in csv.DictReader(stream)}
        assert set(rows) == set(emg.labels)
        total = 0
        for muscle in emg.labels:
            estimate, bounded = emg.column(muscle), activation.column(muscle)
            outside = (estimate < 0.01 - 1e-8) | (estimate > 1.0 + 1e-8)
            clipped = np.abs(bounded - estimate) > 1e-7
            assert bounded[outside].min(initial=0.01) >= 0.01
            assert bounded[outside].max(initial=1.0) <= 1.0
            np.testing.assert_allclose(bounded[~outside], estimate[~outside], atol=2e-8)
            assert abs(int(rows[muscle]["clipped_samples"]) - clipped.sum()) <= 2
            total += int(rows[muscle]["clipped_samples"])
        assert total > 0

    def test_controls_reproduce_the_refined_activations(self, tool, simulation):
        """Integrate the written controls with SciPy, by the equation of OpenSim's documentation."""
        from scipy.integrate import solve_ivp

        tool.activation_time_constant, tool.deactivation_time_constant = 0.012, 0.045
        tool.run()
        controls = read_storage(results(tool)["refined_controls.sto"])
        activation = read_storage(results(tool)["refined_activation.sto"])
        u, a = controls.column("soleus_r"), activation.column("soleus_r")

        def rate(t, state):
            e = np.interp(t, controls.time, u)
            z = 0.5 + 1.5 * state
            return (e - state) / np.where(e > state, 0.012 * z, 0.045 / z)

        start = RIGHT_STRIKES[0] + 0.1
        end = RIGHT_STRIKES[-1] - 0.1
        rows = (activation.time > start) & (activation.time < end)
        first = np.interp(start, activation.time, a)
        done = solve_ivp(rate, (start, end), [first], t_eval=activation.time[rows], max_step=2e-3, rtol=1e-6)
        # Where the estimate falls faster than the muscle can, the controls are at their bound and lag behind.
        free = np.interp(activation.time[rows], controls.time, u) > 0.011
        assert free.mean() > 0.5
        assert np.sqrt(np.mean((done.y[0] - a[rows])[free] ** 2)) < 0.01
        assert u.min() >= 0.01 - 1e-8
        assert u.max() <= 1.0 + 1e-8

    def test_other_actuators_are_carried_over(self, tool, simulation):
        tool.run()
        labels, rows = cells(results(tool)["refined_controls.sto"])
        labels_in, rows_in = cells(simulation.controls)
        assert labels == labels_in
        for label in ("reserve_knee_angle_r", "FX", "psoas_r", "vas_lat_l"):
            column = labels.index(label)
            assert [row[column] for row in rows] == [row[column] for row in rows_in], label

    def test_without_controls_every_muscle_gets_one(self, tool, simulation):
        simulation.controls.unlink()
        tool.run()
        controls = read_storage(results(tool)["refined_controls.sto"])
        assert controls.labels == tuple(simulation.activations)
        text = results(tool)["refined.log"].read_text()
        assert "[warn] The controls file of the simulation is not at hand" in text

    def test_summary_agrees_with_the_files(self, tool, simulation):
        tool.run()
        with results(tool)["refined_summary.csv"].open() as stream:
            rows = {row["muscle"]: row for row in csv.DictReader(stream)}
        assert rows["soleus_r"]["cycles"] == "2"
        assert rows["soleus_l"]["cycles"] == "1"
        start, end = LEFT_STRIKES
        at = np.linspace(start, end, 20)
        before = np.interp(at, simulation.time, simulation.activations["soleus_l"])
        # The curve as it was written, blends at the cycle's ends included.
        written = read_storage(results(tool)["refined_activation.sto"])
        after = np.interp(at, written.time, written.column("soleus_l"))
        row = rows["soleus_l"]
        assert float(row["rms_change"]) == pytest.approx(np.sqrt(np.mean((after - before) ** 2)), abs=1e-5)
        assert float(row["mean_after"]) == pytest.approx(after.mean(), abs=1e-5)
        # Peaks are told to half a percent of the cycle.
        fine = np.linspace(start, end, 201)
        before = np.interp(fine, simulation.time, simulation.activations["soleus_l"])
        after = np.interp(fine, written.time, written.column("soleus_l"))
        assert float(row["peak_before_percent"]) == pytest.approx(np.argmax(before) / 2, abs=1e-3)
        assert float(row["peak_after_percent"]) == pytest.approx(np.argmax(after) / 2, abs=1e-3)
        shift = (np.argmax(after) - np.argmax(before)) / 200
        assert float(row["peak_shift_ms"]) == pytest.approx(1e3 * (end - start) * (shift - round(shift)), abs=1e-2)

    def test_effective_setup_gives_the_same_results(self, tool, simulation):
        tool.write_attention = True
        tool.run()
        first = digests(tool.resolve("results_directory"))
        again = STDRRefineTool(results(tool)["refined_effective_setup.xml"])
        assert again.cycle_source == "times"
        assert again.resolve("controls_file") == simulation.controls
        again.results_directory = simulation.folder / "again"
        again.run()
        second = digests(simulation.folder / "again")
        assert {k: v for k, v in first.items() if "setup" not in k} == {
            k: v for k, v in second.items() if "setup" not in k
        }
        # In place, too: the setup that a run left is no input that would be lost.
        STDRRefineTool(results(tool)["refined_effective_setup.xml"]).run()
        third = digests(tool.resolve("results_directory"))
        assert {k: v for k, v in first.items() if "setup" not in k} == {
            k: v for k, v in third.items() if "setup" not in k
        }

    def test_attention_file(self, tool, simulation):
        tool.write_attention = True
        tool.muscles = ["soleus"]
        tool.run()
        attention = read_storage(results(tool)["refined_attention.sto"])
        assert len(attention.labels) == 2 * 20
        assert attention.labels[0] == "soleus_r/sample_01"
        right = [k for k, label in enumerate(attention.labels) if label.startswith("soleus_r/")]
        inside = (attention.time >= RIGHT_STRIKES[0]) & (attention.time <= RIGHT_STRIKES[-1])
        np.testing.assert_allclose(attention.data[np.ix_(inside, right)].sum(axis=1), 1.0, atol=1e-6)
        assert np.all(attention.data[np.ix_(~inside, right)] == 0.0)

    def test_figures(self, tool):
        tool.write_figures = True
        tool.figure_format = "svg"
        tool.run()
        svg = results(tool)["refined_plantarflexors.svg"].read_text()
        assert "<svg" in svg
        assert {"refined_plantarflexors.svg", "refined_dorsiflexors.svg"} <= set(results(tool))
        assert "refined_quadriceps.svg" not in results(tool)

    def test_log_says_what_was_assumed(self, tool):
        tool.run()
        text = results(tool)["refined.log"].read_text()
        first = text.splitlines()[0]
        assert re.fullmatch(r"\[[-:. \d]{23}\] \[info\] Running STDRRefineTool refined \(opensim_nem2e \S+\)\.", first)
        for part in (
            "No <model_file> was given",
            "The controls file beside the states file is used",
            "Complete right gait cycles (s): 0.2000-1.3000, 1.3000-2.3500.",
            "Complete left gait cycles (s): 0.7500-1.8000.",
            "soleus_r is refined by the network 'soleus'.",
            "The bundle carries no validation figures",
        ):
            assert part in text, part

    def test_a_calibrated_bundle_says_for_whom_it_is(self, tool, make_bundle, caplog):
        caplog.set_level("INFO")
        row = {"strides": 3, "epochs": 0, "E_opensim": 0.3, "E_initial": 0.2, "E_calibrated": 0.08, "E_mean": 0.09}
        about = {
            "subjects": ["ann"],
            "motions": ["walk"],
            "muscles": {"soleus": row, "tib": {"strides": 1, "epochs": 0}},
        }
        tool.bundle_file = make_bundle(calibration=about)
        tool.run()
        assert "calibrated to ann (walk): they are for this subject and motion, and nothing else" in caplog.text
        assert "OpenSim 0.300, refined 0.080, mean of the other strides 0.090" in caplog.text
        assert "Calibrated on a single stride, so that their error is not known: gasmed, tib." in caplog.text
        assert "carries no validation figures" not in caplog.text

    @pytest.mark.parametrize(
        ("section", "fault"),
        [
            ([], "the section 'calibration' must be an object"),
            ({"subjects": "ann", "motions": ["walk"], "muscles": {}}, "'subjects' .* must be a list of texts"),
            ({"subjects": [1], "motions": ["walk"], "muscles": {}}, "'subjects' .* must be a list of texts"),
            (
                {"subjects": ["ann"], "motions": ["walk"], "muscles": {"tib": {"E_mean": "x"}}},
                "one object with numbers",
            ),
        ],
    )
    def test_a_wrong_calibration_section_is_refused(self, make_bundle, section, fault):
        with pytest.raises(BundleError, match=fault):
            make_bundle(calibration=section)

    def test_validation_figures_are_shown(self, tool, make_bundle):
        row = {"subjects": 4, "cycles": 40, "E_opensim": 0.3, "E_mean": 0.2, "E_ridge": 0.2, "E_refined": 0.18}
        row |= {"Er_refined": -0.4, "Er_mean": -0.3, "Er_ridge": -0.3}
        worse = row | {"E_refined": 0.31, "Er_refined": 0.03}
        average = row | {"E_refined": 0.2, "Er_refined": -0.33}
        tool.bundle_file = make_bundle(
            validation={
                "method": "leave_one_subject_out",
                "leave_one_subject_out": {"soleus": row, "tib": worse, "gasmed": average},
            },
            targets=("soleus", "gasmed", "tib", "vaslat"),
        )
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert re.search(r"soleus +4 +0\.300 +0\.180 +-40 % +0\.200\n", text)
        assert re.search(r"tib +4 +0\.300 +0\.310 +\+3 % +0\.200 +\(no better than OpenSim\)", text)
        assert re.search(r"gasmed +4 +0\.300 +0\.200 +-33 % +0\.200 +\(no better than the mean profile\)", text)
        assert re.search(r"vaslat +never validated", text)
        assert "take the refined curves as average waveforms" not in text

    @pytest.mark.parametrize(("refined", "warned"), [(0.19, False), (0.2, True), (0.25, True)])
    def test_a_bundle_that_is_no_better_than_the_average_says_so(self, refined, warned, tool, make_bundle):
        row = {"subjects": 4, "E_opensim": 0.3, "E_mean": 0.2, "E_ridge": 0.2, "E_refined": refined, "Er_refined": -0.3}
        tool.bundle_file = make_bundle(
            validation={"method": "held_out", "held_out": {"soleus": row, "ALL": row}}, seed=1
        )
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert ("[warn] On subjects it has not seen the bundle is no nearer to measured EMG" in text) == warned


class TestCycles:
    def test_left_uses_left_cycles(self, tool):
        tool.left_heel_strikes = ()
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "There is no complete left gait cycle; not refined: soleus_l, med_gas_l, tib_ant_l." in text
        assert set(read_storage(results(tool)["refined_emg.sto"]).labels) == {"soleus_r", "med_gas_r", "tib_ant_r"}

    def test_all_entire_swaps_sides(self, tool, simulation, make_bundle):
        inputs = ("ipsi:soleus", "contra:tib", "ipsi:psoas", "contra:vaslat")
        tool.bundle_file = make_bundle("All-Entire", ("soleus",), inputs)
        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        bundle = Bundle.load(tool.bundle_file)
        for side, other, (start, end) in (("r", "l", RIGHT_STRIKES[:2]), ("l", "r", LEFT_STRIKES)):
            at = np.linspace(start, end, 20)
            names = [f"soleus_{side}", f"tib_ant_{other}", f"psoas_{side}", f"vas_lat_{other}"]
            x = np.column_stack([np.interp(at, simulation.time, simulation.activations[name]) for name in names])
            y, _ = bundle.refine("soleus", x[None])
            middle = np.interp(at[5:15], emg.time, emg.column(f"soleus_{side}"))
            # Between two samples pchip and a straight line differ; at the samples both pass through.
            np.testing.assert_allclose(middle, y[0, 5:15], atol=2e-4)

    def test_one_quarter(self, tool, simulation, make_bundle):
        tool.bundle_file = make_bundle("One-Quarter", ("soleus",))
        tool.write_attention = True
        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        start, end = LEFT_STRIKES
        at = np.linspace(start, end, 77)
        x = np.interp(at, simulation.time, simulation.activations["soleus_l"])
        y, _ = Bundle.load(tool.bundle_file).refine("soleus", x[None, :, None])
        middle = slice(10, 67)
        np.testing.assert_allclose(np.interp(at[middle], emg.time, emg.column("soleus_l")), y[0, middle], atol=5e-3)
        attention = read_storage(results(tool)["refined_attention.sto"])
        left = [k for k, label in enumerate(attention.labels) if label.startswith("soleus_l/")]
        assert len(left) == 20
        inside = (attention.time >= start) & (attention.time <= end)
        np.testing.assert_allclose(attention.data[np.ix_(inside, left)].sum(axis=1), 1.0, atol=1e-6)

    def test_whole_file_from_mid_stance(self, tool, simulation):
        tool.cycle_source = "whole_file"
        tool.whole_file_leading_limb = "left"
        tool.whole_file_heel_strike = 1.0
        start, end = simulation.time[[0, -1]]
        cycles = tool.find_cycles(simulation.time)
        assert [cycle.heel_strike for cycle in cycles["l"]] == pytest.approx([1.0])
        # The other limb strikes half a cycle later.
        half = start + (1.0 - start + 0.5 * (end - start)) % (end - start)
        assert [cycle.heel_strike for cycle in cycles["r"]] == pytest.approx([half])
        tool.whole_file_heel_strike = end + 0.1
        with pytest.raises(CycleError, match="must lie inside"):
            tool.find_cycles(simulation.time)

    def test_whole_file(self, tool, simulation):
        tool.right_heel_strikes = tool.left_heel_strikes = ()
        tool.cycle_source = "whole_file"
        tool.initial_time, tool.final_time = 0.2, 1.3
        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        bundle = Bundle.load(tool.bundle_file)
        # The left cycle is the same stretch, rolled by half.
        phase = np.linspace(0, 1, 20)
        at = 0.2 + 1.1 * ((phase + 0.5) % 1.0)
        at[np.isclose(phase, 0.5)] = 1.3
        x = np.interp(at, simulation.time, simulation.activations["soleus_l"])
        y, _ = bundle.refine("soleus", x[None, :, None])
        check = [2, 5, 13, 16]
        np.testing.assert_allclose(np.interp(at[check], emg.time, emg.column("soleus_l")), y[0, check], atol=2e-4)
        assert "all of 0.2000 to 1.3000 s is taken as one cycle" in results(tool)["refined.log"].read_text()

    def test_time_range_is_kept_to(self, tool, simulation):
        """A cycle may reach a little beyond the file, never beyond the times that the user sets."""
        tool.initial_time, tool.final_time = 0.22, 2.5
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "The right gait cycle 0.2000-1.3000 s does not count: it is not complete within 0.2200 to" in text
        activation = read_storage(results(tool)["refined_activation.sto"])
        early = activation.time < 1.24  # the cycle that begins at 1.3 s fades in over 0.05 s
        np.testing.assert_allclose(
            activation.column("soleus_r")[early], simulation.activations["soleus_r"][early], rtol=0, atol=1e-15
        )

    def test_kept_samples_are_reported(self, tool, simulation):
        tool.left_heel_strikes = ()
        tool.run()
        text = results(tool)["refined.log"].read_text()
        time = read_storage(simulation.states).time
        outside = int(((time < 0.2) | (time > 2.35)).sum())
        assert (
            f"The right limb keeps OpenSim's values outside its cycles: {outside} of {len(time)} rows "
            f"(s: {time[0]:.4f}-0.2000, 2.3500-{time[-1]:.4f})." in text
        )
        assert "the bundle has no network for vas_lat_r, psoas_r, vas_lat_l, psoas_l." in text

    def test_listed_heel_strikes_come_before_files(self, tool, repository, simulation):
        """Who types times for a trial means them, beside loads that are given for the torques, too."""
        tool.external_loads_file = repository / "examples/01_refine_walking/external_loads.xml"
        cycles = tool.find_cycles(simulation.time)
        assert [cycle.start for cycle in cycles["r"]] == [RIGHT_STRIKES[0], RIGHT_STRIKES[1]]
        assert [cycle.start for cycle in cycles["l"]] == [LEFT_STRIKES[0]]

    @pytest.mark.parametrize(
        ("degrees", "told", "taken"), [(60.0, True, "turn"), (6.0, True, "walk"), (60.0, False, "walk")]
    )
    def test_a_turn_is_seen_in_the_motion(self, tool, simulation, degrees, told, taken, caplog):
        """Where the bundle knows turns, and the motion is given."""
        caplog.set_level("INFO", logger="opensim_nem2e")
        heading = degrees * simulation.time / 1.1
        path = simulation.folder / "motion.mot"
        columns = np.column_stack([0.0 * heading, heading])
        write_storage(path, TimeSeries(simulation.time, ("hip_flexion_r", "pelvis_rotation"), columns, in_degrees=True))
        tool.coordinates_file = path
        bundle = SimpleNamespace(metadata={"data": {"motions": ["walk", *["turn"] * told]}, "parts": []})
        cycles = {"r": [Cycle("r", 0.2, 1.3)], "l": []}
        assert tool._told_or_found(bundle, cycles, tool._leg_motion(None)) == taken
        assert f"Taken as {taken}: " in caplog.text

    def test_a_calibrated_bundle_says_for_whom_it_is_in_info(self, make_bundle, capsys):
        row = {"strides": 3, "epochs": 0, "E_opensim": 0.3, "E_initial": 0.2, "E_calibrated": 0.08, "E_mean": 0.09}
        about = {
            "subjects": ["ann"],
            "motions": ["walk"],
            "muscles": {"soleus": row, "tib": {"strides": 1, "epochs": 0}},
        }
        assert main(["info", str(make_bundle(calibration=about))]) == 0
        told = capsys.readouterr().out
        assert "then calibrated to ann (walk)" in " ".join(told.split())
        assert told.splitlines()[-2:] == [
            "soleus          3    0.300   0.200       0.080    0.090",
            "tib             1  not known: a single stride",
        ]
        assert "Nothing is known" not in told

    def test_statements_that_are_not_used_are_named(self, tool):
        tool.cycle_source = "whole_file"
        tool.initial_time, tool.final_time = 0.2, 1.3
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "[warn] <right_heel_strikes> and <left_heel_strikes>: not used, as <cycle_source> is whole_file." in text

    def test_standard_name_asks_for_the_limbs_that_have_cycles(self, tool):
        tool.muscles = ["soleus"]
        tool.left_heel_strikes = ()
        tool.run()
        assert read_storage(results(tool)["refined_emg.sto"]).labels == ("soleus_r",)

    def test_rolled_to_the_limbs_own_heel_strike(self, tool, simulation):
        tool.right_heel_strikes = RIGHT_STRIKES[:2]
        tool.left_heel_strikes = LEFT_STRIKES[:1]
        tool.roll_incomplete_cycles = True
        tool.run()
        emg = read_storage(results(tool)["refined_emg.sto"])
        assert "soleus_l" in emg.labels
        at = 0.2 + (0.75 - 0.2 + 1.1 * np.linspace(0, 1, 20)) % 1.1
        at[-1] = 0.75
        x = np.interp(at, simulation.time, simulation.activations["soleus_l"])
        y, _ = Bundle.load(tool.bundle_file).refine("soleus", x[None, :, None])
        check = [2, 5, 13, 16]
        np.testing.assert_allclose(np.interp(at[check], emg.time, emg.column("soleus_l")), y[0, check], atol=2e-4)

    def test_time_range_limits_cycles(self, tool):
        tool.final_time = 1.35
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "Complete right gait cycles (s): 0.2000-1.3000." in text
        assert "The right gait cycle 1.3000-2.3500 s does not count: it is not complete" in text

    def test_cycle_may_begin_a_little_before_the_file(self, tool, simulation):
        """CMC's results begin 30 ms after its initial time."""
        start = float(simulation.time[0])
        tool.right_heel_strikes = (start - 0.03, 1.1)
        tool.run()
        assert "begins 30 ms outside the file" in results(tool)["refined.log"].read_text()
        tool.cycle_tolerance = 0.02
        tool.left_heel_strikes = ()
        with pytest.raises(CycleError, match="There is no complete gait cycle"):
            tool.run()


class TestInputs:
    def test_damaged_header_is_healed(self, tool, simulation):
        """OpenSim 4.6 leaves this at exit: 65 stale bytes over the start of the file."""
        stale = b"UNKNOWN\nversion=1\nnRows=0\nnColumns=1\ninDegrees=no\nendheader\ntime\n"
        assert len(stale) == 65
        content = simulation.states.read_bytes()
        tool.run()
        healthy = digests(tool.resolve("results_directory"))
        simulation.states.write_bytes(stale + content[65:])
        tool.results_directory = simulation.folder / "healed"
        tool.run()
        healed = digests(simulation.folder / "healed")
        for name in ("refined_states.sto", "refined_controls.sto", "refined_emg.sto"):
            assert healed[name] == healthy[name]

    def test_old_labels(self, tool, simulation):
        text = simulation.states.read_text()
        text = re.sub(r"/forceset/(\w+)/(activation|fiber_length)", r"\1.\2", text)
        text = text.replace("/jointset/hip_r/hip_flexion_r/value", "hip_flexion_r")
        text = text.replace("/jointset/hip_r/hip_flexion_r/speed", "hip_flexion_r_u")
        simulation.states.write_text(text)
        tool.run()
        labels, _ = cells(results(tool)["refined_states.sto"])
        assert labels[1:4] == ["hip_flexion_r", "hip_flexion_r_u", "soleus_r.activation"]
        assert "soleus_r" in read_storage(results(tool)["refined_emg.sto"]).labels

    def test_static_optimization(self, tool, simulation):
        path = simulation.folder / "walk1_StaticOptimization_activation.sto"
        path.write_bytes(simulation.controls.read_bytes())
        tool.states_file = ""
        tool.activations_file = path
        tool.setName("")
        tool.run()
        assert "walk1_refined_states.sto" not in results(tool)
        controls = read_storage(results(tool)["walk1_refined_controls.sto"])
        source = read_storage(path)
        np.testing.assert_array_equal(controls.column("FX"), source.column("FX"))
        np.testing.assert_array_equal(controls.column("psoas_r"), source.column("psoas_r"))
        activation = read_storage(results(tool)["walk1_refined_activation.sto"])
        assert activation.labels == tuple(simulation.activations)

    def test_moco_solution(self, tool, simulation):
        """A Moco solution holds states, controls and multipliers in one file."""
        states, controls = read_storage(simulation.states), read_storage(simulation.controls)
        labels = [*states.labels]
        columns = [states.data]
        for label in controls.labels:
            labels.append(f"/forceset/{label}")
            columns.append(np.interp(states.time, controls.time, controls.column(label))[:, None])
        labels.append("lambda_cid4_p0")
        columns.append(np.ones((states.n_rows, 1)))
        path = simulation.folder / "walk1_moco.sto"
        with path.open("w") as stream:
            stream.write("inDegrees=no\nnum_controls=12\nnum_states=22\nDataType=double\nversion=3\n")
            stream.write("OpenSimVersion=4.6\nendheader\n" + "\t".join(["time", *labels]) + "\n")
            np.savetxt(stream, np.column_stack([states.time, *columns]), fmt="%.17g", delimiter="\t")
        tool.states_file = ""
        tool.activations_file = path
        tool.run()
        controls_out = read_storage(results(tool)["refined_controls.sto"])
        assert controls_out.labels == controls.labels
        np.testing.assert_array_equal(
            controls_out.column("FX"), np.interp(states.time, controls.time, controls.column("FX"))
        )
        # The controls beside the states are the refined ones.
        states_out = read_storage(results(tool)["refined_states.sto"])
        np.testing.assert_array_equal(states_out.column("/forceset/soleus_r"), controls_out.column("soleus_r"))
        assert not np.array_equal(
            states_out.column("/forceset/soleus_r"), states.column("/forceset/soleus_r/activation")
        )

    def test_controls_alone(self, tool, simulation):
        """Activations come from the excitations through the activation dynamics."""
        from scipy.integrate import solve_ivp

        tool.states_file = ""
        tool.controls_file = simulation.controls
        tool.run()
        activation = read_storage(results(tool)["refined_activation.sto"])
        controls = read_storage(simulation.controls)
        u = controls.column("psoas_r")

        def rate(t, a):
            e, z = np.interp(t, controls.time, u), 0.5 + 1.5 * a
            return (e - a) / np.where(e > a, 0.01 * z, 0.04 / z)

        done = solve_ivp(rate, (controls.time[0], controls.time[-1]), u[:1], t_eval=controls.time[:-1], max_step=2e-3)
        np.testing.assert_allclose(activation.column("psoas_r")[:-1], done.y[0], atol=2e-3)
        assert "refined_states.sto" not in results(tool)

    def test_unreadable_number_elsewhere_does_no_harm(self, tool, simulation):
        text = simulation.states.read_text().splitlines(keepends=True)
        parts = text[500].split("\t")
        parts[4] = "nan"  # soleus_r/fiber_length
        text[500] = "\t".join(parts)
        simulation.states.write_text("".join(text))
        tool.run()
        parts[3] = "nan"  # soleus_r/activation
        text[500] = "\t".join(parts)
        simulation.states.write_text("".join(text))
        with pytest.raises(StorageError, match=r"/forceset/soleus_r/activation.* s"):
            tool.run()

    def test_missing_values_do_not_reach_the_controls(self, tool, simulation):
        """psoas is neither refined nor an input; without a controls file its control would be computed."""
        simulation.controls.unlink()
        text = simulation.states.read_text().splitlines(keepends=True)
        labels = text[6].rstrip().split("\t")
        parts = text[500].split("\t")
        parts[labels.index("/forceset/psoas_r/activation")] = "-1.#IND00"
        text[500] = "\t".join(parts)
        simulation.states.write_text("".join(text))
        tool.run()
        controls = read_storage(results(tool)["refined_controls.sto"])
        assert not controls.has("psoas_r")
        assert np.isfinite(controls.data).all()
        assert "No controls are written for psoas_r: values are missing." in results(tool)["refined.log"].read_text()

    def test_duplicate_label_matters_only_where_it_is_needed(self, tool, simulation):
        text = simulation.states.read_text()
        simulation.states.write_text(text.replace("/forceset/psoas_l/activation", "/forceset/psoas_r/activation"))
        tool.run()
        assert not read_storage(results(tool)["refined_activation.sto"]).has("psoas_r")
        simulation.states.write_text(text.replace("/forceset/psoas_l/activation", "/forceset/soleus_r/activation"))
        with pytest.raises(LabelError, match=r"soleus_r.*twice|soleus_r.*more than once|soleus_r.*2"):
            tool.run()

    def test_controls_of_another_time(self, tool, simulation):
        lines = simulation.controls.read_text().splitlines(keepends=True)
        shifted = []
        for line in lines[7:]:
            first, _, rest = line.partition("\t")
            shifted.append(f"{float(first) + 30.0:28.20f}\t{rest}")
        simulation.controls.write_text("".join(lines[:7] + shifted))
        with pytest.raises(StorageError, match=r"must be of the same time as the states.* 30\.\d+ to 32\.\d+ s"):
            tool.run()
        assert not (simulation.folder / "results").exists()

    def test_controls_of_part_of_the_time(self, tool, simulation):
        lines = simulation.controls.read_text().splitlines(keepends=True)
        simulation.controls.write_text("".join(lines[:300]))
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "[warn] The controls cover only part of the simulation: the states cover 0.0011 to 2.4" in text

    def test_reproduction_is_that_of_the_written_file(self, tool):
        """The figure in the log, computed again from the two files."""
        from opensim_nem2e.musculoskeletal.activation import activation_from_excitation

        tool.run()
        controls = read_storage(results(tool)["refined_controls.sto"])
        activation = read_storage(results(tool)["refined_activation.sto"])
        worst = 0.0
        for muscle, (start, end) in {
            **{f"{m}_r": (RIGHT_STRIKES[0], RIGHT_STRIKES[-1]) for m in ("soleus", "med_gas", "tib_ant")},
            **{f"{m}_l": LEFT_STRIKES for m in ("soleus", "med_gas", "tib_ant")},
        }.items():
            wanted = np.interp(controls.time, activation.time, activation.column(muscle))
            reached = activation_from_excitation(controls.time, controls.column(muscle), 0.01, 0.04, wanted[0])
            inside = (controls.time >= start) & (controls.time <= end)
            worst = max(worst, float(np.sqrt(np.mean((reached - wanted)[inside] ** 2))))
        stated = float(re.search(r"within ([\d.]+) RMS", results(tool)["refined.log"].read_text())[1])
        assert stated == pytest.approx(worst, abs=1.1e-4)

    def test_controls_xml_with_steps(self, tool, simulation):
        """CMC holds a control since the node before; straight lines would be half a window late."""
        from scipy.integrate import solve_ivp

        nodes = np.arange(0.0, 2.41, 0.01)
        values = np.where((nodes * 5).astype(int) % 2 == 0, 0.1, 0.8)
        controls = "".join(
            f'<ControlLinear name="{muscle}.excitation"><use_steps>true</use_steps><x_nodes><objects>'
            + "".join(
                f"<ControlLinearNode><t>{t!r}</t><value>{v!r}</value></ControlLinearNode>"
                for t, v in zip(nodes.tolist(), values.tolist(), strict=True)
            )
            + "</objects></x_nodes></ControlLinear>"
            for muscle in ("soleus_r", "psoas_r")
        )
        path = simulation.folder / "walk1_controls.xml"
        path.write_text(
            f'<OpenSimDocument Version="40600"><ControlSet name="c"><objects>{controls}</objects></ControlSet>'
            "</OpenSimDocument>"
        )
        tool.states_file, tool.controls_file = "", path
        tool.run()
        activation = read_storage(results(tool)["refined_activation.sto"])

        def rate(t, a):
            e = values[min(np.searchsorted(nodes, t - 1e-12), len(nodes) - 1)]
            z = 0.5 + 1.5 * a
            return (e - a) / np.where(e > a, 0.01 * z, 0.04 / z)

        at = activation.time[:-1]
        done = solve_ivp(rate, (0.0, 2.4), values[:1], t_eval=at, max_step=1e-3, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(activation.column("psoas_r")[:-1], done.y[0], atol=5e-3)

    def test_own_muscle_names(self, tool, simulation):
        table = simulation.folder / "names.csv"
        table.write_text("model_muscle,standard_name\npsoas,soleus\nsoleus,soleus_inner\n")
        tool.muscle_names_file = table
        tool.run()
        labels = read_storage(results(tool)["refined_emg.sto"]).labels
        assert "psoas_r" in labels
        assert "soleus_r" not in labels


def own_setup_file(tool, simulation, make_bundle):
    tool.setName("own")
    tool.printToXML(simulation.folder / "own_effective_setup.xml")
    tool.results_directory = simulation.folder
    tool._setup_file = simulation.folder / "own_effective_setup.xml"


def one_row(tool, simulation, make_bundle):
    lines = simulation.states.read_text().splitlines(keepends=True)
    simulation.states.write_text("".join(lines[:8]))
    simulation.controls.unlink()


def change(**values):
    """Return a function that sets properties of a tool."""

    def apply(tool, simulation, make_bundle):
        for name, value in values.items():
            setattr(tool, name, value)

    return apply


def other_bundle(tool, simulation, make_bundle):
    tool.bundle_file = make_bundle("One-Entire", ("glmax1", "bi"))


def needy_bundle(tool, simulation, make_bundle):
    tool.bundle_file = make_bundle("All-Entire", ("soleus",), ("ipsi:soleus", "contra:glmax1"))


def wrong_model(tool, simulation, make_bundle):
    tool.model_file = simulation.folder / "other.osim"
    tool.model_file and (simulation.folder / "other.osim").write_text(
        '<?xml version="1.0"?><OpenSimDocument Version="40600"><Model name="other"><ForceSet><objects>'
        '<Millard2012EquilibriumMuscle name="biceps"/></objects></ForceSet></Model></OpenSimDocument>'
    )


def truncated_bundle(tool, simulation, make_bundle):
    path = simulation.folder / "short.safetensors"
    path.write_bytes(make_bundle().read_bytes()[:3000])
    tool.bundle_file = path


def overwrite_input(tool, simulation, make_bundle):
    tool.setName("walk1")
    tool.results_directory = simulation.folder


FAULTS = {
    "missing file": (change(states_file="none_states.sto"), NEM2EError, "none_states.sto"),
    "no input": (change(states_file=""), SetupError, "There is nothing to refine"),
    "motion's file for its kind": (
        change(motion="walk1_ik.mot"),
        SetupError,
        "walk1_ik.mot.* <coordinates_file>",
    ),
    "two inputs": (change(activations_file="a.sto"), SetupError, "must not both be given"),
    "no cycles known": (
        change(right_heel_strikes=(), left_heel_strikes=()),
        SetupError,
        "Four choices: give <external_loads_file>.*<events_file>.*<right_heel_strikes>.*whole_file",
    ),
    "no complete cycle": (
        change(right_heel_strikes=(2.2, 3.3), left_heel_strikes=()),
        CycleError,
        "There is no complete gait cycle between .* right: 2.2000, 3.3000; left: none",
    ),
    "no overlap in time": (change(initial_time=5.0), CycleError, "has nothing in common with <initial_time> 5"),
    "times in disorder": (change(right_heel_strikes=(1.3, 0.2)), SetupError, "<right_heel_strikes> must be increasing"),
    "unknown muscle": (change(muscles=["soleuss_r"]), LabelError, "'soleuss_r'.*Did you mean 'soleus_r'"),
    "muscle without network": (change(muscles=["psoas_r"]), BundleError, "psoas_r: the bundle has no network"),
    "limb without cycle": (
        change(muscles=["soleus_l"], left_heel_strikes=()),
        CycleError,
        "no complete left gait cycle",
    ),
    "bundle for other muscles": (other_bundle, BundleError, "The bundle is for other muscles"),
    "bundle that needs more": (needy_bundle, BundleError, r"also needs glmax1 \(left\)"),
    "truncated bundle": (truncated_bundle, BundleError, "short.safetensors.*truncated"),
    "unknown bundle": (change(bundle_file="gaait"), BundleError, "no bundle 'gaait'"),
    "wrong model": (wrong_model, ModelError, "Is it the model of this simulation"),
    "setup file would be lost": (own_setup_file, SetupError, "would replace an input file"),
    "one row": (one_row, CycleError, "at least two rows"),
    "input would be lost": (overwrite_input, SetupError, "would replace an input file"),
    "results directory is a file": (change(results_directory="walk1_states.sto"), NEM2EError, "cannot be made"),
}


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_one_clear_message_and_nothing_left(self, fault, tool, simulation, make_bundle, monkeypatch):
        monkeypatch.chdir(simulation.folder)
        spoil, kind, message = FAULTS[fault]
        spoil(tool, simulation, make_bundle)
        before = digests(simulation.folder)
        with pytest.raises(kind, match=re.compile(message, re.DOTALL)):
            tool.run()
        assert digests(simulation.folder) == before
        assert not (simulation.folder / "results").exists()

    def test_older_results_survive_a_failure(self, tool, simulation):
        tool.run()
        before = digests(tool.resolve("results_directory"))
        tool.figure_format = "png"
        tool.write_figures = True
        # The disk fails while the last files are being written.
        (tool.resolve("results_directory") / "refined_summary.csv").unlink()
        (tool.resolve("results_directory") / "refined_summary.csv").mkdir()
        with pytest.raises(NEM2EError, match=r"refined_summary\.csv"):
            tool.run()
        (tool.resolve("results_directory") / "refined_summary.csv").rmdir()
        before.pop("refined_summary.csv")
        assert digests(tool.resolve("results_directory")) == before

    def test_results_of_an_earlier_run_are_named(self, tool):
        tool.write_attention = True
        tool.run()
        tool.write_attention = False
        tool.run()
        text = results(tool)["refined.log"].read_text()
        assert "refined_attention.sto' is of an earlier run: this one did not write such a file." in text

    def test_errors_speak_of_the_results_own_names(self, tool, simulation, monkeypatch):
        from opensim_nem2e.estimates import write as refined_files

        def full_disk(path, series, *, precision=8):
            raise StorageError("The file cannot be written: No space left on device.", path)

        monkeypatch.setattr(refined_files, "write_storage", full_disk)
        with pytest.raises(NEM2EError, match="No space left") as caught:
            tool.run()
        assert ".part" not in str(caught.value)
        assert str(simulation.folder / "results" / "refined_emg.sto") in str(caught.value)
        assert not (simulation.folder / "results").exists()

    def test_name_of_a_hidden_file(self, tool):
        with pytest.raises(SetupError, match="must not begin with a dot"):
            tool.setName("..")

    def test_recorder_is_detached(self, tool):
        handlers = list(logger.handlers)
        tool.states_file = "none.sto"
        with pytest.raises(NEM2EError):
            tool.run()
        assert logger.handlers == handlers


class TestProcess:
    def test_from_the_command_line(self, tool, simulation):
        tool.printToXML(simulation.folder / "setup.xml")
        done = subprocess.run(
            [sys.executable, "-m", "opensim_nem2e", "run", "setup.xml"],
            cwd=simulation.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("[info] Running STDRRefineTool refined (opensim_nem2e 0.1.0).\n")
        assert (
            f"[info] Results are in '{simulation.folder / 'results'}'. Open refined_report.html first.\n" in done.stdout
        )
        assert (simulation.folder / "results" / "refined_states.sto").is_file()
        # A run says what matters in a screenful; the rest is in the log file.
        assert len((done.stdout + done.stderr).splitlines()) <= 15
        log = (simulation.folder / "results" / "refined.log").read_text()
        assert len(log.splitlines()) > 15

    def test_failure_from_the_command_line(self, tool, simulation):
        tool.muscles = ["soleuss_r"]
        tool.printToXML(simulation.folder / "setup.xml")
        done = subprocess.run(
            [sys.executable, "-m", "opensim_nem2e", "run", "setup.xml"],
            cwd=simulation.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "[error] " in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert not (simulation.folder / "results").exists()

    def test_neither_torch_nor_opensim_nor_pandas_is_loaded(self, tool, simulation):
        tool.printToXML(simulation.folder / "setup.xml")
        script = (
            "import sys; from opensim_nem2e import STDRRefineTool; STDRRefineTool('setup.xml').run();"
            "print([m for m in ('torch', 'opensim', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=simulation.folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"

    def test_working_directory_does_not_matter(self, tool, simulation, tmp_path_factory, monkeypatch):
        tool.run()
        first = digests(tool.resolve("results_directory"))
        tool.states_file = "walk1_states.sto"
        tool.results_directory = "elsewhere"
        tool.printToXML(simulation.folder / "setup.xml")
        away = tmp_path_factory.mktemp("away")
        monkeypatch.chdir(away)
        STDRRefineTool(simulation.folder / "setup.xml").run()
        second = digests(simulation.folder / "elsewhere")
        assert {k: v for k, v in first.items() if "setup" not in k} == {
            k: v for k, v in second.items() if "setup" not in k
        }
        assert list(away.iterdir()) == []
