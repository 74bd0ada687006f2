"""The doctor: nothing is wrong with a clean study, and every defect that is planted in it is found, and it alone."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e import TimeSeries
from opensim_nem2e.data.check import timing_checks as timing
from opensim_nem2e.data.check.apply_offsets import apply_offsets
from opensim_nem2e.data.check.findings import Findings
from opensim_nem2e.data.check.quality_check import examine
from opensim_nem2e.data.check.recording_checks import Files
from opensim_nem2e.data.manifest import read_trials
from opensim_nem2e.errors import ManifestError
from opensim_nem2e.report.check_page import write_page
from opensim_nem2e.storage import read_storage, write_storage


def codes(study) -> dict[str, str]:
    """Return what is found: code to the worst severity."""
    found: dict[str, str] = {}
    for finding in examine(study.trials).findings:
        found.setdefault(finding.code, finding.severity)
    return found


def change(label: str, function):
    """Return a change of one column."""

    def apply(series: TimeSeries) -> TimeSeries:
        data = series.data.copy()
        column = series.index(label)
        data[:, column] = function(data[:, column])
        return replace(series, data=data)

    return apply


def test_a_clean_study_has_no_findings(clean_study):
    assert [finding.line for finding in examine(clean_study.trials).findings] == []


def test_all_lags_at_once_are_what_each_is_alone(clean_study):
    found = examine(clean_study.trials)
    files = Files(Findings())
    compared = 0
    for recording in found.recordings:
        for trial in recording.trials:
            for channel in recording.channels:
                together = recording.emg(files, trial, channel, timing.LAGS)
                alone = [recording.emg(files, trial, channel, lag) for lag in timing.LAGS]
                np.testing.assert_array_equal(together, alone)
                compared += together.size
    assert compared


# --- the EMG itself ------------------------------------------------------------------------------------------------

SOLEUS = "soleus_r"


def dead(size):
    """Electronic noise in place of EMG."""
    rng = np.random.default_rng(0)
    return lambda values: size * (1.0 + np.convolve(rng.normal(size=values.size), np.ones(20) / 20, "same"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (change(SOLEUS, lambda v: v + 0.5), {"offset": "warning"}),
        (change(SOLEUS, lambda v: np.minimum(v, 0.6 * v.max())), {"clipping": "warning"}),
        (change(SOLEUS, lambda v: 0.01 * v), {"flat": "warning"}),
        (change(SOLEUS, lambda v: v - 0.05), {"negative": "note"}),
        (change(SOLEUS, lambda v: v - 0.2), {"negative": "warning"}),
        (change(SOLEUS, lambda v: np.where(np.arange(v.size) == 500, np.nan, v)), {"gap": "warning"}),
    ],
    ids=["offset", "clipping", "flat", "slightly negative", "negative", "gap"],
)
def test_a_spoilt_channel(study, spoil, expected):
    study.rewrite("walk_emg.sto", spoil)
    found = codes(study)
    # The findings of that one channel, and no other.
    assert found == expected or (expected == {"offset": "warning"} and set(found) == {"offset"})
    assert all("soleus_r" in f.where for f in examine(study.trials).findings)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        # Just this side and just the other side of the thresholds.
        (change(SOLEUS, lambda v: v + 0.30), False),
        (change(SOLEUS, lambda v: v + 0.50), True),
        (change(SOLEUS, lambda v: 0.06 * v), False),
        (change(SOLEUS, lambda v: 0.01 * v), True),
        (change(SOLEUS, lambda v: v - 0.005), False),
        (change(SOLEUS, lambda v: v - 0.05), True),
        # One sample at the top is a peak, two equal ones too; five rows of 5 ms or the same top thrice are a limit.
        (change(SOLEUS, lambda v: np.minimum(v, np.sort(v)[-2])), False),
        (change(SOLEUS, lambda v: np.minimum(v, np.sort(v)[-60])), True),
    ],
)
def test_thresholds_of_channels_from_both_sides(study, spoil, found):
    study.rewrite("walk_emg.sto", spoil)
    assert bool(codes(study)) == found


@pytest.mark.parametrize("copy", [lambda v: v, lambda v: 0.4 * v + 0.01])
def test_a_copied_channel(study, copy):
    series = read_storage(study.emg)
    data = series.data.copy()
    data[:, series.index("vaslat_r")] = copy(data[:, series.index("semimem_r")])
    write_storage(study.emg, replace(series, data=data))
    finding = next(f for f in examine(study.trials).findings if f.code == "copy")
    assert "a copy of" in finding.what
    assert "semimem_r" in finding.line
    assert "vaslat_r" in finding.line
    # Nearly the same is not the same.
    data[:, series.index("vaslat_r")] *= 1.0 + 0.05 * np.sin(series.time)
    write_storage(study.emg, replace(series, data=data))
    assert "copy" not in codes(study)


def test_what_is_wrong_with_an_unused_channel_is_a_note(study):
    study.rewrite("walk_emg.sto", change(SOLEUS, lambda v: 0.01 * v))
    study.edit("emg_channels.csv", lambda row: row.update(standard_name="") if row["emg_column"] == SOLEUS else None)
    assert codes(study) == {"flat": "note"}


def test_raw_emg(study):
    shutil.copy(study.folder / "walk.sto", study.emg)
    assert codes(study) == {"raw": "error"}


def test_coarse_emg(study):
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time[::4], data=s.data[::4]))
    assert codes(study) == {"coarse": "note"}


def test_a_channel_that_is_not_there(study):
    study.edit("emg_channels.csv", lambda row: row.update(emg_column=row["emg_column"].replace("soleus", "Sol")))
    finding = examine(study.trials).findings[0]
    assert (finding.severity, finding.code) == ("warning", "channel")
    assert "Sol_r, Sol_l" in finding.what


# --- timing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-0.13, -0.065, 0.065, 0.1])
def test_a_constant_lag_is_found_with_its_remedy(study, shift):
    # EMG(t + l) fits activation(t): a recording that runs ahead by 0.13 s has l = -0.13 s.
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time + shift + 0.2))
    study.edit("trials.csv", lambda row: row.update(emg_time_offset_s="0.2"))
    findings = [f for f in examine(study.trials).findings if f.code == "lag"]
    assert findings
    proposed = [float(re.search(r"emg_time_offset_s to ([+-][\d.]+)", f.remedy)[1]) for f in findings]
    assert proposed == pytest.approx([0.2 + shift] * len(proposed), abs=0.011)


def test_a_lag_that_no_delay_of_emg_makes_is_asked_about(study):
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time + 0.24))
    examination = examine(study.trials)
    findings = [f for f in examination.findings if f.code == "lag"]
    assert findings
    assert all("do EMG and simulation belong to the same trial and clock?" in f.remedy for f in findings)
    assert not examination.offsets


@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.03])
def test_a_small_lag_is_physiology(study, shift):
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time + shift + 0.2))
    study.edit("trials.csv", lambda row: row.update(emg_time_offset_s="0.2"))
    assert codes(study) == {}


@pytest.mark.parametrize(("factor", "found"), [(0.5, True), (0.96, True), (0.98, False), (1.02, False), (1.08, True)])
def test_a_wrong_sampling_rate(study, factor, found):
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time * factor))
    findings = [f for f in examine(study.trials).findings if f.code == "rate"]
    assert bool(findings) == found
    if found:
        remedy = float(re.search(r"times by (\d+\.\d+)", findings[0].remedy)[1])
        assert remedy == pytest.approx(1.0 / factor, rel=0.01)


def test_a_turns_one_stride_may_be_of_another_length(shared_data, tmp_path):
    """A child that turns: 0.92 s, amid strides of 0.97 s."""
    more = shared_data.parent / "more_data"
    if not more.is_dir():
        pytest.skip("the second part of the shared data is not there")
    with (more / "trials.csv").open() as stream:
        (row,) = (row for row in csv.DictReader(stream) if row["trial"] == "HC033A_turn")
    row |= {name: str(more / row[name]) for name in ("model_file", "activation_file", "emg_file")}
    (tmp_path / "trials.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    shutil.copy(more / "emg_channels.csv", tmp_path)
    assert not [f for f in examine(tmp_path / "trials.csv").findings if f.code == "rate"]


def test_a_recording_with_a_hole(study):
    study.rewrite(
        "walk_emg.sto",
        lambda s: replace(s, time=np.delete(s.time, range(900, 960)), data=np.delete(s.data, range(900, 960), 0)),
    )
    assert codes(study) == {"rate": "warning"}


@pytest.mark.parametrize(
    ("t_end", "expected"), [("+0.02", {}), ("+2.0", {"coverage": "warning"}), ("+40", {"coverage": "warning"})]
)
def test_cycles_outside_the_data(study, t_end, expected):
    study.edit("trials.csv", lambda row: row.update(external_loads_file="", t_end=float(row["t_end"]) + float(t_end)))
    found = codes(study)
    assert {code: severity for code, severity in found.items() if code == "coverage"} == expected


def test_cycles_wholly_outside_the_data(study):
    """Of EMG that may be its clock."""
    study.edit("trials.csv", lambda row: row.update(t_start="20", t_end="21.1", external_loads_file=""))
    assert codes(study)["coverage"] == "error"
    found = [finding for finding in examine(study.trials).findings if finding.code == "coverage"]
    assert {"lies outside the EMG" in finding.line for finding in found} == {True, False}
    assert all(("emg_time_offset_s" in finding.line) == ("the EMG (" in finding.line) for finding in found)


@pytest.mark.parametrize(("shift", "expected"), [(0.02, {}), (0.05, {"strike": "warning"})])
def test_cycles_that_do_not_start_at_heel_strike(study, shift, expected):
    def move(row):
        row.update(t_start=float(row["t_start"]) + shift, t_end=float(row["t_end"]) + shift)

    study.edit("trials.csv", move)
    assert {code: severity for code, severity in codes(study).items() if code == "strike"} == expected


def test_the_wrong_side(study):
    study.edit("trials.csv", lambda row: row.update(side={"r": "l", "l": "r"}[row["side"]]))
    assert "strike" in codes(study)


# --- files ---------------------------------------------------------------------------------------------------------


def test_the_header_that_opensim_damages(study):
    path = study.folder / "cmc" / "walking_states.sto"
    stale = b"UNKNOWN\nversion=1\nnRows=0\nnColumns=1\ninDegrees=no\nendheader\ntime\n"
    path.write_bytes(stale + path.read_bytes()[len(stale) :])
    findings = examine(study.trials).findings
    assert [(f.severity, f.code, f.remedy) for f in findings] == [
        ("warning", "header", "opensim-nem2e repair walking_states.sto")
    ]


def test_a_wrong_number_of_rows(study):
    path = study.folder / "walking_grf.mot"
    path.write_text(re.sub(r"nRows=\d+", "nRows=121120", path.read_text()))
    findings = examine(study.trials).findings
    assert [(f.severity, f.code) for f in findings] == [("warning", "header")]
    assert "nRows=121120" in findings[0].what


def test_time_that_runs_backwards(study):
    lines = study.emg.read_text().splitlines()
    lines[100], lines[101] = lines[101], lines[100]
    study.emg.write_text("\n".join(lines) + "\n")
    findings = examine(study.trials).findings
    assert ("error", "time") in {(f.severity, f.code) for f in findings}
    assert "Time must increase" in findings[0].what


def test_missing_files(study):
    study.emg.unlink()
    findings = examine(study.trials).findings
    assert {(f.severity, f.code) for f in findings} == {("error", "missing")}
    assert len(findings) == 2
    assert "line 2: 'emg_file'" in findings[0].what


def test_faults_of_the_manifest_do_not_hide_what_else_is_wrong(study):
    study.edit("trials.csv", lambda row: row.update(side="right") if row["side"] == "r" else None)
    study.rewrite("walk_emg.sto", change(SOLEUS, lambda v: 0.01 * v))
    assert codes(study) == {"manifest": "error", "flat": "warning"}


def test_headers_as_opensim_really_damaged_them(study, shared_fixtures):
    damaged = sorted((shared_fixtures / "opensim46_headers" / "corrupted").glob("*.sto"))
    assert len(damaged) >= 7
    for path in damaged:
        shutil.copy(path, study.folder / "cmc" / "walking_states.sto")
        found = {f.code for f in examine(study.trials).findings if f.where.endswith("walking_states.sto")}
        assert found & {"header", "file"}, path.name


def test_the_ground_reactions_of_a_stock_example(study, shared_data):
    """Hamner's file says 901 rows and has 601; and they are another subject's."""
    loads = shared_data / "opensim_pipelines" / "Hamner" / "External_Loads.xml"
    study.edit("trials.csv", lambda row: row.update(external_loads_file=str(loads)))
    findings = [f for f in examine(study.trials).findings if f.code == "header"]
    assert [f.severity for f in findings] == ["warning", "note"]
    assert "nRows=901, but there are 601 rows" in findings[0].what


def test_degrees_in_a_stock_examples_rra_result(study, shared_data):
    """gait10dof18musc: OpenSim's own RRA writes what its header says; said otherwise, it is found."""
    folder = shared_data / "opensim_pipelines" / "Gait10dof18musc"
    text = (folder / "OutputReference" / "RRA" / "subject_adjusted_Kinematics_q.sto").read_text()
    motion = study.folder / "rra_Kinematics_q.sto"
    for said in ("yes", "no"):
        motion.write_text(re.sub(r"inDegrees=\w+", f"inDegrees={said}", text))
        study.edit(
            "trials.csv",
            lambda row: row.update(coordinates_file=motion.name, model_file=str(folder / "subject01.osim")),
        )
        found = {f.where for f in examine(study.trials).findings if f.code == "degrees"}
        assert bool([where for where in found if where.endswith(motion.name)]) == (said == "no")


