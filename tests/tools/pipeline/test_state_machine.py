"""A study that is run, killed, edited and run again in any order: real programs, and a model of what must be there."""

from __future__ import annotations

import csv
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from forked_processes import Program, start_program
from gait_study_maker import RESULT, make_gait_study, write_forces
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kill_points import hidden, needs_kills

from opensim_nem2e.tools.tool_registry import load_tool

TRIALS = ("t1", "t2")
PERIODS = (0.9, 1.0, 1.1)
_expected: dict[float, bytes] = {}


def expected(period: float) -> bytes:
    """Return what a step makes of the walk with this stride, done alone."""
    if period not in _expected:
        with tempfile.TemporaryDirectory() as folder:
            root = make_gait_study(Path(folder), ("t",))
            write_forces(root / "t", period)
            load_tool(root / "t" / "events.xml").run()
            _expected[period] = (root / "t" / RESULT).read_bytes()
    return _expected[period]


def start(root: Path) -> Program:
    return start_program("run", "setup_pipeline.xml", folder=root, new_group=True)


def wait_for_group(process: Program) -> str:
    """Wait until the program and all processes that it has started are gone; return what it said."""
    said = "".join(process.communicate(timeout=120))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return said
        time.sleep(0.02)
    raise AssertionError("processes are left")


class PipelineMachine(RuleBasedStateMachine):
    """What is known of a study."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.root = make_gait_study(Path(self._folder.name), TRIALS)
        self.periods: dict[str, float] = {}
        #: Of which walks a trial's results may be: of any that a run may have seen.
        self.seen: dict[str, set[float]] = {trial: set() for trial in TRIALS}
        #: Trials that must be found done, if nothing is changed.
        self.done: set[str] = set()

    @initialize(period=st.sampled_from(PERIODS))
    def begin(self, period: float) -> None:
        for trial in TRIALS:
            self._walk(trial, period)

    def _walk(self, trial: str, period: float) -> None:
        write_forces(self.root / trial, period)
        self.done -= {trial} if self.periods.get(trial) != period else set()
        self.periods[trial] = period

    def _runs(self) -> None:
        for trial in TRIALS:
            self.seen[trial].add(self.periods[trial])

    @rule(trial=st.sampled_from(TRIALS), period=st.sampled_from(PERIODS))
    def edit(self, trial: str, period: float) -> None:
        self._walk(trial, period)

    @rule(trial=st.sampled_from(TRIALS))
    def lose_a_result(self, trial: str) -> None:
        (self.root / trial / RESULT).unlink(missing_ok=True)
        self.done.discard(trial)

    @rule(text=st.sampled_from(["", "{}", '{"format": 1, "written": {}}', "[" * 5000]))
    def damage_the_records(self, text: str) -> None:
        for record in (self.root / "pipeline" / "records").glob("*.json"):
            record.write_text(text)
        self.done.clear()

    @rule(seconds=st.floats(0.0, 1.5), everything=st.booleans())
    def run_and_kill(self, seconds: float, everything: bool) -> None:
        """Kill the program, or all its processes with it."""
        self._runs()
        process = start(self.root)
        time.sleep(seconds)
        if everything:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        wait_for_group(process)

    @rule(first=st.booleans(), seconds=st.floats(0.0, 1.5))
    def run_two_and_kill_one(self, first: bool, seconds: float) -> None:
        self._runs()
        programs = [start(self.root), start(self.root)]
        time.sleep(seconds)
        os.killpg(programs[0 if first else 1].pid, signal.SIGKILL)
        said = [wait_for_group(process) for process in programs]
        survivor = 1 if first else 0
        assert programs[survivor].returncode == 0, said[survivor]
        self._all_is_done()

    @rule()
    def run(self) -> None:
        self._runs()
        process = start(self.root)
        said = wait_for_group(process)
        assert process.returncode == 0, said
        with (self.root / "pipeline" / "study_summary.csv").open(newline="") as stream:
            status = {row["trial"]: row["status"] for row in csv.DictReader(stream)}
        assert set(status) == set(TRIALS)
        for trial in TRIALS:
            assert status[trial] in (("unchanged",) if trial in self.done else ("done", "unchanged"))
        self._all_is_done()
        assert not hidden(self.root)

    def _all_is_done(self) -> None:
        for trial in TRIALS:
            assert (self.root / trial / RESULT).read_bytes() == expected(self.periods[trial]), trial
        self.done = set(TRIALS)

    @invariant()
    def results_are_whole(self) -> None:
        for trial in TRIALS:
            result = self.root / trial / RESULT
            if result.exists():
                assert result.read_bytes() in {expected(period) for period in self.seen[trial]}, trial

    def teardown(self) -> None:
        if self.periods:
            # However it was treated, one run more makes it whole.
            self.run()
        self._folder.cleanup()


@pytest.mark.slow
@needs_kills
@pytest.mark.usefixtures("forked_workers")
class TestPipeline(PipelineMachine.TestCase):
    """The machine, as a test: 'hypothesis' prints the steps that lead to a failure."""

    settings = settings(
        max_examples=int(os.environ.get("OPENSIM_NEM2E_STATE_RUNS", "3")),
        stateful_step_count=5,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
