"""Steps and runs killed anywhere, alone and side by side: nothing is lost, and nothing counts as done that is not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arm_maker import build_arm, write_inverse_dynamics
from forked_processes import Program, start_program
from gait_study_maker import RESULT, make_gait_study, write_forces
from kill_points import hidden, kill_before, needs_kills, run_killed

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.musculoskeletal.opensim.whole_results import run_whole
from opensim_nem2e.tools.pipeline.step import do_step
from opensim_nem2e.tools.tool_registry import load_tool

pytestmark = needs_kills


@pytest.fixture(scope="module", autouse=True)
def quick_figures() -> Iterator[None]:
    """Draw nothing: that a step writes a figure as well counts, not what is on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opensim_nem2e.report.events_figure.draw_events", lambda _, path, __: path.write_bytes(b"drawn"))
        yield


def argument(root: Path, trial: str = "t1", setup: str = "events.xml") -> dict[str, object]:
    for name in ("logs", "records"):
        (root / "pipeline" / name).mkdir(parents=True, exist_ok=True)
    return {
        "setup_file": str(root / trial / setup),
        "record_file": str(root / "pipeline" / "records" / "step.json"),
        "log_file": str(root / "pipeline" / "logs" / "step.log"),
        "time_limit": None,
    }


def do(given: dict[str, object]) -> bool:
    """Do a step; tell whether it had been done."""
    told: list[dict[str, object]] = []
    do_step(given, told.append, lambda: False)
    (outcome,) = told
    return bool(outcome["reused"])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = make_gait_study(tmp_path_factory.mktemp("expected"), ("t1",), figures=True)
    load_tool(root / "t1" / "events.xml").run()
    content = (root / "t1" / RESULT).read_bytes()
    assert content.count(b"\n") > 10
    return content


def test_a_step_killed_at_every_point(tmp_path: Path, expected: bytes) -> None:
    for number in range(1, 400):
        root = make_gait_study(tmp_path / str(number), ("t1",), figures=True)
        given = argument(root)
        if not run_killed(lambda given=given: do(given), root, number):  # type: ignore[misc]
            break
        result = root / "t1" / RESULT
        assert not result.exists() or result.read_bytes() == expected, f"point {number}"
        done = do(given)
        # It counts as done only if it was, to the last file.
        assert not done or result.exists()
        assert result.read_bytes() == expected, f"point {number}"
        assert not hidden(root), f"point {number}"
        assert do(given), f"point {number}"
        shutil.rmtree(root)
    else:
        pytest.fail("the step never came to its end")
    assert number > 30


@pytest.mark.parametrize("seed", range(12))
def test_two_runs_of_a_step_one_or_both_killed(tmp_path: Path, expected: bytes, seed: int) -> None:
    """In both orders, with any time between them; when the seed says so, with older results of other inputs there."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    root = make_gait_study(tmp_path, ("t1",), figures=True)
    given = argument(root)
    if chance.random() < 0.5:
        do(given)
        write_forces(root / "t1", 0.8)
        do(given)
        write_forces(root / "t1", 1.0)
    kills = [chance.choice((0, chance.randint(1, 90))) for _ in range(2)]
    children = []
    for number in kills:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if number:
                    kill_before(number, root)
                do(given)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
        time.sleep(chance.choice((0, 0.01, 0.05)))
    ends = [os.waitpid(child, 0)[1] for child in children]
    for number, status in zip(kills, ends, strict=True):
        # Who was not killed has succeeded, whatever the other did.
        assert status in (0, signal.SIGKILL), (kills, ends)
        assert number or status == 0, (kills, ends)
    do(given)
    assert (root / "t1" / RESULT).read_bytes() == expected, kills
    assert not hidden(root), kills
    assert do(given)


def test_two_runs_share_a_step(tmp_path: Path) -> None:
    """OpenSim's: one does it, the other waits and finds it done."""
    build_arm(tmp_path)
    setup = write_inverse_dynamics(tmp_path)
    given = argument(tmp_path, ".", setup.name)
    reads, children = [], []
    for _ in range(2):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, b"reused" if do(given) else b"done")
            finally:
                os._exit(0)
        os.close(write)
        reads.append(read)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert sorted(os.read(read, 10) for read in reads) == [b"done", b"reused"]
    assert not hidden(tmp_path)