# --- model, forces, simulation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "found"), [(0.88, True), (0.93, False), (1.08, False), (1.3, True)])
def test_a_model_of_another_mass(study, factor, found):
    path = study.folder / "walker.osim"
    scaled = re.sub(r"<mass>([^<]+)</mass>", lambda m: f"<mass>{float(m[1]) * factor}</mass>", path.read_text())
    path.write_text(scaled)
    assert codes(study) == ({"mass": "warning"} if found else {})


def test_forces_in_percent_of_body_weight(study):
    weight = 70.0 * 9.80665
    vertical = ("ground_force_vy", "1_ground_force_vy")

    def scale(series):
        data = series.data.copy()
        for label in vertical:
            data[:, series.index(label)] *= 100.0 / weight
        return replace(series, data=data)

    study.rewrite("walking_grf.mot", scale)
    finding = next(f for f in examine(study.trials).findings if f.code == "mass")
    assert "body weight" in finding.remedy


def test_contact_spheres_beside_measured_forces(study):
    path = study.folder / "walker.osim"
    sphere = '<HuntCrossleyForce name="heel_r"><appliesForce>{on}</appliesForce></HuntCrossleyForce>'
    text = path.read_text()
    start = text.index("<ForceSet")
    at = text.index("<objects>", start) + len("<objects>")
    path.write_text(text[:at] + sphere.format(on="true") + text[at:])
    assert codes(study) == {"double": "warning"}
    path.write_text(text[:at] + sphere.format(on="false") + text[at:])
    assert codes(study) == {}


