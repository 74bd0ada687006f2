"""The files that a refinement leaves behind: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..log import logger
from ..musculoskeletal.activation import CONTROL_STEP, activation_from_excitation, find_excitation
from ..signals.cycles import inside_cycles
from ..signals.resample import interpolate
from ..storage import TimeSeries, rewrite_columns, write_storage
from .apply import RefinedMuscle, attention_over_time
from .summary import MuscleChange, muscle_change

if TYPE_CHECKING:
    from ..data.simulation import Muscle, Trial
    from ..methods.bundle import Bundle
    from ..signals.cycles import Cycle
    from ..storage.atomic import ResultFiles

Array = NDArray[np.float64]


Masked = np.ma.MaskedArray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class NewActivations:
    """Activations that take the place of the simulation's.

    Parameters
    ----------
    kind : str
        What they are called: ``'refined'``, ``'consistent'``.
    values : mapping of str to numpy.ma.MaskedArray, each (rows,)
        New activations by muscle, within the muscle's bounds; rows that keep the simulation's value are masked, with
        that value below the mask.
    cycles : mapping of str to sequence of Cycle
        The gait cycles in which each muscle is new.
    """

    kind: str
    values: Mapping[str, Masked]
    cycles: Mapping[str, Sequence[Cycle]]


@dataclass(frozen=True)
class Refinement:
    """A refined trial, ready to be written.

    Parameters
    ----------
    name : str
        What the results' names begin with.
    trial : Trial
        The simulation.
    bundle : Bundle
        The networks.
    refined : sequence of RefinedMuscle
        What they gave.
    muscles : mapping of str to Muscle
        Bounds and dynamics of all the trial's muscles.
    precision : int
        Decimals of refined columns.
    """

    name: str
    trial: Trial
    bundle: Bundle
    refined: Sequence[RefinedMuscle]
    muscles: Mapping[str, Muscle]
    precision: int

    def bounded(self, item: RefinedMuscle) -> Masked:
        """Return a muscle's refined activation within its bounds.

        Parameters
        ----------
        item : RefinedMuscle
            The muscle.

        Returns
        -------
        numpy.ma.MaskedArray, shape (rows,)
            Rows outside the cycles are masked; below the mask lies OpenSim's value, even where it is out of bounds.
        """
        muscle = self.muscles[item.target.muscle]
        clipped = np.clip(item.estimate, muscle.low, muscle.high)
        return np.ma.array(np.where(item.refined, clipped, item.estimate), mask=~item.refined)

    @property
    def new(self) -> NewActivations:
        """The refined activations."""
        return NewActivations(
            "refined",
            {item.target.muscle: self.bounded(item) for item in self.refined},
            {item.target.muscle: item.cycles for item in self.refined},
        )

    def write_series(self, files: ResultFiles) -> None:
        """Write states, activations, controls and the EMG estimate.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        """
        self.write_activations(files, self.new)
        self._write(files, "emg", self.trial.time, {item.target.muscle: item.estimate for item in self.refined})

    def write_activations(self, files: ResultFiles, new: NewActivations, prefix: str = "") -> TimeSeries:
        """Write states, activations and controls with new activations.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        new : NewActivations
            The activations.
        prefix : str, optional
            What the results' endings begin with: ``'consistent_'`` gives ``<name>_consistent_states.sto``.

        Returns
        -------
        TimeSeries
            The activations of these muscles that the controls lead to through the activation dynamics.
        """
        trial = self.trial
        controls, reached = self._write_controls(files, new, f"{prefix}controls")
        replacements = {label: new.values[muscle] for muscle, label in trial.labels.items() if muscle in new.values}
        if trial.has_states:
            # A Moco solution holds the controls beside the states: they must not be left behind.
            both = {**replacements, **(controls if trial.controls_are_source else {})}
            self._rewrite(files, f"{prefix}states", trial.source, both)
        if trial.labels:
            names = {label: muscle for muscle, label in trial.labels.items() if trial.source.labels.count(label) == 1}
            self._rewrite(files, f"{prefix}activation", trial.source, replacements, names)
        else:
            activations = {**trial.activations, **{muscle: values.data for muscle, values in new.values.items()}}
            self._write(files, f"{prefix}activation", trial.time, activations)
        return reached

    def write_attention(self, files: ResultFiles) -> None:
        """Write the attention weights over time.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        """
        time, labels, weights = attention_over_time(self.bundle, self.refined)
        self._write(files, "attention", time, dict(zip(labels, weights.T, strict=True)))

    def draw(self, files: ResultFiles, suffix: str) -> None:
        """Draw a before/after figure for each muscle group.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        suffix : {'png', 'svg'}
            The format.
        """
        from ..report.estimate_figures import BeforeAfter, draw_before_after, grouped

        curves = [
            BeforeAfter(
                muscle=item.target.muscle,
                standard_name=item.target.standard_name,
                side=item.target.side,
                before=self.trial.activations[item.target.muscle],
                after=self.bounded(item).data,
                refined=item.refined,
                boundaries=_heel_strikes(item.cycles),
            )
            for item in self.refined
        ]
        networks = self.bundle.path.name if self.bundle.path else "a bundle"
        for group, members in grouped(curves).items():
            draw_before_after(
                self.trial.time,
                members,
                files.path(f"{self.name}_{group}.{suffix}"),
                title=f"{self.name}: {group}",
                caption=f"OpenSim: {self.trial.source_name}. Refined: {self.bundle.condition} networks of {networks}.",
            )

    def changes(self) -> list[MuscleChange]:
        """Measure what changed, muscle by muscle.

        Returns
        -------
        list of MuscleChange
            One per refined muscle.
        """
        rows = []
        for item in self.refined:
            written = self.bounded(item).data
            excess = np.abs(item.estimate - written)
            # The curve as it was written, blends at the cycles' ends included. The tolerance is the run's own affair.
            samples = item.before.shape[1]
            after = [cycle.window(self.trial.time, written, samples, tolerance=np.inf)[:, 0] for cycle in item.cycles]
            rows.append(
                muscle_change(
                    item.target.muscle,
                    item.target.standard_name,
                    item.target.side,
                    item.before,
                    np.stack(after),
                    [cycle.duration for cycle in item.cycles],
                    int(np.count_nonzero(excess)),
                    float(excess.max()),
                )
            )
        return rows

    def _write_controls(
        self, files: ResultFiles, new: NewActivations, ending: str
    ) -> tuple[Mapping[str, Array], TimeSeries]:
        """Write excitations that reproduce the new activations, beside all other actuators' controls.

        Returns what was replaced, by label (only the rows inside the cycles are not masked), and the activations that
        the controls lead to.
        """
        trial = self.trial
        # Without a file to carry other columns over from, every muscle gets its excitation here.
        wanted = {name: values.data for name, values in new.values.items()}
        if trial.controls is None:
            wanted = {name: wanted.get(name, values) for name, values in trial.activations.items()}
            gaps = [name for name, values in wanted.items() if not np.isfinite(values).all()]
            if gaps:
                logger.warning("No controls are written for %s: values are missing.", ", ".join(gaps))
            wanted = {name: values for name, values in wanted.items() if name not in gaps}
        muscles = [self.muscles[name] for name in wanted]
        excitation = find_excitation(
            trial.time,
            np.column_stack(list(wanted.values())),
            [muscle.tau_act for muscle in muscles],
            [muscle.tau_deact for muscle in muscles],
            [muscle.min_control for muscle in muscles],
            [muscle.max_control for muscle in muscles],
            [muscle.kind for muscle in muscles],
            min_activation=[muscle.min_activation for muscle in muscles],
            smoothing=[muscle.smoothing for muscle in muscles],
        )
        if trial.controls is None:
            logger.warning(
                "The controls file of the simulation is not at hand, so the %s controls hold the muscles only. "
                "ForwardTool also needs the reserve and residual actuators: give <controls_file>.",
                new.kind,
            )
            columns = dict(zip(wanted, excitation.T, strict=True))
            self._write(files, ending, trial.time, columns)
            return {}, self._check_reproduction(trial.time, columns, new)
        controls = trial.controls
        replacements = {
            trial.control_labels[muscle]: np.ma.array(
                interpolate(trial.time, excitation[:, k], controls.time),
                mask=~inside_cycles(controls.time, new.cycles[muscle]),
            )
            for k, muscle in enumerate(wanted)
        }
        names = self._control_names(controls)
        if controls.path is None or controls.path.suffix.lower() == ".xml":
            columns = {bare: _merged(controls, label, replacements) for label, bare in names.items()}
            self._write(files, ending, controls.time, columns)
        else:
            self._rewrite(files, ending, controls, replacements, names)
        written = {
            muscle: _merged(controls, label, replacements)
            for muscle, label in trial.control_labels.items()
            if muscle in new.values
        }
        return replacements, self._check_reproduction(controls.time, written, new)

    def _check_reproduction(self, time: Array, written: Mapping[str, Array], new: NewActivations) -> TimeSeries:
        """Integrate the controls as they were written and say how near they come to the new activations."""
        names = list(new.values)
        muscles = [self.muscles[name] for name in names]
        wanted = np.column_stack([interpolate(self.trial.time, new.values[name].data, time) for name in names])
        reached = activation_from_excitation(
            time,
            np.column_stack([written[name] for name in names]),
            [muscle.tau_act for muscle in muscles],
            [muscle.tau_deact for muscle in muscles],
            wanted[0],
            [muscle.kind for muscle in muscles],
            min_activation=[muscle.min_activation for muscle in muscles],
            smoothing=[muscle.smoothing for muscle in muscles],
            max_step=CONTROL_STEP,  # this excitation does not jump: 1e-4 from OpenSim's own integration
        )
        series = TimeSeries(time, tuple(names), reached)
        inside = np.column_stack([inside_cycles(time, new.cycles[name]) for name in names])
        if not inside.any():
            logger.warning("The controls hold no time within the refined cycles: nothing in them is %s.", new.kind)
            return series
        squares = np.where(inside, (reached - wanted) ** 2, 0.0).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
        worst = int(np.argmax(squares))
        logger.info(
            "The %s controls reproduce the %s activations within %.4f RMS (worst muscle: %s). Where an activation "
            "falls faster than a muscle can deactivate, its control is at the lower bound.",
            new.kind,
            new.kind,
            float(np.sqrt(squares[worst])),
            names[worst],
        )
        return series

    def _control_names(self, controls: TimeSeries) -> dict[str, str]:
        """Name the controls as ForwardTool knows them: it refuses paths such as /forceset/soleus_r."""
        from ..storage.labels import parse_label

        muscle_of = {label: muscle for muscle, label in self.trial.control_labels.items()}
        labels: list[str] = list(controls.labels)
        if self.trial.has_states and self.trial.controls_are_source:
            # A Moco solution also holds states, multipliers and derivatives. Its controls are the actuators' paths.
            sets = {label.rpartition("/")[0] for label in muscle_of}
            labels = [
                label for label in labels if parse_label(label).kind == "other" and label.rpartition("/")[0] in sets
            ]
        return {label: muscle_of.get(label, label.rpartition("/")[2].removesuffix(".excitation")) for label in labels}

    def _write(self, files: ResultFiles, ending: str, time: Array, columns: Mapping[str, Array]) -> None:
        series = TimeSeries(time, tuple(columns), np.column_stack(list(columns.values())), name=f"{self.name}_{ending}")
        write_storage(files.path(f"{self.name}_{ending}.sto"), series, precision=self.precision)

    def _rewrite(
        self,
        files: ResultFiles,
        ending: str,
        source: TimeSeries,
        replacements: Mapping[str, Array],
        columns: Mapping[str, str] | None = None,
    ) -> None:
        path = files.path(f"{self.name}_{ending}.sto")
        name = f"{self.name}_{ending}"
        # Without the source's free text: it speaks of the source, and Matlab scripts count on a header of six lines.
        rewrite_columns(
            source, replacements, path, name=name, precision=self.precision, columns=columns, description=""
        )


def _merged(controls: TimeSeries, label: str, replacements: Mapping[str, Array]) -> Array:
    """Return a control as it is written: new inside the cycles, as it was outside."""
    values = controls.data[:, controls.index(label)]
    new = replacements.get(label)
    return values if new is None else np.where(np.ma.getmaskarray(new), values, np.ma.getdata(new))


def _heel_strikes(cycles: Sequence[Cycle]) -> tuple[float, ...]:
    times: set[float] = set()
    for cycle in cycles:
        times |= {cycle.heel_strike} if cycle.roll else {cycle.start, cycle.end}
    return tuple(sorted(times))
