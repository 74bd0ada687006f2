"""Chains of OpenSim's tools and the refinement: real runs, broken setups, kills, and running again."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from arm_maker import build_arm, write_cmc, write_inverse_dynamics, write_motion
from forked_processes import FORKS, Program, start_program

from opensim_nem2e.errors import NEM2EError, SetupError
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.nem2e_pipeline import NEM2EPipelineTool
from opensim_nem2e.tools.pipeline import execute as pipeline_study
from opensim_nem2e.tools.pipeline.step import do_step

pytestmark = pytest.mark.usefixtures("forked_workers")

REFINE = """<OpenSimDocument Version="40600"><STDRRefineTool>
    <results_directory>refined</results_directory><cycle_source>whole_file</cycle_source>
    <minimum_cycle_duration>0.01</minimum_cycle_duration></STDRRefineTool></OpenSimDocument>"""

PIPELINE = """<OpenSimDocument Version="40600"><NEM2EPipelineTool name="study">
    <results_directory>pipeline</results_directory>
    <setup_files>../setup_id.xml setup_*_cmc.xml</setup_files>
    <trial_folders>{subject}/{trial}</trial_folders>
    <refine_setup_file>refine.xml</refine_setup_file></NEM2EPipelineTool></OpenSimDocument>"""

TRIALS = ["s1/t1", "s2/t1", "s2/t2", "s2/t3"]


def make_study(root: Path, end: float = 0.2) -> Path:
    """Write four trials of two subjects: inverse dynamics of each subject, CMC and refinement of each trial."""
    for trial in TRIALS:
        subject, name = trial.split("/")
        folder = root / trial
        folder.mkdir(parents=True)
        if name == "t1":
            build_arm(root / subject, muscles=("soleus_r", "tib_ant_r"))
            write_inverse_dynamics(root / subject)
        write_motion(folder / "motion.mot", swing=8.0 + int(name[1]))
        write_cmc(folder, f"{subject}{name}_cmc", end=end, where="../")
    (root / "refine.xml").write_text(REFINE)
    (root / "setup_pipeline.xml").write_text(PIPELINE)
    return root


def run(root: Path, **properties: object) -> NEM2EPipelineTool:
    tool = NEM2EPipelineTool(root / "setup_pipeline.xml")
    for name, value in properties.items():
        tool.set(name, value)
    tool.run()
    return tool


def summary(root: Path) -> dict[str, dict[str, str]]:
    with (root / "pipeline" / "study_summary.csv").open(encoding="utf-8", newline="") as stream:
        return {row["setup_file"]: row for row in csv.DictReader(stream)}


def statuses(root: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in summary(root).values():
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts


def results(root: Path) -> dict[str, bytes]:
    """Return the content of all results of the steps; the refinement's log and setup hold times and places."""
    folders = ["results", "id", "refined"]
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*.sto"))
        if path.parent.name in folders
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("Studie ä"))
    run(root, jobs=2)
    return root


@pytest.fixture
def study(undisturbed: Path, tmp_path: Path) -> Path:
    """A finished study, to be changed."""
    root = tmp_path / undisturbed.name
    shutil.copytree(undisturbed, root)
    return root


def test_a_study(undisturbed: Path) -> None:
    assert statuses(undisturbed) == {"done": 2 + 2 * len(TRIALS)}
    rows = summary(undisturbed)
    assert rows["s1/setup_id.xml"]["step"] == "InverseDynamicsTool"
    row = rows["s2/t3/setup_s2t3_cmc.xml"]
    assert row["trial"] == "s2/t3"
    error = read_storage(undisturbed / "s2" / "t3" / "results" / "s2t3_cmc_pErr.sto")
    assert float(row["tracking_error"]) == pytest.approx(abs(error.column("elbow")).max() * 57.29578, rel=1e-4)
    assert (row["tracking_unit"], row["tracking_of"]) == ("deg", "elbow")
    refined = read_storage(undisturbed / "s2" / "t3" / "refined" / "s2t3_cmc_refined_states.sto")
    plain = read_storage(undisturbed / "s2" / "t3" / "results" / "s2t3_cmc_states.sto")
    assert plain.notes == ()
    assert refined.labels == plain.labels
    change = refined.column("/forceset/soleus_r/activation") - plain.column("/forceset/soleus_r/activation")
    assert abs(change).max() > 0.01
    assert not list(undisturbed.rglob(".*"))
    log = (undisturbed / "pipeline" / "study.log").read_text()
    assert "[10/10]" in log
    assert "study_summary.csv" in log
    assert len(list((undisturbed / "pipeline" / "logs").iterdir())) == 10
    assert (undisturbed / "pipeline" / "study_effective_setup.xml").is_file()


