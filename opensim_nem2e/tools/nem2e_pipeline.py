"""NEM2EPipelineTool: run a user's OpenSim setup files, from Scale to the refinement, for one trial or a whole study.

Every step runs in a process of its own and leaves its results whole. What fails is reported and does not stop what
does not need it; what is done is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CycleError, NEM2EError, SetupError
from ..log import logger
from ..options import DirectoryPath, FilePath, Options, option
from .accessors import NEM2EPipelineToolAccessors
from .tool import Tool, ToolRun, write_text

if TYPE_CHECKING:
    from ..storage.opensim_setup import OpenSimSetup
    from ..workers import ClusterWorkers, LocalWorkers
    from .pipeline.plan import PipelineTrial
    from .stdr_refine import STDRRefineTool

#: What a process with an OpenSim tool needs (bytes; CMC of an 80-muscle model: 400 MB).
_MEMORY = 500e6

#: CMC's results begin so long after its initial_time (s).
_CMC_START = 0.03

#: What is in the results directory: logs of the steps, records of what is done, setup files of refinements.
_FOLDERS = ("logs", "records", "setups")


@dataclass(frozen=True)
class PipelineOptions(Options):
    """Which steps are run, of which trials, and by whom."""

    results_directory: DirectoryPath = option(
        "./",
        "Directory used for writing the summary, the logs of all steps and the records of what is done. The steps' "
        "own results go where their setup files say.",
    )
    setup_files: tuple[FilePath, ...] = option(
        (),
        "Setup files of ScaleTool, InverseKinematicsTool, InverseDynamicsTool, RRATool, CMCTool, AnalyzeTool "
        "(StaticOptimization), ForwardTool, GaitEventsTool or STDRRefineTool, in the order in which they are to be "
        "run, separated by spaces and relative to a trial's folder; a name that holds spaces stands in quotation "
        "marks. '*' stands for what differs between trials (*_Setup_CMC.xml). A file that several trials share "
        "(../setup_scale.xml) is run once.",
        required=True,
    )
    trial_folders: tuple[DirectoryPath, ...] = option(
        (),
        "Folders of the trials, separated by spaces; a name that holds spaces stands in quotation marks. They may "
        "hold '*' and names in braces, which stand for any text without a slash: data/{subject}/{trial}. Of the "
        "folders that fit, those are trials that hold one of the setup files. Empty: this setup file's folder is the "
        "only trial.",
    )
    trials_file: FilePath = option(
        "",
        "Trials manifest (.csv): of the folders that fit trial_folders only those are taken whose names in braces "
        "are in the manifest's columns of these names.",
    )
    refine_setup_file: FilePath = option(
        "",
        "STDRRefineTool setup for all trials. What it leaves empty of model_file, states_file (or "
        "activations_file) and external_loads_file is taken from the trial's last CMCTool, or else AnalyzeTool "
        "with StaticOptimization; its results_directory is relative to the folder of that setup file. Empty: only "
        "what is in setup_files is run.",
    )
    time_limit: float = option(
        float("inf"), "An OpenSim tool that takes longer is ended, and counts as failed.", bounds="(0, Inf]", unit="s"
    )
    jobs: int = option(
        0,
        "Steps that are run at once, each in a process of its own. 0: as many as processor cores and free memory "
        "allow.",
        bounds="[0, 1024]",
    )
    scheduler: str = option(
        "",
        "Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers run the steps, or local: Dask "
        "processes of this machine. All workers must see all files under the same names. Whoever reaches a tcp:// "
        "scheduler can run programs there, so its network must be trusted; tls:// needs the certificates that "
        "Dask's configuration names. Needs the extra 'cluster'. Empty: processes of this machine, without Dask.",
    )


class NEM2EPipelineTool(NEM2EPipelineToolAccessors, Tool[PipelineOptions]):
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
    main_inputs = ("setup_files",)
    results_name = "pipeline"

    def _check(self) -> list[str]:
        if self.trials_file and not self.trial_folders:
            return ["<trial_folders> must be given with <trials_file>: it says where a trial's files are."]
        return []

    def _extras(self) -> list[str]:
        return ["opensim", *(["cluster"] if self.scheduler else [])]

    def _run(self, run: ToolRun) -> None:
        from ..storage.atomic import remove_leftovers
        from .pipeline.execute import Study
        from .pipeline.plan import plan_steps

        results = run.directory
        try:
            for folder in _FOLDERS:
                (results / folder).mkdir(parents=True, exist_ok=True)
                remove_leftovers(results / folder)
        except OSError as error:
            raise NEM2EError(f"The folder '{results}' cannot be made: {error.strerror or error}.") from error
        trials = self._find_trials(results)
        steps = plan_steps(trials, self.base_directory)
        logger.info("Trials: %d. Steps: %d.", len(trials), len(steps))
        study = Study(steps, results, self.time_limit)
        for trial in trials:
            for fault in trial.faults:
                study.add_fault(trial.name, fault)
        # Also of a run that is interrupted.
        run.keep_failed = True
        try:
            study.run(self._workers)
        finally:
            study.write(run.files.path(f"{run.name}_summary.csv"))
            study.tell()
            logger.info("The summary is '%s'.", results / f"{run.name}_summary.csv")
        study.judge()

    def _workers(self) -> LocalWorkers | ClusterWorkers:
        from ..training.jobs import default_jobs
        from ..workers import ClusterWorkers, LocalWorkers

        if self.scheduler:
            return ClusterWorkers(self.scheduler, self.jobs)
        count = self.jobs or default_jobs(1, _MEMORY)
        logger.info("Steps that are run at once: %d.", count)
        return LocalWorkers(count)

    def _find_trials(self, results: Path) -> list[PipelineTrial]:
        from dataclasses import replace

        from .pipeline.plan import find_trials

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


def _refine_setup(template: STDRRefineTool, trial: PipelineTrial, folder: Path) -> Path:
    """Write the setup file of a trial's refinement."""
    from ..storage.file_names import file_name
    from ..storage.opensim_setup import read_opensim_setup
    from .pipeline.plan import STEP_TOOLS

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
    path = folder / f"{file_name(trial.name)}_refine.xml"
    text = template.effective_setup(folder, values, note)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    _warn_without_cycle(path, source, trial)
    return path


def _warn_without_cycle(refinement: Path, source: OpenSimSetup, trial: PipelineTrial) -> None:
    """Say beforehand, as CMC takes minutes, that what it simulates holds no gait cycle to be refined."""
    import numpy as np

    from ..log import quiet
    from .stdr_refine import STDRRefineTool

    start = source.initial_time + (_CMC_START if source.tool == "CMCTool" else 0.0)
    if not np.isfinite([start, source.final_time]).all():
        return
    try:
        with quiet():
            STDRRefineTool(refinement).find_cycles(np.array([start, source.final_time]))
    except CycleError as error:
        logger.warning("%s: with the times of '%s' the refinement will fail. %s", trial.name, source.path.name, error)
    except NEM2EError:
        # Files that are not there yet, or are wrong: the step itself says so.
        return