def test_a_centre_of_pressure_that_runs_away(study):
    series = read_storage(study.folder / "walking_grf.mot")
    up = series.column("ground_force_vy")
    begin = int(np.flatnonzero((up[1:] > 0.0) & (up[:-1] <= 0.0))[0]) + 1
    data = series.data.copy()
    data[begin, series.index("ground_force_px")] = 300.0
    write_storage(study.folder / "walking_grf.mot", replace(series, data=data))
    assert codes(study) == {"pressure": "warning"}
    # Far from any contact it does no harm.
    off = np.flatnonzero(up == 0.0)
    far = next(row for row in off if (up[max(row - 3, 0) : row + 4] == 0.0).all())
    data = series.data.copy()
    data[far, series.index("ground_force_px")] = 300.0
    write_storage(study.folder / "walking_grf.mot", replace(series, data=data))
    assert codes(study) == {"pressure": "note"}


@pytest.mark.parametrize(("file", "said"), [("walking_coordinates.mot", "no"), ("cmc/walking_Kinematics_q.sto", "no")])
def test_degrees_that_are_said_to_be_radians(study, file, said):
    path = study.folder / file
    assert "inDegrees=yes" in path.read_text()
    path.write_text(path.read_text().replace("inDegrees=yes", f"inDegrees={said}"))
    study.edit("trials.csv", lambda row: row.update(coordinates_file=file))
    findings = examine(study.trials).findings
    assert [(f.severity, f.code) for f in findings] == [("error", "degrees")]
    assert "these are degrees" in findings[0].what


