"""NEM2EPipelineTool: run a user's OpenSim setup files, from Scale to the refinement, for one trial or a whole study.

Every step runs in a process of its own and leaves its results whole. What fails is reported and does not stop what
does not need it; what is done is not done again.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import NEM2EError, SetupError
from ..log import Recorder, logger
from .properties import Property
from .tool import Tool, write_text

if TYPE_CHECKING:
    from ..workers import ClusterWorkers, Event, LocalWorkers, Work
    from .pipeline_plan import Step, Trial
    from .pipeline_step import Outcome
    from .stdr_refine import STDRRefineTool

#: What a process with an OpenSim tool needs (bytes; CMC of an 80-muscle model: 400 MB).
_MEMORY = 500e6

#: What is in the results directory: logs of the steps, records of what is done, setup files of refinements.
_FOLDERS = ("logs", "records", "setups")


class NEM2EPipelineTool(Tool):
    """Run setup files of OpenSim's tools and of the refinement, one after the other, for one or many trials.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = NEM2EPipelineTool()
    >>> tool.setup_files = ["setup_ik.xml", "setup_rra.xml", "setup_cmc.xml"]
    >>> tool.trial_folders = ["{subject}/{trial}"]
    >>> tool.refine_setup_file = "setup_refine.xml"
    >>> tool.jobs = 4
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "NEM2EPipelineTool"
    properties = (
        Property(
            "results_directory",
            "directory",
            "./",
            "Directory used for writing the summary, the logs of all steps and the records of what is done. The steps' "
            "own results go where their setup files say.",
        ),
        Property(
            "setup_files",
            "strings",
            (),
            "Setup files of ScaleTool, InverseKinematicsTool, InverseDynamicsTool, RRATool, CMCTool, AnalyzeTool "
            "(StaticOptimization), ForwardTool, GaitEventsTool or STDRRefineTool, in the order in which they are to be "
            "run, separated by spaces and relative to a trial's folder. '*' stands for what differs between trials "
            "(*_Setup_CMC.xml), '?' also for a space in a name. A file that several trials share (../setup_scale.xml) "
            "is run once.",
            required=True,
        ),
        Property(
            "trial_folders",
            "strings",
            (),
            "Folders of the trials. They may hold '*' and names in braces, which stand for any text without a slash "
            "(also for a space): data/{subject}/{trial}. Of the folders that fit, those are trials that hold one of "
            "the setup files. Empty: this setup file's folder is the only trial.",
        ),
        Property(
            "trials_file",
            "file",
            "",
            "Trials manifest (.csv): of the folders that fit trial_folders only those are taken whose names in braces "
            "are in the manifest's columns of these names.",
        ),
        Property(
            "refine_setup_file",
            "file",
            "",
            "STDRRefineTool setup for all trials. What it leaves empty of model_file, states_file (or "
            "activations_file) and external_loads_file is taken from the trial's last CMCTool, or else AnalyzeTool "
            "with StaticOptimization; its results_directory is relative to the folder of that setup file. Empty: only "
            "what is in setup_files is run.",
        ),
        Property(
            "time_limit",
            "double",
            float("inf"),
            "An OpenSim tool that takes longer is ended, and counts as failed.",
            bounds="(0, Inf]",
            unit="s",
        ),
        Property(
            "jobs",
            "int",
            0,
            "Steps that are run at once, each in a process of its own. 0: as many as processor cores and free memory "
            "allow.",
            bounds="[0, 1024]",
        ),
        Property(
            "scheduler",
            "string",
            "",
            "Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers run the steps, or local: Dask "
            "processes of this machine. All workers must see all files under the same names. Needs the extra "
            "'cluster'. Empty: processes of this machine, without Dask.",
        ),
    )

    def _check(self) -> list[str]:
        if self.trials_file and not self.trial_folders:
            return ["<trial_folders> must be given with <trials_file>: it says where a trial's files are."]
        return []

    def _run(self) -> None:
        from .pipeline_plan import plan_steps

        recorder = Recorder()
        with recorder.listening():
            logger.info("opensim_nem2e %s, %s %s.", __version__, self.tool_name, self.name or "without a name")
            results = self.resolve("results_directory") or self.base_directory
            try:
                for folder in _FOLDERS:
                    (results / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise NEM2EError(f"The folder '{results}' cannot be made: {error.strerror or error}.") from error
            trials = self._find_trials(results)
            steps = plan_steps(trials, self.base_directory)
            logger.info("Trials: %d. Steps: %d.", len(trials), len(steps))
            study = _Study(steps, results, self.time_limit)
            for trial in trials:
                for fault in trial.faults:
                    study.add_fault(trial.name, fault)
            name = self.name or "pipeline"
            try:
                study.run(self._workers)
            finally:
                # Also of a run that is interrupted.
                study.write(results / f"{name}_summary.csv")
                write_text(results / f"{name}_effective_setup.xml", self.effective_setup(results))
                study.tell()
                logger.info("The summary is '%s'.", results / f"{name}_summary.csv")
                write_text(results / f"{name}.log", recorder.text)
        study.judge()

    def _workers(self) -> LocalWorkers | ClusterWorkers:
        from ..training.pool import default_jobs
        from ..workers import ClusterWorkers, LocalWorkers

        if self.scheduler:
            return ClusterWorkers(self.scheduler, self.jobs)
        count = self.jobs or default_jobs(1, _MEMORY)
        logger.info("Steps that are run at once: %d.", count)
        return LocalWorkers(count)

    def _find_trials(self, results: Path) -> list[Trial]:
        from dataclasses import replace

        from .pipeline_plan import find_trials

        trials = find_trials(
            self.base_directory,
            self.trial_folders,
            self.setup_files,
            self.resolve("trials_file"),
            [results / folder for folder in _FOLDERS],
        )
        template_file = self.resolve("refine_setup_file")
        if template_file is None:
            return trials
        from .stdr_refine import STDRRefineTool

        template = STDRRefineTool(template_file)
        completed = []
        for trial in trials:
            try:
                setup = _refine_setup(template, trial, results / "setups")
                completed.append(replace(trial, setups=(*trial.setups, setup)))
            except SetupError as error:
                completed.append(replace(trial, faults=(*trial.faults, str(error))))
        return completed


def _refine_setup(template: STDRRefineTool, trial: Trial, folder: Path) -> Path:
    """Write the setup file of a trial's refinement."""
    from ..storage.opensim_setup import OpenSimSetup, read_opensim_setup
    from .pipeline_plan import STEP_TOOLS

    found: dict[str, OpenSimSetup] = {}
    for path in trial.setups:
        try:
            setup = read_opensim_setup(path, STEP_TOOLS)
        except NEM2EError:
            # The plan says so.
            continue
        if setup.tool == "CMCTool" or "StaticOptimization" in dict(setup.analyses):
            found[setup.tool] = setup
    source = found.get("CMCTool") or found.get("AnalyzeTool")
    if source is None:
        raise SetupError(
            "<refine_setup_file> needs a CMCTool or StaticOptimization among <setup_files> that can be read."
        )
    named = {item.element: item.path for item in reversed(source.inputs)}
    values: dict[str, str] = {}
    for element in ("model_file", "external_loads_file"):
        if not template.get(element) and element in named:
            values[element] = named[element].as_posix()
    if not any(template.get(name) for name in ("states_file", "controls_file", "activations_file")):
        so = source.tool == "AnalyzeTool"
        ending = f"{dict(source.analyses)['StaticOptimization']}_activation" if so else "states"
        result = source.results_directory / f"{source.name}_{ending}.sto"
        values["activations_file" if so else "states_file"] = result.as_posix()
    given = template.results_directory
    values["results_directory"] = f"{(source.path.parent / given).as_posix()}/"
    note = f"The refinement of {trial.name}, made from '{template.setup_file}' and '{source.path}'."
    path = folder / f"{_file_name(trial.name)}_refine.xml"
    text = template.effective_setup(folder, values, note)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


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


class _Study:
    """The steps, and how far they are."""

    def __init__(self, steps: Sequence[Step], results: Path, time_limit: float):
        self.steps = steps
        self.rows = [StepRow(step.trial, step.tool or "unknown", step.key) for step in steps]
        self._faults: list[StepRow] = []
        self._results = results
        self._limit = None if time_limit == float("inf") else time_limit
        self._number = {step.key: number for number, step in enumerate(steps)}
        self._waiting = {number: {self._number[key] for key in step.needs} for number, step in enumerate(steps)}
        self._ready = _Ready(self._work)
        self._ended = 0

    def add_fault(self, trial: str, fault: str) -> None:
        logger.error("%s: %s", trial, fault)
        self._faults.append(StepRow(trial, "unknown", "", "failed", message=fault))

    def run(self, workers: Callable[[], LocalWorkers | ClusterWorkers]) -> None:
        from tqdm import tqdm

        from ..workers import run

        for number, step in enumerate(self.steps):
            if step.faults:
                self._waiting.pop(number)
                self._fail(number, "\n".join(step.faults))
        self._release()
        self._bar = tqdm(total=len(self.steps), unit="step", disable=None, dynamic_ncols=True, leave=False)
        try:
            if self._ready.numbers:
                lost = run(self._ready, workers(), self._heard)
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
        from ..workers import Work
        from .pipeline_step import DO_STEP

        step = self.steps[number]
        logger.debug("%s begins.", self._title(number))
        name = _file_name(step.key)
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
            from .pipeline_step import Outcome

            self._done(number, Outcome.from_json(event.content))
        elif event.kind in ("failed", "broken"):
            self._fail(number, event.content)

    def _done(self, number: int, outcome: Outcome) -> None:
        row, quality = self.rows[number], outcome.quality
        if row.status != "waiting":
            return
        row.status = "unchanged" if outcome.reused else "done"
        row.seconds = outcome.seconds
        if quality.tracking is not None:
            tracking = quality.tracking
            row.tracking_error, row.tracking_unit, row.tracking_of = tracking.value, tracking.unit, tracking.name
        if quality.reserve is not None:
            row.reserve_Nm, row.reserve_of = quality.reserve.value, quality.reserve.name
        if quality.residual is not None:
            row.residual_N, row.residual_of = quality.residual.value, quality.residual.name
        said = [
            f"{what} {peak}"
            for what, peak in (
                ("tracking error", quality.tracking),
                ("reserve", quality.reserve),
                ("residual", quality.residual),
            )
            if peak is not None
        ]
        how = "was done before, and nothing has changed" if outcome.reused else f"done in {outcome.seconds:.1f} s"
        self._say(number, "info", "; ".join([how, *said]) + ".")
        row.message = "\n".join(outcome.warnings)
        for warning in outcome.warnings:
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
        bar: Any = getattr(self, "_bar", None)
        if bar is not None:
            bar.clear()
        getattr(logger, level)("[%d/%d] %s %s", self._ended, len(self.steps), self._title(number), text)
        if bar is not None:
            bar.update(self._ended - bar.n)

    def write(self, path: Path) -> None:
        """Write the summary."""
        from ..evaluation.tables import write_rows
        from ..storage.atomic import atomic_path

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
        """Raise an error if not everything is done."""
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


def _file_name(key: str) -> str:
    """Make a file name of a path; two paths never give the same."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", key.removesuffix(".xml")).strip("_.")
    return f"{plain[-80:]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
