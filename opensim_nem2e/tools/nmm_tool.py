"""NMMTool: the excitations of all muscles of a subject, deep ones included, from a few EMG channels and mechanics."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import LabelError, SetupError, StorageError, did_you_mean
from ..log import counted, logger, properties_called
from ..options import DirectoryPath, FilePath, Options, option
from .accessors import NMMToolAccessors
from .tool import Tool, ToolRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.simulation import Muscle, MuscleDefaults, SimulatedTrial
    from ..estimates.unmeasured import TrialResult
    from ..methods.nmm.population import Population
    from ..methods.nmm.recordings import EmgChannel, RecordedTrial
    from ..methods.nmm.subject_estimate import SubjectEstimate
    from ..musculoskeletal.dynamics import Motion
    from ..signals.cycle_sources import CycleSource
    from ..signals.cycles import Cycle
    from ..storage import TimeSeries
    from ..storage.osim import OsimModel

#: What a run may leave behind, after the tool's name; files of single trials have the trial's name between.
_RESULTS = ("_parameters.csv", "_left_out.csv", "_torques.csv", "_model.osim", "_effective_setup.xml", ".log")

#: Muscles without a measured synergist are named up to so many; the table of parameters tells all.
_MOST_NAMED = 12

#: Lists of files that go with coordinates_files, one each.
_PARALLEL = (
    *("external_loads_files", "inverse_dynamics_files", "emg_files", "activations_files", "states_files"),
    *("events_files", "external_masses"),
)

#: What advice on gait cycles names, in this tool's words; what it has no option for can be had by GaitEventsTool.
_OF_CYCLES = {
    "cycle_source": "<cycles>",
    "events_file": "<events_files>",
    "whole_file_heel_strike": "a motion that begins at that limb's heel strike",
    **{
        name: f"GaitEventsTool's <{name}>"
        for name in (
            *("foot_bodies", "release_threshold", "force_offset_removal"),
            *("minimum_contact_duration", "minimum_swing_duration"),
        )
    },
}


@dataclass(frozen=True)
class NMMOptions(Options):
    """A subject's trials, and how muscles without EMG are estimated."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    model_file: FilePath = option("", "Name of the .osim file of the subject.", required=True)
    coordinates_files: tuple[FilePath, ...] = option(
        (), "Motions (.mot or .sto), one per trial. Several trials of one subject tell more than one.", required=True
    )
    emg_files: tuple[FilePath, ...] = option(
        (), "EMG envelopes (.sto or .mot), one per trial, all with the same channels.", required=True
    )
    emg_channels_file: FilePath = option(
        "",
        "Table (.csv with the columns emg_column and muscles, separated by ';'; that of STDRTrainTool will do) of the "
        "model's muscles that a channel stands for. Empty: the channels have the muscles' names.",
    )
    channels: tuple[str, ...] = option(
        (),
        "EMG channels to use. Empty: all of the table, but those with an empty standard_name, or, without a table, all "
        "that have a muscle's name.",
    )
    external_loads_files: tuple[FilePath, ...] = option(
        (), "XML files (.xml) with the ExternalLoads, one per trial. Empty: nothing touches the body."
    )
    inverse_dynamics_files: tuple[FilePath, ...] = option(
        (), "Results of InverseDynamicsTool, one per trial, in place of running inverse dynamics."
    )
    external_masses: tuple[float, ...] = option(
        (), "Mass that the hands carry in each trial, shared by external_mass_bodies.", bounds="[0, 1000]", unit="kg"
    )
    external_mass_bodies: tuple[str, ...] = option((), "Bodies of the model that carry external_masses.")
    external_mass_point: tuple[float, ...] = option(
        (),
        "Where they carry it, in the body's frame. Empty: at the body's mass centre.",
        bounds="[-10, 10]",
        list_size=3,
        unit="m",
    )
    activations_files: tuple[FilePath, ...] = option(
        (),
        "Activations of StaticOptimization, one per trial. Empty, and no states_files: they are computed from the same "
        "torques.",
    )
    states_files: tuple[FilePath, ...] = option(
        (),
        "States of CMC, one per trial; the controls beside them lend the columns of reserves and residuals.",
    )
    events_files: tuple[FilePath, ...] = option(
        (), "Tables of gait events (.csv), one per trial, as written by GaitEventsTool."
    )
    cycles: Literal["auto", "external_loads", "events", "whole_file", "none"] = option(
        "auto",
        "Where gait cycles come from. whole_file: each trial is one cycle. none: the movement is no gait; then the "
        "population is of no use. auto: events or external loads if they are given, else none.",
    )
    whole_file_leading_limb: Literal["auto", "right", "left"] = option(
        "auto",
        "For cycles whole_file: the limb whose heel strike begins each trial; the other limb's cycle is the same "
        "stretch of time rolled by half a cycle. auto: the limb with most channels.",
    )
    initial_time: float = option(float("-inf"), "Initial time.", unit="s")
    final_time: float = option(float("inf"), "Final time.", unit="s")
    method: Literal["structured", "paper", "synx", "copy", "population"] = option(
        "structured",
        "How muscles without EMG are estimated. structured: as a mixture of measured channels, the simulation and "
        "other subjects' profiles, with a network's deviation and personal muscles that meet the torques. paper: a "
        "Transformer's output (Kumar 2025). synx: synergy extrapolation (Ao and Fregly). copy: the nearest synergist's "
        "channel. population: other subjects' weights, without trust and deviation.",
    )
    population_bundle: FilePath = option(
        "muscles",
        "Other subjects' EMG (.safetensors), or the name of a bundle that ships with the package. Empty: none. Used "
        "where there are gait cycles.",
        may_be_name=True,
    )
    muscle_names_file: FilePath = option(
        "",
        "Table (.csv with the columns model_muscle, standard_name) that adds to or replaces entries of the package's "
        "own table of muscle names.",
    )
    emg_time_offset: float | None = option(
        None,
        "EMG(t + offset) fits activation(t). Empty: found per trial from the channels that are used; a channel that is "
        "left out has no part in it.",
        bounds="[-1000000, 1000000]",
        unit="s",
    )
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates. A negative value results in no filtering.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    torque_coordinates: tuple[str, ...] = option(
        (), "Coordinates whose torques count. Empty: all rotations that a muscle with EMG actuates."
    )
    tendons: Literal["auto", "rigid", "elastic"] = option(
        "auto",
        "Tendons of the muscles whose torques are put right before activations and controls are written (those of the "
        "fit itself are rigid). auto: elastic where the simulation had fiber lengths of its own (CMC), else rigid "
        "(static optimisation). rigid: all tendons are. elastic: those are that the model has so, as ForwardTool "
        "simulates them.",
    )
    validate: bool = option(
        True,
        "Leave each channel, and each group of synergists, out in turn? It takes most of the time, and is the only way "
        "to know the errors; bands come from it.",
    )
    seed: int = option(0, "Seed of the networks' first weights.", bounds="[0, 9223372036854775807]")
    output_precision: int = option(8, "Decimals of the results.", bounds="[1, 20]")
    write_report: bool = option(True, "Write a report (.html) of each trial?")