def test_radians_that_are_said_to_be_degrees(study):
    def convert(series):
        turning = [not label.endswith(("_tx", "_ty", "_tz")) for label in series.labels]
        return replace(series, data=np.where(turning, np.radians(series.data), series.data))

    study.rewrite("walking_coordinates.mot", convert)
    findings = examine(study.trials).findings
    assert [(f.severity, f.code) for f in findings] == [("error", "degrees")]
    assert "these are radians" in findings[0].what
    # Half way: the header says what the numbers are.
    path = study.folder / "walking_coordinates.mot"
    path.write_text(path.read_text().replace("inDegrees=yes", "inDegrees=no"))
    assert codes(study) == {}


def test_muscles_that_the_model_does_not_have(study):
    study.edit(
        "emg_channels.csv",
        lambda row: row.update(muscles="tib_ant_r") if row["muscles"] == "tibant_r" else None,
    )
    finding = examine(study.trials).findings[0]
    assert (finding.severity, finding.code) == ("error", "muscle")
    assert "Did you mean 'tibant_r'?" in finding.what


@pytest.mark.parametrize(("torque", "found"), [(5.0, False), (5.5, True)])
def test_reserves_that_are_too_large(study, torque, found):
    # 5 % of 1.5 Nm/kg for 70 kg are 5.25 Nm; the actuator's optimal force is 1 Nm.
    study.rewrite("cmc/walking_controls.sto", change("reserve_knee_angle_r", lambda v: 0.0 * v + torque))
    assert codes(study) == ({"reserves": "warning"} if found else {})


