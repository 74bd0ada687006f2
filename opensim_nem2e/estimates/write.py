"""The files that an estimate leaves behind: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..log import logger
from ..musculoskeletal.activation import CONTROL_STEP, activation_from_excitation, find_excitation
from ..signals.resample import interpolate
from ..storage import TimeSeries, rewrite_columns, write_storage
from .apply import attention_over_time

if TYPE_CHECKING:
    from ..data.simulation import Muscle, SimulatedTrial
    from ..storage.atomic import ResultFiles
    from .estimate import Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EstimateWriter:
    """Writes estimates of a trial.

    Parameters
    ----------
    name : str
        What the results' names begin with.
    trial : SimulatedTrial
        The simulation.
    muscles : mapping of str to Muscle
        Bounds and dynamics of all the trial's muscles.
    precision : int
        Decimals of new columns.
    controls_from : str
        The element of the setup file that gives the simulation's controls; empty: there is none, so that missing
        controls are not warned of.
    """

    name: str
    trial: SimulatedTrial
    muscles: Mapping[str, Muscle]
    precision: int
    controls_from: str = "controls_file"

    def write_estimate(self, files: ResultFiles, estimate: Estimate) -> None:
        """Write what the method put out, as it is: EMG or excitations that no bounds have clipped, and the bands.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        estimate : Estimate
            The estimate. Activations are left to :meth:`write_activations`.
        """
        if estimate.quantity != "activation":
            self._write(files, estimate.quantity, self.trial.time, {item.muscle: item.values for item in estimate})
            self._write_bands(files, estimate, f"{estimate.quantity}_bands")

    def _write_bands(self, files: ResultFiles, estimate: Estimate, ending: str) -> None:
        """Write the edges of the bands, ``soleus_r_low`` and ``soleus_r_high``, where there are any."""
        bands = {
            f"{item.muscle}_{edge}": values
            for item in estimate
            for edge, values in (("low", item.low), ("high", item.high))
            if values is not None
        }
        if bands:
            self._write(files, ending, self.trial.time, bands)

    def write_activations(self, files: ResultFiles, activations: Estimate, prefix: str = "") -> TimeSeries:
        """Write states, activations with their bands, and controls with new activations.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        activations : Estimate
            The activations (:meth:`.Estimate.as_activations`).
        prefix : str, optional
            What the results' endings begin with: ``'consistent_'`` gives ``<name>_consistent_states.sto``.

        Returns
        -------
        TimeSeries
            The activations of these muscles that the controls lead to through the activation dynamics.
        """
        trial, new = self.trial, activations.muscles
        controls, reached = self._write_controls(files, activations, f"{prefix}controls")
        replacements = {label: new[muscle].masked for muscle, label in trial.labels.items() if muscle in new}
        if trial.has_states:
            # A Moco solution holds the controls beside the states: they must not be left behind.
            both = {**replacements, **activations.fibers, **(controls if trial.controls_are_source else {})}
            self._rewrite(files, f"{prefix}states", trial.source, both)
        if trial.labels:
            names = {label: muscle for muscle, label in trial.labels.items() if trial.source.labels.count(label) == 1}
            self._rewrite(files, f"{prefix}activation", trial.source, replacements, names)
        else:
            self._write(files, f"{prefix}activation", trial.time, activations.values(trial.activations))
        self._write_bands(files, activations, f"{prefix}activation_bands")
        return reached

    def write_attention(self, files: ResultFiles, estimate: Estimate) -> None:
        """Write the attention weights over time, where the method has them.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        estimate : Estimate
            The estimate.
        """
        found = attention_over_time(estimate)
        if found is None:
            logger.warning("No attention is written: %s has none.", estimate.provenance.label)
            return
        time, labels, weights = found
        self._write(files, "attention", time, dict(zip(labels, weights.T, strict=True)))

    def _write_controls(self, files: ResultFiles, new: Estimate, ending: str) -> tuple[Mapping[str, Array], TimeSeries]:
        """Write excitations that reproduce the new activations, beside all other actuators' controls.

        Returns what was replaced, by label (all but the rows of the cycles and of the fades beside them are masked),
        and the activations that the controls lead to.
        """
        trial = self.trial
        # Without a file to carry other columns over from, every muscle gets its excitation here.
        wanted = {item.muscle: item.values for item in new}
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
            say = logger.warning if self.controls_from else logger.debug
            say(
                "The controls file of the simulation is not at hand, so the %s controls hold the muscles only. "
                "ForwardTool also needs the reserve and residual actuators, if it had any%s.",
                new.kind,
                f": give <{self.controls_from}>" if self.controls_from else "",
            )
            columns = dict(zip(wanted, excitation.T, strict=True))
            self._write(files, ending, trial.time, columns)
            return {}, self._check_reproduction(trial.time, columns, new)
        controls = trial.controls
        replacements = {
            trial.control_labels[muscle]: np.ma.array(
                interpolate(trial.time, excitation[:, k], controls.time),
                mask=~new.muscles[muscle].replaces(controls.time, trial.time),
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
            if muscle in new.muscles
        }
        return replacements, self._check_reproduction(controls.time, written, new)

    def _check_reproduction(self, time: Array, written: Mapping[str, Array], new: Estimate) -> TimeSeries:
        """Integrate the controls as they were written and say how near they come to the new activations."""
        names = list(new.muscles)
        muscles = [self.muscles[name] for name in names]
        wanted = np.column_stack([interpolate(self.trial.time, new.muscles[name].values, time) for name in names])
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
        inside = np.column_stack([new.muscles[name].covers(time, self.trial.time) for name in names])
        if not inside.any():
            logger.warning("The controls hold no time within the refined cycles: nothing in them is %s.", new.kind)
            return series
        squares = np.where(inside, (reached - wanted) ** 2, 0.0).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
        worst = int(np.argmax(squares))
        logger.debug(
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
    """Return a control as it is written: as it was where the replacement is masked, new elsewhere."""
    values = controls.data[:, controls.index(label)]
    new = replacements.get(label)
    return values if new is None else np.where(np.ma.getmaskarray(new), values, np.ma.getdata(new))
