"""The steps of a pipeline while they are run: what is ready, what came of each, and the summary."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ...errors import NEM2EError
from ...log import logger
from ...storage.atomic import atomic_path
from ...storage.file_names import file_name
from ...storage.tables import write_rows
from ...workers import Event, Work, run
from .plan import PipelineStep
from .step import DO_STEP, StepOutcome

if TYPE_CHECKING:
    from ...workers import ClusterWorkers, LocalWorkers


#: The bar is drawn anew so often; without one, a line says so often what is under way (s).
_REFRESH, _LINE = 1.0, 60.0


@dataclass
class StepRow:
    """A row of the summary.

    Parameters
    ----------
    trial : str
        The first trial that the step belongs to.
    step : str
        The tool.
    setup_file : str
        Its setup file.
    status : {'waiting', 'done', 'unchanged', 'failed', 'not run'}
        ``unchanged``: it was done before, from the same files. ``not run``: a step that it needs was not done.
    seconds : float or str
        How long it took, when it was done (s).
    tracking_error, tracking_unit, tracking_of : float or str, str, str
        The largest, of a marker or a coordinate.
    reserve_Nm, reserve_of : float or str, str
        The largest moment of a reserve actuator, of CMC after its first 0.1 s.
    residual_N, residual_of : float or str, str
        The largest residual force at the pelvis.
    message : str
        Why it failed, or what it warned of.
    """

    trial: str
    step: str
    setup_file: str
    status: str = "waiting"
    seconds: float | str = ""
    tracking_error: float | str = ""
    tracking_unit: str = ""
    tracking_of: str = ""
    reserve_Nm: float | str = ""
    reserve_of: str = ""
    residual_N: float | str = ""
    residual_of: str = ""
    message: str = ""


class _Ready:
    """The steps that can be run now, in the order of the plan. It grows while it is read."""

    def __init__(self, work: Callable[[int], Work]):
        self.numbers: list[int] = []
        self._work = work

    def __iter__(self) -> Iterator[Work]:
        return self

    def __next__(self) -> Work:
        if not self.numbers:
            raise StopIteration
        return self._work(heapq.heappop(self.numbers))


class Study:
    """The steps, and how far they are.

    Parameters
    ----------
    steps : sequence of PipelineStep
        The plan.
    results : pathlib.Path
        Where logs and records are.
    time_limit : float
        Of each OpenSim tool (s); infinite: none.
    """

    def __init__(self, steps: Sequence[PipelineStep], results: Path, time_limit: float):
        self.steps = steps
        self.rows = [StepRow(step.trial, step.tool or "unknown", step.key) for step in steps]
        self._faults: list[StepRow] = []
        self._results = results
        self._limit = None if time_limit == float("inf") else time_limit
        self._number = {step.key: number for number, step in enumerate(steps)}
        self._waiting = {number: {self._number[key] for key in step.needs} for number, step in enumerate(steps)}
        self._ready = _Ready(self._work)
        self._ended = 0
        self._bar: Any = None
        self._begun: dict[int, float] = {}
        self._told = time.monotonic()

    def add_fault(self, trial: str, fault: str) -> None:
        """Count something that could not even be planned.

        Parameters
        ----------
        trial : str
            The trial.
        fault : str
            What is wrong.
        """
        logger.error("%s: %s", trial, fault)
        self._faults.append(StepRow(trial, "unknown", "", "failed", message=fault))

    def run(self, workers: Callable[[], LocalWorkers | ClusterWorkers]) -> None:
        """Run the steps, each when those that it needs are done.

        Parameters
        ----------
        workers : callable
            Returns who does them; asked only if there is something to do.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            There is nobody to do them. What fails is only noted: see :meth:`judge`.
        """
        for number, step in enumerate(self.steps):
            if step.faults:
                self._waiting.pop(number)
                self._fail(number, "\n".join(step.faults))
        self._release()
        # Steps are too different for a rate, or a remaining time, to mean anything.
        shape = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        self._bar = tqdm(total=len(self.steps), bar_format=shape, disable=None, dynamic_ncols=True, leave=False)
        try:
            if self._ready.numbers:
                lost = run(self._ready, workers(), self._heard, self._idle)
                for key, how in lost.items():
                    self._fail(self._number[key], f"its process {how}")
        finally:
            self._bar.close()
            for number, row in enumerate(self.rows):
                if row.status == "waiting":
                    self._give_up(number)

    def _release(self) -> None:
        for number in [number for number, needs in self._waiting.items() if not needs]:
            del self._waiting[number]
            heapq.heappush(self._ready.numbers, number)

    def _work(self, number: int) -> Work:
        step = self.steps[number]
        logger.debug("%s begins.", self._title(number))
        self._begun[number] = time.monotonic()
        name = file_name(step.key.removesuffix(".xml"))
        argument = {
            "setup_file": str(step.path),
            "record_file": str((self._results / "records" / f"{name}.json").absolute()),
            "log_file": str((self._results / "logs" / f"{name}.log").absolute()),
            "time_limit": self._limit,
        }
        return Work(step.key, DO_STEP, argument)

    def _heard(self, event: Event) -> None:
        number = self._number[event.key]
        if event.kind == "report":
            self._done(number, StepOutcome.from_json(event.content))
        elif event.kind in ("failed", "broken"):
            self._fail(number, event.content)

    def _idle(self) -> None:
        """Show what is under way, and for how long."""
        now = time.monotonic()
        if now - self._told < (_LINE if self._bar.disable else _REFRESH) or not self._begun:
            return
        self._told = now
        what = [
            f"{self.rows[number].trial}: {self.rows[number].step} ({now - begun:.0f} s)"
            for number, begun in self._begun.items()
        ]
        if self._bar.disable:
            logger.info("Under way: %s.", ", ".join(what))
        else:
            self._bar.set_postfix_str(", ".join(what))

    def _done(self, number: int, outcome: StepOutcome) -> None:
        row, quality = self.rows[number], outcome.quality
        if row.status != "waiting":
            return
        row.status = "unchanged" if outcome.reused else "done"
        row.seconds = outcome.seconds
        peaks = {"tracking error": quality.tracking, "reserve": quality.reserve, "residual": quality.residual}
        if quality.tracking is not None:
            row.tracking_unit = quality.tracking.unit
        for peak, value, name in zip(
            peaks.values(),
            ("tracking_error", "reserve_Nm", "residual_N"),
            ("tracking_of", "reserve_of", "residual_of"),
            strict=True,
        ):
            if peak is not None:
                setattr(row, value, peak.value)
                setattr(row, name, peak.name)
        said = [f"{what} {peak}" for what, peak in peaks.items() if peak is not None]
        how = "was done before, and nothing has changed" if outcome.reused else f"done in {outcome.seconds:.1f} s"
        self._say(number, "info", "; ".join([how, *said]) + ".")
        warnings = [*outcome.warnings, *quality.doubts]
        row.message = "\n".join(warnings)
        for warning in warnings:
            logger.warning("%s: %s", self._title(number), warning)
        for needs in self._waiting.values():
            needs.discard(number)
        self._release()

    def _fail(self, number: int, message: str) -> None:
        self.rows[number].status, self.rows[number].message = "failed", message
        self._say(number, "error", f"failed. {message}")

    def _give_up(self, number: int) -> None:
        """Say which of the steps that it needs, or that those need, was not done."""
        failed = [key for key in self._needs_of(number) if self.rows[self._number[key]].status == "failed"]
        row = self.rows[number]
        row.status, row.message = "not run", f"it needs {', '.join(failed)}" if failed else "the run was interrupted"

    def _needs_of(self, number: int) -> list[str]:
        found: dict[str, None] = {}
        stack = list(self.steps[number].needs)
        while stack:
            key = stack.pop()
            if key not in found:
                found[key] = None
                stack += self.steps[self._number[key]].needs
        return list(found)

    def _title(self, number: int) -> str:
        return f"{self.rows[number].trial}: {self.rows[number].step} ({self.steps[number].key})"

    def _say(self, number: int, level: str, text: str) -> None:
        self._ended += 1
        self._begun.pop(number, None)
        if self._bar is not None:
            self._bar.clear()
        getattr(logger, level)("[%d/%d] %s %s", self._ended, len(self.steps), self._title(number), text)
        if self._bar is not None:
            self._bar.update(self._ended - self._bar.n)

    def write(self, path: Path) -> None:
        """Write the summary.

        Parameters
        ----------
        path : pathlib.Path
            The table (.csv), replaced as a whole.
        """
        with atomic_path(path) as temporary:
            write_rows(temporary, StepRow, [*self.rows, *self._faults])

    def tell(self) -> None:
        """Show the summary."""
        shown = [("trial", "step", "status", "seconds", "tracking error", "reserve", "residual")]
        for row in [*self.rows, *self._faults]:
            shown.append(
                (
                    row.trial,
                    row.step,
                    row.status,
                    f"{row.seconds:.1f}" if isinstance(row.seconds, float) else "",
                    _shown(row.tracking_error, row.tracking_unit, row.tracking_of),
                    _shown(row.reserve_Nm, "Nm", row.reserve_of),
                    _shown(row.residual_N, "N", row.residual_of),
                )
            )
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for line in shown:
            logger.info("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def judge(self) -> None:
        """Say whether everything is done.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            It is not: how much failed, and where to look.
        """
        counts = Counter(row.status for row in [*self.rows, *self._faults])
        if counts["failed"] or counts["not run"]:
            total = sum(counts.values())
            rest = f", and {counts['not run']} that need them were not run" if counts["not run"] else ""
            raise NEM2EError(
                f"{counts['failed']} of {total} steps failed{rest}. Why is said above and in the summary; their logs "
                f"are in '{self._results / 'logs'}'. When the same setup is run again, what is done is not done again."
            )


def _shown(value: float | str, unit: str, name: str) -> str:
    if not isinstance(value, float):
        return ""
    return f"{value:.3g} {unit}" + (f" ({name})" if name else "")