@pytest.mark.parametrize(("error", "found"), [(4.9, False), (5.1, True)])
def test_a_motion_that_was_not_followed(study, error, found):
    angles = np.full((3, 2), [0.01, -np.radians(error)])
    errors = TimeSeries(np.arange(3.0), ("hip_flexion_r", "knee_angle_r"), angles)
    write_storage(study.folder / "cmc" / "walking_pErr.sto", errors)
    assert codes(study) == ({"tracking": "warning"} if found else {})


def test_controls_that_are_missing(study):
    (study.folder / "cmc" / "walking_controls.sto").unlink()
    assert codes(study) == {"controls": "note"}


def test_saturated_muscles(study):
    study.rewrite(
        "cmc/walking_states.sto",
        change("/forceset/soleus_r/activation", lambda v: np.minimum(1.0, 3.0 * v)),
        precision=20,
    )
    found = codes(study)
    assert found["saturated"] == "note"


# --- strides (real recordings: the example has one of each side) ----------------------------------------------------


@pytest.fixture
def running(shared_data, tmp_path):
    """Twelve strides of running, of one subject."""
    lines = (shared_data / "trials.csv").read_text().splitlines()
    head = lines[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=True)) for line in lines[1:] if ",run81," in line]
    for row in rows:
        for column in ("model_file", "activation_file"):
            row[column] = str(shared_data / row[column])
        row["emg_file"] = "run81_emg.sto"
    shutil.copy(shared_data / "ceinms_lower_limb" / "run81_emg.sto", tmp_path)
    shutil.copy(shared_data / "emg_channels.csv", tmp_path)
    text = [",".join(head), *(",".join(row.values()) for row in rows)]
    (tmp_path / "trials.csv").write_text("\n".join(text) + "\n")
    return tmp_path


def test_a_stride_that_is_not_one(running):
    def found():
        return {f.code for f in examine(running / "trials.csv").findings}

    assert found() == {"saturated", "delay"}
    text = (running / "trials.csv").read_text().splitlines()
    cells = text[5].split(",")
    # Half a stride later.
    cells[12], cells[13] = (f"{float(cell) + 0.385:.4f}" for cell in cells[12:14])
    (running / "trials.csv").write_text("\n".join([*text[:5], ",".join(cells), *text[6:]]) + "\n")
    assert found() >= {"stride"}


def test_a_cycle_of_two_strides(running):
    text = (running / "trials.csv").read_text().splitlines()
    cells = text[5].split(",")
    cells[13] = f"{float(cells[13]) + 0.77:.4f}"
    (running / "trials.csv").write_text("\n".join([*text[:5], ",".join(cells), *text[6:]]) + "\n")
    findings = [f for f in examine(running / "trials.csv").findings if f.code == "cycle"]
    assert len(findings) == 1
    assert "usually 0.771 s" in findings[0].what


def test_a_channel_of_noise(running):
    series = read_storage(running / "run81_emg.sto")
    data = series.data.copy()
    noise = np.convolve(np.random.default_rng(0).normal(size=series.n_rows), np.hanning(15), "same")
    data[:, series.index("tib_ant_r")] = np.abs(noise) * 0.05
    write_storage(running / "run81_emg.sto", replace(series, data=data))
    where = {f.code: f.where for f in examine(running / "trials.csv").findings}
    assert where["repeatability"].endswith("tib_ant_r")
    assert where["unlike"].endswith("tib_ant_r")


def test_another_persons_generic_model(running, shared_data):
    text = (running / "trials.csv").read_text().replace("gait2392_58kg_strength2", "gait2392_generic")
    head, *rows = text.splitlines()
    loads = shared_data / "ceinms_lower_limb" / "run81_external_loads.xml"
    text = "\n".join([f"{head},external_loads_file", *(f"{row},{loads}" for row in rows)]) + "\n"
    (running / "trials.csv").write_text(text)
    findings = {f.code: f for f in examine(running / "trials.csv").findings}
    assert set(findings) == {"mass", "contacts", "saturated", "delay"}
    assert "weighs 75.2 kg, the ground carries 58." in findings["mass"].what


# --- several subjects -------------------------------------------------------------------------------------------------