def test_what_is_done_is_not_done_again(study: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*.sto")}
    run(study)
    # The refinements' setup files hold absolute paths, and this is a copy of the study.
    assert statuses(study) == {"unchanged": 2 + len(TRIALS), "done": len(TRIALS)}
    after = {path: path.stat().st_mtime_ns for path in study.rglob("*.sto")}
    assert {path for path in before if before[path] != after[path]} == set(study.rglob("refined/*.sto"))
    run(study)
    assert statuses(study) == {"unchanged": 2 + 2 * len(TRIALS)}
    assert summary(study)["s1/t1/setup_s1t1_cmc.xml"]["tracking_of"] == "elbow"


@pytest.mark.slow
def test_a_change_is_followed(study: Path) -> None:
    run(study)
    # A trial's motion; a result that somebody edited; one that somebody removed; records that cannot be read, or are of
    # another format.
    write_motion(study / "s2" / "t2" / "motion.mot", swing=12.0)
    edited = study / "s1" / "id" / "moments.sto"
    edited.write_text(edited.read_text() + "\n")
    (study / "s1" / "t1" / "refined" / "s1t1_cmc_refined_emg.sto").unlink()
    for trial, text in (("s2_t1", "{"), ("s2_t3", '{"format": 0}')):
        (record,) = (study / "pipeline" / "records").glob(f"{trial}_setup*")
        record.write_text(text)
    run(study)
    done = {key for key, row in summary(study).items() if row["status"] == "done"}
    changed = {f"s2/t{k}/setup_s2t{k}_cmc.xml" for k in (1, 2, 3)} | {"s1/setup_id.xml"}
    assert {key for key in done if "_refine" not in key} == changed
    assert sorted(summary(study)[key]["trial"] for key in done if "_refine" in key) == ["s1/t1", "s2/t2"]


def test_what_fails_does_not_stop_the_others(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Muscles that are too weak, a motion that is not there, a setup file that is not XML."""
    build_arm(study / "s1", strength=0.01, muscles=("soleus_r", "tib_ant_r"))
    (study / "s2" / "t2" / "motion.mot").unlink()
    (study / "s2" / "t3" / "setup_s2t3_cmc.xml").write_text("<OpenSimDocument")
    with pytest.raises(NEM2EError, match=r"4 of 10 steps failed, and 2 that need them were not run\."):
        run(study)
    rows = summary(study)
    assert rows["s1/t1/setup_s1t1_cmc.xml"]["status"] == "failed"
    assert "Unable to find a feasible" in rows["s1/t1/setup_s1t1_cmc.xml"]["message"]
    assert "motion.mot' does not exist, and no step before writes it" in rows["s2/t2/setup_s2t2_cmc.xml"]["message"]
    assert "not well-formed" in rows["s2/t3/setup_s2t3_cmc.xml"]["message"]
    refinements = {row["trial"]: row for row in rows.values() if "refine" in row["setup_file"]}
    assert refinements["s1/t1"]["status"] == "not run"
    assert refinements["s1/t1"]["message"] == "it needs s1/t1/setup_s1t1_cmc.xml"
    assert refinements["s2/t1"]["status"] == "done"
    # A setup file that cannot be read has no results that a refinement could take.
    assert "needs a CMCTool or StaticOptimization" in caplog.text
    # The results of before are still there, and whole.
    assert read_storage(study / "s1" / "t1" / "results" / "s1t1_cmc_states.sto").notes == ()


def test_a_time_limit(study: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(pipeline_study, "_LINE", 0.5)
    caplog.set_level("INFO")
    setup = study / "s1" / "t1" / "setup_s1t1_cmc.xml"
    setup.write_text(setup.read_text().replace("<final_time>0.2<", "<final_time>0.95<"))
    with pytest.raises(NEM2EError, match=r"1 of 10 steps failed, and 1"):
        run(study, time_limit=2.0)
    assert re.search(r"Under way: .*s1/t1: CMCTool \(\d+ s\)", caplog.text)
    assert "killed at the time limit of 2 s" in summary(study)["s1/t1/setup_s1t1_cmc.xml"]["message"]


def start(root: Path, *arguments: str, fork: bool = FORKS) -> Program:
    return start_program("run", "setup_pipeline.xml", *arguments, folder=root, fork=fork)


def wait_for_records(root: Path, count: int, process: Program) -> None:
    deadline = time.monotonic() + 120
    while len(list((root / "pipeline" / "records").glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")


@pytest.mark.slow
@needs_sigkill
def test_killed_half_way_and_run_again(undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL of the program in the middle: what is there is whole, and the second run ends as if nothing had been."""
    root = make_study(tmp_path / undisturbed.name)
    process = start(root, "--jobs", "2")
    wait_for_records(root, 4, process)
    process.kill()
    process.wait()
    # Its processes notice; a refinement that was under way is completed.
    time.sleep(2.0)
    expected, half = results(undisturbed), results(root)
    assert 0 < len(half) < len(expected)
    assert half == {name: expected[name] for name in half}
    time.sleep(1.0)
    assert results(root).keys() == half.keys(), "an abandoned process is still at work"
    kept = {path: path.stat().st_mtime_ns for path in (root / "pipeline" / "records").iterdir()}

    process = start(root, "--jobs", "2")
    out = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, out
    assert results(root) == expected
    assert out.count("was done before, and nothing has changed") == len(kept)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert not list(root.rglob(".*"))


@pytest.mark.slow
@needs_sigkill
def test_a_worker_that_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    """One of the two processes, as the system does when memory runs out: its step is done again by another."""
    root = make_study(tmp_path / undisturbed.name)
    process = start(root, "--jobs", "2")
    wait_for_records(root, 3, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        process.kill()
        process.wait()
        pytest.skip("the system does not say which processes a process has started")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    out = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, out
    assert "its process was killed by SIGKILL" in out
    assert results(root) == results(undisturbed)
    assert not list(root.rglob(".*"))


@pytest.mark.slow
@needs_sigkill
def test_a_cluster_with_a_worker_killed(undisturbed: Path, tmp_path: Path, dask_scheduler: str) -> None:
    """A real scheduler and two workers; one dies in the middle. Nothing is lost, and nothing is half-written."""
    distributed = pytest.importorskip("distributed")
    root = make_study(tmp_path / undisturbed.name)
    with distributed.Client(dask_scheduler) as client:
        pids = client.run(os.getpid)
        process = start(root, "--scheduler", dask_scheduler, fork=False)
        wait_for_records(root, 3, process)
        busy = []
        while not busy:
            busy = [where for where, keys in client.processing().items() if keys]
        os.kill(pids[busy[0]], signal.SIGKILL)
        out = "".join(process.communicate(timeout=300))
        assert len(client.nthreads()) == 1
    assert process.returncode == 0, out
    assert results(root) == results(undisturbed)
    assert not list(root.rglob(".*"))


@needs_sigkill
def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C: OpenSim is ended, the summary says what was not done, and nothing half-written stays."""
    root = make_study(tmp_path / "study", end=0.6)
    process = start(root, "--jobs", "2")
    wait_for_records(root, 1, process)
    process.send_signal(signal.SIGINT)
    out = "".join(process.communicate(timeout=120))
    assert process.returncode != 0
    assert "Traceback" not in out
    assert statuses(root)["not run"] >= 4
    assert "interrupted" in {row["message"][-11:] for row in summary(root).values() if row["status"] == "not run"}
    assert not [path for path in root.rglob(".*") if path.is_dir()]


def test_the_refinement_of_each_trial(undisturbed: Path, tmp_path: Path) -> None:
    """What the template leaves open comes from CMC's setup; what it says stays."""
    (setup,) = (undisturbed / "pipeline" / "setups").glob("s2_t2*")
    text = setup.read_text()
    for path in ("s2/arm.osim", "s2/t2/results/s2t2_cmc_states.sto", "s2/t2/refined/"):
        assert f">{undisturbed / path}{'/' if path.endswith('/') else ''}<" in text
    assert "<minimum_cycle_duration>0.01" in text
    root = make_study(tmp_path / "study")
    text = PIPELINE.replace(" setup_*_cmc.xml", "").replace("{trial}", "t*")
    (root / "setup_pipeline.xml").write_text(text)
    with pytest.raises(NEM2EError, match="4 of 6 steps failed"):
        run(root)
    (root / "refine.xml").write_text(REFINE.replace("STDRRefineTool", "STDRTrainTool"))
    with pytest.raises(SetupError, match="the tool must be STDRRefineTool"):
        run(root)


def test_records_hold_what_was_read_and_written(undisturbed: Path) -> None:
    (record,) = (undisturbed / "pipeline" / "records").glob("s1_t1_setup*")
    content = json.loads(record.read_text())
    assert set(content["inputs"]) == {"../arm.osim", "../tasks.xml", "motion.mot", "setup_s1t1_cmc.xml"}
    assert "results/s1t1_cmc_states.sto" in content["written"]
    assert content["program"].startswith("opensim 4.")


def test_trials_file_needs_folders(tmp_path: Path) -> None:
    tool = NEM2EPipelineTool()
    tool.setup_files = ["a.xml"]
    tool.trials_file = "trials.csv"
    with pytest.raises(SetupError, match="<trial_folders> must be given with <trials_file>"):
        tool.run()
    with pytest.raises(SetupError, match="<setup_files> must be given"):
        NEM2EPipelineTool().run()


def test_hamner_as_it_is_handed_out(shared_data: Path, tmp_path: Path) -> None:
    """Each of its four known faults is found before anything runs, with what to do about it."""
    folder = tmp_path / "Hamner"
    shutil.copytree(shared_data / "opensim_pipelines" / "Hamner", folder)
    shutil.rmtree(folder / "outputReference")
    tool = NEM2EPipelineTool()
    tool.setup_files = [f"Setup_{name}.xml" for name in ("Scale", "IK", "RRA", "CMC")]
    tool.trial_folders = [str(folder)]
    tool.setResultsDir(str(tmp_path / "out"))
    with pytest.raises(NEM2EError, match="4 of 4 steps failed"):
        tool.run()
    with (tmp_path / "out" / "pipeline_summary.csv").open(encoding="utf-8", newline="") as stream:
        messages = {row["step"]: row["message"] for row in csv.DictReader(stream)}
    assert "no model is named" in messages["ScaleTool"]
    for tool_name in ("InverseKinematicsTool", "RRATool"):
        assert "subject01_registered.osim" in messages[tool_name]
        assert "Did you mean 'subject02_registered.osim'? An earlier step writes that." in messages[tool_name]
    assert "<moment_arm_coordinate_list>" in messages["CMCTool"]


@pytest.mark.slow
def test_gait2354_up_to_rra(shared_data: Path, tmp_path: Path) -> None:
    """Scale, IK, inverse dynamics and RRA of a real recording, as OpenSim hands it out; CMC takes a minute more.

    The motion that comes with it was made by another version of OpenSim.
    """
    folder = tmp_path / "gait2354"
    shutil.copytree(shared_data / "opensim_pipelines" / "Gait2354_Simbody", folder)
    shutil.rmtree(folder / "OutputReference")
    (folder / "subject01_walk1_ik.mot").unlink()
    tool = NEM2EPipelineTool()
    tool.setup_files = [f"subject01_Setup_{name}.xml" for name in ("Scale", "IK", "InverseDynamics", "RRA")]
    tool.trial_folders = [str(folder)]
    tool.setResultsDir(str(tmp_path / "out"))
    tool.run()
    with (tmp_path / "out" / "pipeline_summary.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["step"]: row for row in csv.DictReader(stream)}
    assert {row["status"] for row in rows.values()} == {"done"}
    assert rows["InverseKinematicsTool"]["tracking_of"] == "R.Acromium"
    assert 0.05 < float(rows["InverseKinematicsTool"]["tracking_error"]) < 0.12
    assert float(rows["RRATool"]["residual_N"]) < 40.0
    reference = read_storage(shared_data / "opensim_pipelines" / "Gait2354_Simbody" / "subject01_walk1_ik.mot")
    made = read_storage(folder / "subject01_walk1_ik.mot")
    assert abs(made.column("knee_angle_r")[:5] - reference.column("knee_angle_r")[:5]).max() < 2.0


@pytest.mark.parametrize(("start", "end", "complete"), [("0.8", "1.2", False), ("0.58", "1.87", True)])
def test_a_simulation_without_a_gait_cycle_is_named_before_it_is_run(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, start: str, end: str, complete: bool
) -> None:
    """CMC as OpenSim hands it out covers 0.4 s, which no refinement can use: that is known before its minutes."""
    folder = tmp_path / "gait2354"
    shutil.copytree(shared_data / "opensim_pipelines" / "Gait2354_Simbody", folder)
    setup = folder / "subject01_Setup_CMC.xml"
    text = re.sub(r"(<initial_time>) *[\d.]+", rf"\g<1> {start}", setup.read_text())
    setup.write_text(re.sub(r"(<final_time>) *[\d.]+", rf"\g<1> {end}", text))
    # The motion that CMC tracks is missing, so nothing runs.
    (folder / "refine.xml").write_text('<OpenSimDocument Version="40600"><STDRRefineTool/></OpenSimDocument>')
    tool = NEM2EPipelineTool()
    tool.setup_files = [setup.name]
    tool.trial_folders = [str(folder)]
    tool.refine_setup_file = str(folder / "refine.xml")
    tool.setResultsDir(str(tmp_path / "out"))
    with pytest.raises(NEM2EError, match="of 2 steps failed"):
        tool.run()
    said = [record.getMessage() for record in caplog.records if "the refinement will fail" in record.getMessage()]
    assert (said == []) == complete
    if not complete:
        assert "with the times of 'subject01_Setup_CMC.xml'" in said[0]
        assert "right: 0.6182, 1.8522" in said[0]
        first = next(k for k, record in enumerate(caplog.records) if record.getMessage() == said[0])
        assert not any("failed" in record.getMessage() for record in caplog.records[:first])


SO = """<OpenSimDocument Version="40600"><AnalyzeTool name="so">
    <model_file>arm.osim</model_file><results_directory>so results</results_directory>
    <initial_time>0.1</initial_time><final_time>0.6</final_time>
    <AnalysisSet><objects><StaticOptimization name="optimum"><use_model_force_set>true</use_model_force_set>
        <activation_exponent>2</activation_exponent></StaticOptimization></objects></AnalysisSet>
    <coordinates_file>motion.mot</coordinates_file></AnalyzeTool></OpenSimDocument>"""


def test_static_optimisation_and_its_refinement(tmp_path: Path) -> None:
    """In folders whose names have a space, and from another working directory; the analysis has a name of its own."""
    folder = tmp_path / "my arm"
    folder.mkdir()
    build_arm(folder, muscles=("soleus_r", "tib_ant_r"))
    (folder / "my so.xml").write_text(SO)
    (folder / "refine.xml").write_text(REFINE)
    tool = NEM2EPipelineTool()
    tool.setup_files = ["my?so.xml"]
    tool.trial_folders = [f"{tmp_path}/my*arm"]
    tool.refine_setup_file = str(folder / "refine.xml")
    tool.setResultsDir(str(tmp_path / "out"))
    tool.run()
    refined = read_storage(folder / "refined" / "so_optimum_refined_activation.sto")
    plain = read_storage(folder / "so results" / "so_optimum_activation.sto")
    assert refined.n_rows == plain.n_rows > 40
    assert abs(refined.column("soleus_r") - plain.column("soleus_r")).max() > 0.01


def test_a_refinement_by_torques_is_a_step(tmp_path, paths_cache):
    """What inverse dynamics and the cache of muscle paths write on the way is no result that could be missed."""
    folder = tmp_path / "walk"
    example = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("results", "*.py"))
    setup = folder / "setup_refine.xml"
    setup.write_text(
        setup.read_text().replace("<write_figures>true<", "<write_report>false</write_report><write_figures>false<")
    )
    argument = {
        "setup_file": str(setup),
        "record_file": str(tmp_path / "record.json"),
        "log_file": str(tmp_path / "log.txt"),
        "time_limit": None,
    }
    said: list[dict[str, Any]] = []
    for _ in range(2):
        do_step(argument, said.append, lambda: False)
    assert [one["reused"] for one in said] == [False, True]
    assert "results/walking_torques.sto" in said[0]["outputs"]
    assert all(name.startswith("results/") for name in said[0]["outputs"])