def test_two_runs_of_a_tool_do_not_touch_each_other(tmp_path: Path) -> None:
    """Without a pipeline around them, too: a working folder belongs to its process."""
    build_arm(tmp_path)
    setup = write_inverse_dynamics(tmp_path)
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if run_whole(setup).outputs == (tmp_path / "id" / "moments.sto",) else 2
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert not hidden(tmp_path)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("killed", ["first", "second"])
def test_two_programs_on_one_study(tmp_path: Path, killed: str) -> None:
    """The whole program twice; one is killed while OpenSim is at work. What is left is done by the other."""
    root = tmp_path
    build_arm(root)
    write_inverse_dynamics(root)
    (root / "p.xml").write_text(
        '<OpenSimDocument Version="40600"><NEM2EPipelineTool name="p"><results_directory>pl</results_directory>'
        "<setup_files>setup_id.xml</setup_files><jobs>1</jobs></NEM2EPipelineTool></OpenSimDocument>"
    )
    programs = [start(root, "p.xml")]
    wait_for(lambda: any(path.suffix == ".part" and path.is_dir() for path in hidden(root)))
    programs.append(start(root, "p.xml"))
    time.sleep(1.0)
    victim, survivor = programs if killed == "first" else programs[::-1]
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    out = "".join(survivor.communicate(timeout=120))
    assert survivor.returncode == 0, out
    assert (root / "id" / "moments.sto").is_file()
    (record,) = (json.loads(path.read_text()) for path in (root / "pl" / "records").glob("*.json"))
    assert list(record["written"]) == ["id/moments.sto"]
    last = start(root, "p.xml")
    out = "".join(last.communicate(timeout=120))
    assert "was done before, and nothing has changed" in out
    assert not hidden(root)


def start(root: Path, setup: str) -> Program:
    return start_program("run", setup, folder=root, new_group=True)


def wait_for(there) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.update(written={}),
        lambda record: record["written"].update({f"results/{'x' * 300}": "none"}),
        lambda record: record["written"].update({RESULT: "none"}),
        lambda record: record["written"].update({"results": "a folder"}),
        lambda record: record["written"].update({"a\0b": "0" * 64}),
        lambda record: record.pop("inputs"),
        lambda record: record.update(inputs=[]),
        lambda record: record.pop("outcome"),
        lambda record: record.update(outcome={}),
        lambda record: record["outcome"].update(quality={"tracking": 3}),
        lambda record: record["outcome"].update(seconds="long"),
        lambda record: record["outcome"].update(outputs=[1]),
        lambda record: record.update(program=None),
        lambda record: record.update(format=2),
        lambda record: record.clear(),
    ],
)
def test_a_damaged_record_is_made_again(tmp_path: Path, expected: bytes, damage) -> None:
    root = make_gait_study(tmp_path, ("t1",), figures=True)
    given = argument(root)
    do(given)
    record = Path(str(given["record_file"]))
    content = json.loads(record.read_text())
    damage(content)
    record.write_text(json.dumps(content))
    assert not do(given)
    assert (root / "t1" / RESULT).read_bytes() == expected
    assert do(given)


@pytest.mark.parametrize("text", ["[" * 100_000, "\udcff", "", "[]", '{"format": 1e999}', "9" * 5000])
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    root = make_gait_study(tmp_path, ("t1",), figures=True)
    given = argument(root)
    record = Path(str(given["record_file"]))
    record.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert not do(given)
    assert do(given)


def test_a_result_that_is_gone_is_made_again(tmp_path: Path, expected: bytes) -> None:
    root = make_gait_study(tmp_path, ("t1",), figures=True)
    given = argument(root)
    do(given)
    (root / "t1" / RESULT).unlink()
    assert not do(given)
    assert (root / "t1" / RESULT).read_bytes() == expected


def test_a_tool_without_results_is_not_done(tmp_path: Path) -> None:
    """OpenSim says that all is well; nothing is there."""
    build_arm(tmp_path)
    (tmp_path / "nothing.xml").write_text(
        '<OpenSimDocument Version="40600"><AnalyzeTool name="no"><model_file>arm.osim</model_file>'
        "<results_directory>out</results_directory><initial_time>0</initial_time><final_time>0.2</final_time>"
        '<AnalysisSet><objects><Kinematics name="k"><on>false</on></Kinematics></objects></AnalysisSet>'
        "<coordinates_file>motion.mot</coordinates_file></AnalyzeTool></OpenSimDocument>"
    )
    if not (tmp_path / "motion.mot").is_file():
        from arm_maker import write_motion

        write_motion(tmp_path / "motion.mot")
    given = argument(tmp_path, ".", "nothing.xml")
    for _ in range(2):
        with pytest.raises(NEM2EError, match="ended without an error, but"):
            do(given)
    assert not list((tmp_path / "pipeline" / "records").iterdir())