@pytest.fixture
def two_people(shared_data, tmp_path):
    """Strides of two subjects with models and channels of other names, as one dataset, and two trials of the first."""
    with (shared_data / "trials.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["activation_source"] == "so"]
    chosen = [row for row in rows if row["trial"] in ("walk45", "walk36")]
    chosen += [row for row in rows if row["dataset"] == "walk_sub1"][:4]
    for row in chosen:
        row["dataset"] = "lab"
        for column in ("model_file", "activation_file", "emg_file"):
            row[column] = str(shared_data / row[column])
        if row["trial"] == "walk45":
            row["emg_file"] = "walk45_emg.sto"
    shutil.copy(shared_data / "ceinms_lower_limb" / "walk45_emg.sto", tmp_path)
    with (shared_data / "emg_channels.csv").open() as stream:
        channels = [row for row in csv.DictReader(stream) if row["dataset"] in ("ceinms_lower_limb", "walk_sub1")]
    for name, table in (("trials.csv", chosen), ("emg_channels.csv", channels)):
        with (tmp_path / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(table[0]))
            writer.writeheader()
            writer.writerows({**row, "dataset": "lab"} for row in table)
    return tmp_path


def test_a_dead_channel_that_was_normalised(study):
    """Divided by its own maximum, noise is as large as any channel; so it is in all recordings of the subject."""
    study.rewrite("walk_emg.sto", change(SOLEUS, lambda v: 0.4 + dead(0.2)(v)))
    findings = examine(study.trials).findings
    assert [(f.severity, f.code, f.where.rsplit(": ")[-1]) for f in findings if f.code == "flat"] == [
        ("warning", "flat", SOLEUS)
    ]
    assert not [f for f in findings if f.code == "offset"]


def test_one_trial_in_another_unit(two_people):
    series = read_storage(two_people / "walk45_emg.sto")
    write_storage(two_people / "walk45_emg.sto", replace(series, data=1e-3 * series.data))
    found = [f for f in examine(two_people / "trials.csv").findings if f.code == "scale"]
    assert [(f.severity, f.where.rsplit("/")[-1]) for f in found] == [("error", "walk45_emg.sto")]
    assert "times smaller than in the subject's other recordings" in found[0].what


def test_people_with_models_of_their_own_are_no_defect(two_people):
    found = examine(two_people / "trials.csv").findings
    assert not [f.line for f in found if f.code in ("muscle", "delay")]
    # Each was measured on one leg: the channels of the other subject's leg are not missing.
    assert not [f.line for f in found if f.code == "channel"]
    # A muscle of the own leg that only the other trial's file has is told, but needs nothing.
    series = read_storage(two_people / "walk45_emg.sto")
    labels = tuple("other" if label == "soleus_r" else label for label in series.labels)
    write_storage(two_people / "walk45_emg.sto", replace(series, labels=labels))
    missing = [f for f in examine(two_people / "trials.csv").findings if f.code == "channel"]
    assert [(f.severity, f.where) for f in missing] == [("note", "lab/ceinms_S06/walk45 (so)")]
    assert "missing in 1 of 1 EMG files: soleus_r." in missing[0].what


def test_a_muscle_that_the_own_model_lacks(two_people):
    text = (two_people / "emg_channels.csv").read_text()
    # That the other subject's model has it helps no-one whose EMG has the channel.
    (two_people / "emg_channels.csv").write_text(text.replace(",soleus_l,soleus\n", ",tib_ant_l,soleus\n"))
    errors = [f for f in examine(two_people / "trials.csv").findings if f.severity == "error"]
    assert [(f.code, f.where) for f in errors] == [("muscle", "lab: soleus_l_activation")]
    assert "has no muscle tib_ant_l. Did you mean 'tibant_l'?" in errors[0].what


@pytest.mark.parametrize(("column", "shift"), [("tib_ant_r", 0.1), ("bifemlh_r", 0.12), ("med_gas_r", -0.09)])
def test_one_channel_that_is_delayed(two_people, column, shift):
    path = two_people / "walk45_emg.sto"
    series = read_storage(path)
    data = series.data.copy()
    number = series.index(column)
    data[:, number] = np.interp(series.time - shift, series.time, data[:, number])
    write_storage(path, replace(series, data=data))
    found = [f for f in examine(two_people / "trials.csv").findings if f.code in ("delay", "lag")]
    assert [(f.severity, f.where) for f in found] == [("warning", f"lab/ceinms_S06/walk45 (so): {column}")]
    assert "in the subject's other recordings" in found[0].what


def test_emg_of_the_other_limb_only(two_people):
    text = (two_people / "trials.csv").read_text()
    assert not any(f.code == "side" for f in examine(two_people / "trials.csv").findings)
    (two_people / "trials.csv").write_text(text.replace(",walk,1.25,r,", ",walk,1.25,l,"))
    (finding,) = (f for f in examine(two_people / "trials.csv").findings if f.code == "side")
    assert (finding.severity, finding.where) == ("error", "lab/ceinms_S06/walk45 (so)")
    assert "its cycles are of side l, but its EMG is of side r: cycles" in finding.what


def test_channels_that_were_exchanged(two_people):
    path = two_people / "walk45_emg.sto"
    series = read_storage(path)
    labels = {"semimem_r": "med_gas_r", "med_gas_r": "semimem_r"}
    write_storage(path, replace(series, labels=tuple(labels.get(label, label) for label in series.labels)))
    (found,) = (f for f in examine(two_people / "trials.csv").findings if f.code == "exchanged")
    assert (found.severity, found.where) == ("warning", "lab/ceinms_S06/walk45 (so): med_gas_r, semimem_r")
    assert "each fits the other's muscle" in found.what


def test_a_channel_of_another_burst_is_not_called_late(two_people):
    """Rectus femoris is active in another part of the cycle than static optimisation has it, wherever EMG lies."""
    path = two_people / "walk45_emg.sto"
    series = read_storage(path)
    write_storage(path, replace(series, time=series.time - 0.13))
    found = [
        f for f in examine(two_people / "trials.csv").findings if "bursts in different parts of the cycle" in f.what
    ]
    assert [(f.code, f.severity, f.where) for f in found] == [
        ("unlike", "note", "lab/ceinms_S06/walk45 (so): rect_fem_r")
    ]


# --- all of the public recordings -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(shared_data, tmp_path_factory):
    """The manifest of all recordings, with ground reactions and motions added."""
    folder = tmp_path_factory.mktemp("everything")
    head, *rows = (shared_data / "trials.csv").read_text().splitlines()
    names = head.split(",")
    text = [f"{head},external_loads_file,coordinates_file"]
    for row in rows:
        cells = dict(zip(names, row.split(","), strict=True))
        loads = motion = ""
        if cells["dataset"] == "ceinms_lower_limb":
            loads, motion = f"{cells['trial']}_external_loads.xml", f"{cells['trial']}_ik.mot"
        elif cells["dataset"] == "walk_sub1":
            loads, motion = "walking_baseline1_external_loads.xml", "walking_baseline1_ik.mot"
        elif cells["dataset"] == "walk_3d_example":
            loads, motion = "grf_walk.xml", "coordinates.sto"
        else:
            motion = cells["emg_file"].split("/")[1].replace("_emg.sto", "_ik.mot")
        for column in ("model_file", "activation_file", "emg_file"):
            cells[column] = str(shared_data / cells[column])
        added = [str(shared_data / cells["dataset"] / name) if name else "" for name in (loads, motion)]
        text.append(",".join([*cells.values(), *added]))
    (folder / "trials.csv").write_text("\n".join(text) + "\n")
    shutil.copy(shared_data / "emg_channels.csv", folder)
    return folder


def test_the_known_defects_of_public_recordings_are_found_and_nothing_else(everything):
    """What the recordings' own description lists, as far as files show it; measured: 38, none of them false."""
    findings = examine(everything / "trials.csv").findings
    assert not [f for f in findings if f.severity == "error"]
    found = {(f.code, f.where.replace("\\", "/").rsplit("/", 1)[-1]) for f in findings}
    assert found == {
        # An offset in one of three trials; small and large negative values; a channel that is noise.
        ("offset", "walk45_emg.sto: soleus_r"),
        ("negative", "walk36_emg.sto: tib_ant_r"),
        ("negative", "walk36_emg.sto: vas_lat_r"),
        ("repeatability", "walk36 (so): vas_lat_r"),
        ("negative", "walking_baseline1_emg.sto: vaslat_l_activation"),
        ("negative", "walking_baseline1_emg.sto: recfem_l_activation"),
        ("negative", "walking_baseline1_emg.sto: vasint_l_activation"),
        ("copy", "walking_baseline1_emg.sto: vasint_l_activation"),
        ("coarse", "walking_baseline1_emg.sto"),
        ("negative", "electromyography.sto: tibialis_anterior"),
        ("negative", "electromyography.sto: biceps_femoris"),
        # A dead channel; channels that some cycles lack.
        ("flat", "gait_r_cycle01_emg.sto: RVAL"),
        ("channel", "11 cycles (so)"),
        # Two feet on one belt; a centre of pressure at 300 m; patella angles in degrees among radians.
        ("contacts", "run81_external_loads.xml"),
        ("pressure", "grf_walk.xml"),
        ("degrees", "coordinates.sto"),
        # Static optimisation that does not reproduce a muscle's burst at any lag.
        ("unlike", "walk45 (so): rect_fem_r"),
        ("unlike", "walk36 (so): rect_fem_r"),
        ("unlike", "walk (so): biceps_femoris"),
        ("unlike", "11 cycles (so): Rectus-femoris"),
        ("unlike", "7 cycles (so): LREF"),
        # ... or only at another time than the other muscles.
        ("delay", "run81 (so): tib_ant_r"),
        # Muscles at their limit, residuals that no RRA has made smaller, a CMC run that was aborted.
        ("saturated", "run81 (so)"),
        ("saturated", "walking_baseline1 (so)"),
        ("saturated", "walk (so)"),
        ("saturated", "11 cycles (so)"),
        ("saturated", "7 cycles (so)"),
        ("reserves", "2 (cmc)"),
        ("reserves", "10 (cmc)"),
        ("reserves", "1 (cmc)"),
        ("controls", "3 (cmc)"),
    }


def test_the_recordings_offsets_are_proposed_where_they_are_not_given(everything):
    text = (everything / "trials.csv").read_text()
    head, *rows = text.splitlines()
    column = head.split(",").index("emg_time_offset_s")
    known, without = {}, [head]
    for row in rows:
        cells = row.split(",")
        if cells[9] == "so":
            known[f"{cells[0]}/{cells[1]}"] = float(cells[column])
            known[f"{cells[0]}/{cells[1]}/{cells[2]}"] = float(cells[column])
            cells[column] = ""
            without.append(",".join(cells[:15]) + ",,")
    (everything / "without.csv").write_text("\n".join(without) + "\n")
    proposed = {}
    for finding in examine(everything / "without.csv", everything / "emg_channels.csv").findings:
        if finding.code == "lag":
            proposed[finding.where] = float(re.search(r"emg_time_offset_s to ([+-][\d.]+)", finding.remedy)[1])
    # Those of 0.02 and 0.035 s are physiology; the others are as they were measured on all strides.
    assert proposed == {
        "ceinms_lower_limb/ceinms_S06/walk45 (so)": pytest.approx(-0.13, abs=0.006),
        "ceinms_lower_limb/ceinms_S06/run81 (so)": pytest.approx(-0.12, abs=0.006),
        "ceinms_lower_limb/ceinms_S06/walk36 (so)": pytest.approx(-0.145, abs=0.006),
        "predictsim_subject1/falisse_subject1/11 cycles (so)": pytest.approx(-0.085, abs=0.006),
        "cp_child/cp_subject1/7 cycles (so)": pytest.approx(-0.085, abs=0.011),
    }


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_all_findings_and_needs_nothing_else(study, tmp_path):
    study.rewrite("walk_emg.sto", change(SOLEUS, lambda v: v + 0.5))
    study.edit("trials.csv", lambda row: row.update(trial="<script>alert(1)"))
    examination = examine(study.trials)
    text = write_page(examination, tmp_path / "report").read_text()
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["check.html"]
    for finding in examination.findings:
        assert finding.what.split("'")[0] in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("data:image/png;base64,") == len(examination.alignments) == 1
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_lags_span_zero():
    assert timing.LAGS[60] == 0.0
    assert timing.LAGS[0] == pytest.approx(-0.3)


def test_a_standard_name_that_is_none(study):
    study.edit("emg_channels.csv", lambda r: r.update(standard_name="soleuss") if r["emg_column"] == SOLEUS else None)
    finding = next(f for f in examine(study.trials).findings if f.code == "muscle")
    assert finding.what == "'soleuss' is no standard name of the shipped table. Did you mean 'soleus'?"
    assert finding.where == f"example: {SOLEUS}"


def test_the_motion_of_another_trial(study):
    """The coordinates are compared with those of the simulation."""
    study.rewrite("walking_coordinates.mot", lambda s: replace(s, data=s.data[::-1]))
    finding = next(f for f in examine(study.trials).findings if f.code == "motion")
    assert finding.severity == "error"
    assert re.search(r"This is not the motion of the simulation .* degrees", finding.what)


# --- what the doctor does itself -----------------------------------------------------------------------------------


def test_proposed_offsets_are_applied_to_a_new_table(study, tmp_path):
    """The new table lies elsewhere, is read as the old one, and has no lag any more."""
    study.rewrite("walk_emg.sto", lambda s: replace(s, time=s.time - 0.13))
    old = study.trials.read_text()
    examination = examine(study.trials)
    assert examination.offsets
    target = tmp_path / "elsewhere" / "aligned.csv"
    target.parent.mkdir()
    count = apply_offsets(examination, target)
    before, after = read_trials(study.trials), read_trials(target)
    assert count == len(examination.offsets) == len(after)
    assert study.trials.read_text() == old
    for one, other in zip(before, after, strict=True):
        assert other.emg_time_offset == pytest.approx(-0.13, abs=0.011)
        assert other.emg_file.resolve() == one.emg_file.resolve()
        assert (other.start, other.end, other.subject) == (one.start, one.end, one.subject)
    channels = study.folder / "emg_channels.csv"
    assert "lag" not in {finding.code for finding in examine(target, channels).findings}
    with pytest.raises(ManifestError, match="the file exists and is left as it is"):
        apply_offsets(examination, target)