class NMMTool(NMMToolAccessors, Tool[NMMOptions]):
    """Estimate the excitations of all muscles, deep ones included, from measured EMG and mechanics.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = NMMTool(model_file="subject01.osim", coordinates_files=["walk_ik.mot"], emg_files=["walk_emg.sto"])
    >>> tool.setName("subject01")
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "NMMTool"
    results_name = "nmm"
    result_endings = _RESULTS

    def _check(self) -> list[str]:
        count = len(self.coordinates_files)
        faults = [
            f"<{name}> must have one entry for each of the {count} <coordinates_files>, but has {len(self.get(name))}."
            for name in _PARALLEL
            if self.get(name) and len(self.get(name)) != count
        ]
        if not self.initial_time < self.final_time:
            faults.append(
                f"<initial_time> must be less than <final_time>; found {self.initial_time:g} and {self.final_time:g}."
            )
        if self.external_loads_files and self.inverse_dynamics_files:
            faults.append("<external_loads_files> and <inverse_dynamics_files> must not both be given.")
        if self.activations_files and self.states_files:
            faults.append("<activations_files> and <states_files> must not both be given.")
        if bool(self.external_masses) != bool(self.external_mass_bodies):
            faults.append("<external_masses> and <external_mass_bodies> go together, but one of them is empty.")
        if self.external_masses and self.inverse_dynamics_files:
            faults.append("<external_masses> have no part in <inverse_dynamics_files>: leave one of them empty.")
        if self.cycles == "events" and not self.events_files:
            faults.append("<cycles> events needs <events_files>, but it is empty.")
        if self.cycles == "external_loads" and not self.external_loads_files:
            faults.append("<cycles> external_loads needs <external_loads_files>, but it is empty.")
        names = self._trial_names()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            faults.append(f"The names of <coordinates_files> must differ, but '{twice[0]}' occurs twice.")
        return [*faults, *self._repeated("channels", "external_mass_bodies", "torque_coordinates")]

    def _trial_names(self) -> list[str]:
        return [Path(name).stem for name in self.coordinates_files]

    def _paths(self, name: str) -> list[Path | None]:
        """Resolve a list of files, one per trial; None where it is empty."""
        given: tuple[str, ...] = self.get(name)
        if not given:
            return [None] * len(self.coordinates_files)
        return [self.base_directory / each for each in given]

    def _run(self, run: ToolRun) -> None:
        from ..estimates.unmeasured import trial_results
        from ..methods.nmm.recordings import Recordings, main_side
        from ..methods.nmm.subject_estimate import estimate_subject
        from ..storage.muscles import MuscleNames
        from ..storage.osim import read_model

        model_file = self.resolve("model_file")
        assert model_file is not None
        model = read_model(model_file)
        logger.info("Model: %s (%d muscles), '%s'.", model.name, len(model.muscles), model_file)
        # What can be refused at once comes before the motions are analysed.
        recorded, channels = self._emg(model)
        names = MuscleNames.load(self.resolve("muscle_names_file"))
        sources = [self._cycle_source(k, main_side(channels, names)) for k in range(len(recorded))]
        population = self._population(any(source is not None for source in sources))
        trials, simulations = self._trials(model, recorded, sources)
        recordings = Recordings.build(
            model_file,
            trials,
            channels,
            coordinates=self.torque_coordinates,
            names=names,
        )
        logger.info(
            "%s act on %s; %s.",
            counted(len(recordings.muscles), "muscle"),
            ", ".join(recordings.coordinates),
            counted(len(recordings.windows), "window"),
        )
        subject = estimate_subject(recordings, self.method, population, validate=self.validate, seed=self.seed)
        complete = [
            found if found is not None else _simulation(trial)
            for found, trial in zip(simulations, recordings.trials, strict=True)
        ]
        used = self.population_bundle if population is not None else ""
        muscles = _defaults().muscles(model, list(model.muscles))
        results = trial_results(subject, complete, Path(used).stem, model, muscles, self.tendons)
        with run.files.own_names():
            self._write(run, model, subject, complete, muscles, results)

    # --- input -------------------------------------------------------------------------------------------------

    def _emg(self, model: OsimModel) -> tuple[list[TimeSeries], list[EmgChannel]]:
        from ..signals.emg import refuse_raw
        from ..storage.emg_files import read_envelopes

        recorded: list[TimeSeries] = []
        channels: list[EmgChannel] = []
        for emg_file in self._paths("emg_files"):
            assert emg_file is not None
            emg = read_envelopes(emg_file)
            own = self._channels(emg, model)
            if channels and own != channels:
                raise LabelError(
                    "All trials must have the same EMG channels, but this one differs from the first.", emg_file
                )
            channels = own
            labels = [channel.column for channel in channels]
            refuse_raw(emg.time, emg.select(labels), labels, emg_file)
            recorded.append(emg)
        _warn_of_units(recorded, [channel.column for channel in channels])
        return recorded, channels

    def _trials(
        self, model: OsimModel, recorded: Sequence[TimeSeries], sources: Sequence[CycleSource | None]
    ) -> tuple[list[RecordedTrial], list[SimulatedTrial | None]]:
        import numpy as np

        from ..data.simulation import read_simulation
        from ..methods.nmm.recordings import RecordedTrial, put_on_clock
        from ..storage import TimeSeries

        trials: list[RecordedTrial] = []
        simulations: list[SimulatedTrial | None] = []
        for k, (name, emg, source) in enumerate(zip(self._trial_names(), recorded, sources, strict=True)):
            states, activations = self._paths("states_files")[k], self._paths("activations_files")[k]
            found, series, span = None, None, (self.initial_time, self.final_time)
            if states is not None or activations is not None:
                found = read_simulation(states, None, activations, model, _defaults())
                found.require_finite(found.activations)
                series = TimeSeries(
                    found.time, tuple(found.activations), np.column_stack(list(found.activations.values()))
                )
                span = max(span[0], float(found.time[0])), min(span[1], float(found.time[-1]))
                logger.info("%s: the simulation covers %.4f to %.4f s; nothing else is looked at.", name, *span)
                if not span[0] < span[1]:
                    raise StorageError(
                        f"The simulation must cover some of <initial_time> to <final_time>; it has "
                        f"{found.time[0]:.4f} to {found.time[-1]:.4f} s.",
                        states or activations,
                    )
            simulations.append(found)
            motion = self._motion(model, k, span)
            cycles = {} if source is None else dict(_gait_cycles(motion.time, source))
            offset, clock = self.emg_time_offset, 0.0
            if offset is not None:
                emg, offset, clock = put_on_clock(emg, offset)
            trials.append(RecordedTrial(name, motion, emg, series, cycles, self.cycles == "whole_file", offset, clock))
        return trials, simulations

    def _motion(self, model: OsimModel, k: int, span: tuple[float, float]) -> Motion:
        """Read a trial's motion, and the torques that it needs, from one time to another."""
        from ..estimates.static_optimization import read_motion
        from ..methods.nmm.recordings import with_torques
        from ..storage import read_storage
        from ..storage.atomic import no_results
        from ..storage.osim import read_model
        from ..storage.osim_edit import write_carried_mass

        file, loads = self._paths("coordinates_files")[k], self._paths("external_loads_files")[k]
        assert file is not None
        read = partial(
            read_motion,
            coordinates_file=file,
            external_loads_file=loads,
            lowpass=self.lowpass_cutoff_frequency_for_coordinates,
            start=span[0],
            end=span[1],
        )
        given = self._paths("inverse_dynamics_files")[k]
        carried = self.external_masses[k] if self.external_masses else 0.0
        if not carried:
            motion = read(model)
            return motion if given is None else with_torques(motion, read_storage(given))
        share = carried / len(self.external_mass_bodies)
        with no_results(), tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as scratch:
            loaded = Path(scratch, "loaded.osim")
            point = self.external_mass_point or None
            write_carried_mass(model.path, loaded, dict.fromkeys(self.external_mass_bodies, share), point)
            logger.info("%s carries %g kg.", ", ".join(self.external_mass_bodies), carried)
            return read(read_model(loaded))

    def _channels(self, emg: TimeSeries, model: OsimModel) -> list[EmgChannel]:
        """Find the channels of a recording and their muscles."""
        from ..data.manifest import channel_of_each, channels_called_after, read_trial_channels
        from ..methods.nmm.recordings import EmgChannel

        table = self.resolve("emg_channels_file")
        if table is None:
            called = channels_called_after(model.muscles, emg.labels)
            found: dict[str, tuple[str, ...]] = {label: (muscle,) for muscle, label in called.items()}
            known = found
        else:
            listed = read_trial_channels(table, emg.labels)
            rows = [row for row in listed if all(muscle in model.muscles for muscle in row.muscles)]
            known = {row.column: row.muscles for row in rows}
            # A table may hold the same channel for the models of other subjects, too.
            strange = {
                row.column: next(muscle for muscle in row.muscles if muscle not in model.muscles)
                for row in listed
                if row.column not in known
            }
            for column, muscle in strange.items():
                hint = did_you_mean(muscle, model.muscles)
                logger.warning("EMG channel '%s' is not used: the model has no muscle '%s'.%s", column, muscle, hint)
            found = {row.column: row.muscles for row in rows if row.standard_name}
        if self.channels:
            missing = [name for name in self.channels if name not in known]
            if missing:
                raise LabelError(
                    f"<channels> must be columns that stand for muscles of the model; '{missing[0]}' does not. Known: "
                    f"{', '.join(known) or 'none'}; the file's columns are {', '.join(emg.labels)}.",
                    emg.path,
                )
            found = {name: known[name] for name in self.channels}
        if not found:
            if table is None:
                where = "have the muscles' names, or be given to muscles by <emg_channels_file>"
            elif known:
                where = f"have a standard_name in '{table}', which says that they may be used"
            else:
                where = f"be given to muscles of the model by '{table}'"
            raise LabelError(f"EMG channels must {where}; found {', '.join(emg.labels)}.", emg.path)
        channel_of_each(found.items(), emg.path)
        return [EmgChannel(column, muscles) for column, muscles in found.items()]

    def _cycle_source(self, k: int, main: Literal["r", "l"]) -> CycleSource | None:
        """Say where a trial's gait cycles come from; None: the movement is no gait."""
        from ..signals.cycle_sources import EventsTable, GroundReactions, WholeFile

        events, loads = self._paths("events_files")[k], self._paths("external_loads_files")[k]
        if self.cycles == "whole_file":
            limb = self.whole_file_leading_limb
            return WholeFile(main if limb == "auto" else "r" if limb == "right" else "l")
        if events is not None and self.cycles in ("auto", "events"):
            return EventsTable(events)
        if loads is not None and self.cycles in ("auto", "external_loads"):
            return GroundReactions(loads)
        return None

    def _population(self, gait: bool) -> Population | None:
        from ..methods.nmm.population import Population

        if not self.population_bundle or not gait:
            if self.method == "population":
                raise SetupError(
                    "<method> population needs a <population_bundle> and gait cycles, but there are none.",
                    self.setup_file,
                )
            return None
        path = self.resolve("population_bundle")
        population = Population.load(path if path is not None else self.population_bundle)
        logger.info(
            "Population: %s, %s (%s).",
            counted(len(population.subjects), "subject"),
            counted(len(population.muscles), "muscle"),
            ", ".join(population.muscles),
        )
        return population

    # --- results -----------------------------------------------------------------------------------------------

    def _write(
        self,
        run: ToolRun,
        model: OsimModel,
        subject: SubjectEstimate,
        simulations: Sequence[SimulatedTrial],
        muscles: Mapping[str, Muscle],
        results: Sequence[TrialResult],
    ) -> None:
        import numpy as np

        from ..estimates.unmeasured import (
            ParameterRow,
            TorqueFit,
            log_left_out,
            parameter_rows,
            personal_values,
            torque_fits,
        )
        from ..estimates.write import EstimateWriter
        from ..methods.nmm.subject_estimate import ChannelScore
        from ..storage import TimeSeries, write_storage
        from ..storage.osim_edit import write_muscle_parameters
        from ..storage.tables import write_rows

        files, name = run.files, run.name
        assert model.path is not None
        write_rows(files.path(f"{name}_parameters.csv"), ParameterRow, parameter_rows(subject))
        fits = torque_fits(subject.recordings.coordinates, results)
        write_rows(files.path(f"{name}_torques.csv"), TorqueFit, fits)
        if subject.scores:
            write_rows(files.path(f"{name}_left_out.csv"), ChannelScore, subject.scores)
            log_left_out(subject.scores)
        write_muscle_parameters(model.path, files.path(f"{name}_model.osim"), personal_values(subject))
        alone = subject.unsupported()
        if alone:
            deep = int(np.sum(subject.shapes.measured < 0))
            logger.warning(
                "No synergist of %s is measured: what is said of them rests on %ssimulation and torques.",
                ", ".join(alone) if len(alone) <= _MOST_NAMED else f"{len(alone)} of {deep} muscles without EMG",
                "other subjects, " if results[0].excitations.provenance.bundle else "",
            )
        coordinates = subject.recordings.coordinates
        controls_from = "states_files" if self.states_files else ""
        if not controls_from:
            logger.info("The controls hold the muscles only; ForwardTool may need reserve and residual actuators, too.")
        for trial, simulation, result in zip(subject.recordings.trials, simulations, results, strict=True):
            writer = EstimateWriter(f"{name}_{trial.name}", simulation, muscles, self.output_precision, controls_from)
            writer.write_estimate(files, result.excitations)
            writer.write_activations(files, result.activations)
            columns = {
                f"{coordinate}_{kind}": table[:, k]
                for k, coordinate in enumerate(coordinates)
                for kind, table in (
                    ("inverse_dynamics", result.needed),
                    ("fit", result.fit),
                    ("consistent", result.consistent),
                )
            }
            series = TimeSeries(result.rows_time, tuple(columns), np.column_stack(list(columns.values())))
            write_storage(files.path(f"{name}_{trial.name}_torques.sto"), series, precision=self.output_precision)
            if self.write_report:
                from ..report.unmeasured_report import write_unmeasured_report
                from .report_record import run_record

                write_unmeasured_report(
                    files,
                    f"{name}_{trial.name}",
                    subject,
                    result,
                    simulation,
                    fits,
                    run_record(self, run),
                    f"{name}.log",
                )


