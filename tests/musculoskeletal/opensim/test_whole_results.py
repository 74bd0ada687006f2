"""Results of OpenSim's tools appear together or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arm_maker import build_arm, write_cmc, write_inverse_dynamics
from kill_points import needs_kills, run_killed

from opensim_nem2e.errors import NEM2EError, OpenSimRunError
from opensim_nem2e.musculoskeletal.opensim import whole_results
from opensim_nem2e.musculoskeletal.opensim.processes import OpenSimRun, RunStoppedError, run_opensim_tool
from opensim_nem2e.musculoskeletal.opensim.whole_results import run_whole
from opensim_nem2e.storage.atomic import complete_switches


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    folder = tmp_path / "Gelenk ä & co"
    folder.mkdir()
    build_arm(folder)
    return folder


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_the_results_are_those_of_the_tool_itself(arm: Path, tmp_path: Path) -> None:
    setup = write_cmc(arm, "walk")
    direct = run_opensim_tool(setup)
    expected = {path.name: path.read_bytes() for path in direct.outputs}
    for path in direct.outputs:
        path.unlink()
    found = run_whole(setup, log_file=tmp_path / "cmc.log")
    assert {path.name: path.read_bytes() for path in found.outputs} == expected
    assert {path.parent for path in found.outputs} == {arm / "results"}
    assert "walk_states.sto" in expected
    assert not hidden(arm)
    assert "CMC" in (tmp_path / "cmc.log").read_text(errors="replace")


def test_named_results(arm: Path) -> None:
    """Inverse dynamics writes one file, whose name the setup file says; folders are made."""
    setup = write_inverse_dynamics(arm)
    setup.write_text(setup.read_text().replace(">moments.sto<", ">net/moments.sto<"))
    assert run_whole(setup).outputs == (arm / "id" / "net" / "moments.sto",)
    assert not hidden(arm)


def test_scale_writes_where_its_setup_says(arm: Path) -> None:
    """Paths that are relative to the setup file, in two folders and with the same name."""
    setup = arm / "scale.xml"
    setup.write_text(
        """<OpenSimDocument Version="40600"><ScaleTool name="arm"><mass>2</mass>
        <GenericModelMaker><model_file>arm.osim</model_file></GenericModelMaker>
        <ModelScaler><apply>true</apply><scaling_order>manualScale</scaling_order>
          <ScaleSet><objects><Scale><scales>1.1 1.1 1.1</scales><segment>forearm</segment><apply>true</apply></Scale>
          </objects></ScaleSet>
          <output_model_file>models/scaled.osim</output_model_file>
          <output_scale_file>set/scaled.osim</output_scale_file></ModelScaler>
        <MarkerPlacer><apply>false</apply></MarkerPlacer></ScaleTool></OpenSimDocument>"""
    )
    found = run_whole(setup)
    assert found.outputs == (arm / "models" / "scaled.osim", arm / "set" / "scaled.osim")
    assert "<ScaleSet" in found.outputs[1].read_text()
    assert "<Model " in found.outputs[0].read_text()


def test_a_failed_run_leaves_the_old_results(arm: Path) -> None:
    setup = write_cmc(arm, "walk")
    run_whole(setup)
    states = arm / "results" / "walk_states.sto"
    old = states.read_bytes()
    build_arm(arm, strength=0.01)
    with pytest.raises(OpenSimRunError, match="Unable to find a feasible") as caught:
        run_whole(setup)
    assert str(setup) in str(caught.value)
    assert ".part" not in str(caught.value)
    assert states.read_bytes() == old
    assert not hidden(arm)


def test_a_stopped_run_leaves_nothing(arm: Path) -> None:
    setup = write_cmc(arm, "long", end=0.95)
    begun = time.monotonic()
    with pytest.raises(RunStoppedError):
        run_whole(setup, stop=lambda: any(folder.is_dir() and any(folder.iterdir()) for folder in hidden(arm)))
    assert time.monotonic() - begun < 60
    assert not hidden(arm)
    assert not (arm / "results").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an abandoned run goes on to its end")
def test_a_killed_run_leaves_nothing_that_looks_like_a_result(arm: Path) -> None:
    """SIGKILL of the program: OpenSim ends with it, and the next run removes what it left."""
    setup = write_cmc(arm, "long", end=0.95)
    code = (
        "import sys; from opensim_nem2e.musculoskeletal.opensim.whole_results import run_whole; run_whole(sys.argv[1])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(setup)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline = time.monotonic() + 60
    while not any(path.suffix == ".sto" for path in arm.rglob(".*/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hidden(arm)
    assert not (arm / "results").exists()
    (left,) = (path for path in hidden(arm) if path.is_dir())
    sizes = {path: path.stat().st_size for path in left.iterdir()}
    time.sleep(0.5)
    assert {path: path.stat().st_size for path in left.iterdir()} == sizes, "OpenSim is still at work"
    # What another setup file's run has under way is not touched.
    other = arm / ".setup_long.x.1234-0123abcd.part"
    other.mkdir()
    setup.write_text(setup.read_text().replace(">0.95<", ">0.2<"))
    assert (arm / "results" / "long_states.sto") in run_whole(setup).outputs
    assert hidden(arm) == [other]


def test_a_folder_that_cannot_be_written(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root nothing is forbidden, so the refusal is made here."""

    def refuse(self: Path, *arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    setup = write_cmc(arm, "walk")
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(NEM2EError, match=r"cannot be written: Permission denied\. The tool works there"):
        run_whole(setup)


@needs_kills
def test_killed_while_results_get_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every point after OpenSim is done: the results directory has the results of one run, or of the other."""
    names = ("walk_states.sto", "walk_controls.sto", "walk_pErr.sto")

    def write(copy: Path, **keywords: object) -> OpenSimRun:
        folder = Path(copy).with_suffix("")
        for name in names:
            (folder / name).write_text(content)
        return OpenSimRun("CMCTool", copy, 0, 0.1, "", folder, ())

    monkeypatch.setattr(whole_results, "run_opensim_tool", write)
    seen = set()
    for number in range(1, 500):
        folder = tmp_path / str(number)
        folder.mkdir()
        setup = write_cmc(folder, "walk")
        results = folder / "results"
        content = "old"
        run_whole(setup)
        content = "new"
        if not run_killed(lambda setup=setup: run_whole(setup), folder, number):  # type: ignore[misc]
            break
        # As its next reader finds it.
        complete_switches(results)
        found = {(results / name).read_text() for name in names}
        assert len(found) == 1, f"point {number}"
        seen |= found
        content = "next"
        assert run_whole(setup).outputs == tuple(sorted(results / name for name in names))
        assert {(results / name).read_text() for name in names} == {"next"}
        assert not hidden(folder), f"point {number}"
    assert number > 20
    assert seen == {"old", "new"}