def _defaults() -> MuscleDefaults:
    """What OpenSim takes where a model does not say it."""
    from ..data.simulation import MuscleDefaults

    return MuscleDefaults(0.01, 0.01, 0.04)


def _warn_of_units(recorded: Sequence[TimeSeries], columns: list[str]) -> None:
    """Warn of a trial whose channels are far smaller than in another one: one scale holds for all trials."""
    import numpy as np

    from ..signals.quality import ONE_SCALE, shares_of_scale

    shares = shares_of_scale([np.nanmax(emg.select(columns), axis=0) for emg in recorded])
    for emg, share in zip(recorded, shares.tolist(), strict=True):
        if 0.0 < share < ONE_SCALE:
            logger.warning(
                "%s: its EMG is %.3g times smaller than in the other trials: are all in the same unit, and divided by "
                "the same maxima?",
                *(emg.path, 1.0 / share),
            )


def _simulation(trial: RecordedTrial) -> SimulatedTrial:
    """Take the activations that were computed for a trial as its simulation."""
    from ..data.simulation import SimulatedTrial

    series = trial.simulated
    assert series is not None
    activations = {name: series.column(name) for name in series.labels}
    named = replace(series, name=trial.name)
    return SimulatedTrial(series.time, activations, named, {}, False, None, {}, trial.name)


def _gait_cycles(time: NDArray[np.float64], source: CycleSource) -> Mapping[str, Sequence[Cycle]]:
    """Find a trial's gait cycles; what is said of them names this tool's options."""
    from ..signals.cycle_sources import CycleLimits, find_cycles

    with properties_called(_OF_CYCLES):
        return find_cycles(time, source, CycleLimits())
