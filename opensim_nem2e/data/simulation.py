"""Simulation results as the refinement sees them, whatever tool wrote them: CMC, StaticOptimization or Moco."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import LabelError, ModelError, StorageError, did_you_mean
from ..log import logger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..storage import TimeSeries
    from ..storage.osim import MuscleInfo, OsimModel

#: What computes activations, in words; empty: a file does not say.
SIMULATORS = {"cmc": "CMC", "so": "static optimisation", "moco": "Moco", "": "an unknown program"}

#: How the states of muscles with elastic tendons end (OpenSim 4, 3, Moco).
_FIBERS = ("/fiber_length", ".fiber_length", "/normalized_tendon_force")


@dataclass(frozen=True)
class Muscle:
    """Bounds and activation dynamics of a muscle.

    Parameters
    ----------
    low, high : float
        Bounds of the activation that the muscle can hold, dimensionless.
    min_control, max_control : float
        Bounds of its excitation.
    min_activation : float
        The muscle's own ``minimum_activation``.
    tau_act, tau_deact : float
        Time constants of activation and deactivation (s).
    kind : {'first_order', 'degroote_fregly'}
        The activation dynamics (:mod:`opensim_nem2e.musculoskeletal.activation`).
    smoothing : float
        ``activation_dynamics_smoothing`` of ``degroote_fregly``.
    """

    low: float
    high: float
    min_control: float
    max_control: float
    min_activation: float
    tau_act: float
    tau_deact: float
    kind: str
    smoothing: float = 0.1


@dataclass(frozen=True)
class MuscleDefaults:
    """What is assumed of muscles where no model says it.

    Parameters
    ----------
    min_activation : float
        Lower bound of activation and excitation.
    tau_act, tau_deact : float
        Time constants (s).
    """

    min_activation: float
    tau_act: float
    tau_deact: float

    def muscle(self, info: MuscleInfo | None) -> Muscle:
        """Describe a muscle.

        Parameters
        ----------
        info : MuscleInfo or None
            What the model says, if there is a model.

        Returns
        -------
        Muscle
            The model's values, and these defaults where it is silent.
        """

        def first(value: float | None, default: float) -> float:
            return default if value is None else value

        if info is None:
            low = self.min_activation
            return Muscle(low, 1.0, low, 1.0, low, self.tau_act, self.tau_deact, "first_order")
        min_activation = first(info.min_activation, self.min_activation)
        return Muscle(
            # A muscle whose control cannot go below min_control cannot hold a lower activation.
            low=max(min_activation, info.min_control),
            high=min(1.0, info.max_control),
            min_control=info.min_control,
            max_control=info.max_control,
            min_activation=min_activation,
            tau_act=first(info.activation_time_constant, self.tau_act),
            tau_deact=first(info.deactivation_time_constant, self.tau_deact),
            kind="first_order" if info.activation_dynamics_smoothing is None else "degroote_fregly",
            smoothing=first(info.activation_dynamics_smoothing, 0.1),
        )

    def muscles(self, model: OsimModel | None, names: Iterable[str]) -> dict[str, Muscle]:
        """Describe several muscles.

        Parameters
        ----------
        model : OsimModel or None
            The model, if there is one; it has all the muscles.
        names : iterable of str
            Muscles.

        Returns
        -------
        dict of str to Muscle
            In the order given.
        """
        return {name: self.muscle(None if model is None else model.muscles[name]) for name in names}


@dataclass(frozen=True)
class SimulatedTrial:
    """A simulation's result.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    activations : mapping of str to numpy.ndarray, shape (rows,)
        Activation of every muscle (0..1), in file order.
    source : TimeSeries
        The file the activations came from.
    labels : mapping of str to str
        The column of each muscle's activation in ``source``; empty if activations were computed from excitations.
    has_states : bool
        Whether ``source`` is a states file, which the GUI can replay.
    controls : TimeSeries or None
        The file whose other columns go into the refined controls.
    control_labels : mapping of str to str
        The column of each muscle's excitation in ``controls``.
    stem : str
        The name of the simulation: what the input file's name begins with.
    simulator : {'cmc', 'so', 'moco', ''}
        What computed the activations, as :func:`recognise_simulator` has settled it; empty: it is not known.
    """

    time: NDArray[np.float64]
    activations: Mapping[str, NDArray[np.float64]]
    source: TimeSeries
    labels: Mapping[str, str]
    has_states: bool
    controls: TimeSeries | None
    control_labels: Mapping[str, str]
    stem: str
    simulator: Literal["cmc", "so", "moco", ""] = ""

    @property
    def source_name(self) -> str:
        """The input file's name."""
        return self.source.path.name if self.source.path else ""

    @property
    def controls_are_source(self) -> bool:
        """Whether one file holds both (Moco, StaticOptimization)."""
        return self.controls is self.source

    @property
    def has_fibers(self) -> bool:
        """Whether muscles had fibers whose length was not settled by their path: elastic tendons."""
        # Static optimisation has none; where its results are written as states, fibers are those of rigid tendons.
        return self.simulator != "so" and any(label.endswith(_FIBERS) for label in self.source.labels)

    def require_finite(self, muscles: Iterable[str]) -> None:
        """Refuse missing values in the columns that are needed; elsewhere they do no harm.

        Parameters
        ----------
        muscles : iterable of str
            The muscles that are needed.

        Raises
        ------
        opensim_nem2e.errors.LabelError
            A value is missing: with the column and the time.
        """
        wanted = set(muscles)
        labels = self.labels or self.control_labels
        self.source.select([label for muscle, label in labels.items() if muscle in wanted])


def read_simulation(
    states_file: Path | None,
    controls_file: Path | None,
    activations_file: Path | None,
    model: OsimModel | None,
    defaults: MuscleDefaults,
    simulator: Literal["auto", "cmc", "so", "moco"] = "auto",
) -> SimulatedTrial:
    """Read a simulation, from whichever of its files are given.

    Parameters
    ----------
    states_file : pathlib.Path or None
        States of CMC.
    controls_file : pathlib.Path or None
        Controls of CMC, beside the states or alone.
    activations_file : pathlib.Path or None
        A Moco solution, or activations of StaticOptimization.
    model : OsimModel or None
        The model.
    defaults : MuscleDefaults
        For the activation dynamics of controls alone, where the model does not say them.
    simulator : {'auto', 'cmc', 'so', 'moco'}
        What computed the activations; ``'auto'``: see :func:`recognise_simulator`.

    Returns
    -------
    SimulatedTrial
        The result.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        No file is given, or one cannot be used.
    """
    if states_file is not None:
        trial = states_trial(states_file, controls_file, model)
    elif activations_file is not None:
        trial = activations_trial(activations_file, model)
    elif controls_file is not None:
        trial = controls_trial(controls_file, model, defaults)
    else:
        raise StorageError("A simulation needs a states, controls or activations file, but none was given.")
    found, why = recognise_simulator(trial, states_file is not None)
    if simulator != "auto":
        found, why = simulator, "as it was told"
    beside = controls_file is None and trial.controls is not None and not trial.controls_are_source
    logger.info(
        "Read %d muscles over %.4f to %.4f s (%d rows) from '%s'%s; simulated by %s (%s).",
        len(trial.activations),
        trial.time[0],
        trial.time[-1],
        len(trial.time),
        trial.source.path,
        " with the controls beside it" if beside else "",
        SIMULATORS[found],
        why,
    )
    from ..storage.sto import is_refinement

    if is_refinement(trial.source):
        logger.warning(
            "%s: this is the result of a refinement, as its first line says: refined once more, it is no simulation's "
            "any longer. Give what the simulation wrote.",
            trial.source.path,
        )
    if str(trial.source.header.get("success", "")).lower() == "false":
        status = str(trial.source.header.get("status", "")).replace("_", " ")
        logger.warning(
            "%s: Moco did not succeed%s: what its solver left is no solution.",
            *(trial.source.path, f" ({status[:80]})" if status else ""),
        )
    return replace(trial, simulator=found)


def told_simulator(source: TimeSeries) -> Literal["so", "moco", ""]:
    """Tell what computed activations, where the file itself says so.

    Moco's header counts states and controls, StaticOptimization's names it (and so does the file's name); CMC's says
    nothing.

    Parameters
    ----------
    source : TimeSeries
        The file.

    Returns
    -------
    {'so', 'moco', ''}
        Empty: it does not say.
    """
    if {"num_states", "num_controls"} <= set(source.header):
        return "moco"
    title = f"{source.name} {source.description} {source.path.stem if source.path else ''}"
    return "so" if "staticoptimization" in re.sub(r"[\s_]", "", title).lower() else ""


def recognise_simulator(trial: SimulatedTrial, given_as_states: bool) -> tuple[Literal["cmc", "so", "moco", ""], str]:
    """Tell what computed a trial's activations, from what OpenSim writes into its files.

    Parameters
    ----------
    trial : SimulatedTrial
        What was read.
    given_as_states : bool
        Whether the file was given as states of CMC.

    Returns
    -------
    simulator : {'cmc', 'so', 'moco', ''}
        What it was; empty: activations under bare names, of which the file says nothing.
    why : str
        How it was recognised.
    """
    told = told_simulator(trial.source)
    if told:
        return told, "by its header or name"
    if given_as_states or (not trial.has_states and not trial.labels):
        return "cmc", "nothing in it says otherwise"
    if trial.has_states:
        return "moco", "static optimisation writes no states"
    return "", "muscles have bare names, and the header says nothing"


def states_trial(path: Path, controls_file: Path | None, model: OsimModel | None) -> SimulatedTrial:
    """Read a states file of CMC.

    Parameters
    ----------
    path : pathlib.Path
        The states file.
    controls_file : pathlib.Path or None
        Its controls; None: looked for beside the states file, under the name that CMC gives it.
    model : OsimModel or None
        The model.

    Returns
    -------
    SimulatedTrial
        The result.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be read, or states, controls and model do not fit together.
    """
    from ..storage import read_storage
    from ..storage.labels import find_activation_columns, find_excitation_columns, require_activations

    source = read_storage(path, model=None if model is None else model.path)
    labels = find_activation_columns(source)
    if not labels:
        raise LabelError(
            "A states file must have activation columns (/forceset/soleus_r/activation or soleus_r.activation), but "
            f"{_found(source.labels)} was found. Activations of StaticOptimization go into <activations_file>.",
            path,
        )
    labels = _of_model(model, labels, path)
    require_activations(source, labels, highest=_highest(model))
    _compare_states(source, model)
    activations = _columns(source, labels)
    if controls_file is None:
        controls_file = sibling_controls(path)
        if controls_file is None:
            return SimulatedTrial(source.time, activations, source, labels, True, None, {}, _stem(path))
        logger.debug("The controls file beside the states file is used: '%s'.", controls_file)
    controls = _read_controls(controls_file)
    _require_same_time(source, path, controls, controls_file)
    control_labels = find_excitation_columns(controls, list(labels))
    missing = [muscle for muscle in labels if muscle not in control_labels]
    if missing:
        raise LabelError(
            f"The controls must have a column for every muscle of the states file '{path}', but there is none for "
            f"{_some(missing)}. Do the two files belong together?",
            controls_file,
        )
    return SimulatedTrial(source.time, activations, source, labels, True, controls, control_labels, _stem(path))


def activations_trial(path: Path, model: OsimModel | None) -> SimulatedTrial:
    """Read a Moco solution (states and controls in one file) or the activations of StaticOptimization.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    model : OsimModel or None
        The model; without it the table of muscle names tells muscles from reserves.

    Returns
    -------
    SimulatedTrial
        The result.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file cannot be read, has no activations, or does not fit the model.
    """
    from ..storage import read_storage
    from ..storage.labels import (
        find_activation_columns,
        find_excitation_columns,
        find_so_activation_columns,
        require_activations,
    )

    source = read_storage(path, model=None if model is None else model.path)
    labels = find_activation_columns(source)
    has_states = bool(labels)
    if has_states:
        control_labels = find_excitation_columns(source, list(labels))
        controls = source if all(muscle in control_labels for muscle in labels) else None
    else:
        labels = find_so_activation_columns(source, None if model is None else list(model.muscles))
        # StaticOptimization knows no dynamics: its activations are its controls.
        control_labels, controls = labels, source
    if not labels:
        raise LabelError(
            f"No column is a muscle's activation; {_found(source.labels)} was found. With <model_file> every muscle of "
            "the model is known.",
            path,
        )
    labels = _of_model(model, labels, path)
    require_activations(source, labels, highest=_highest(model))
    if has_states:
        _compare_states(source, model)
    activations = _columns(source, labels)
    return SimulatedTrial(source.time, activations, source, labels, has_states, controls, control_labels, _stem(path))


def controls_trial(path: Path, model: OsimModel | None, defaults: MuscleDefaults) -> SimulatedTrial:
    """Compute activations from the excitations of CMC.

    Parameters
    ----------
    path : pathlib.Path
        The controls, ``.sto`` or ControlSet ``.xml``.
    model : OsimModel or None
        The model; without it the table of muscle names tells muscles from reserves.
    defaults : MuscleDefaults
        For the activation dynamics, where the model does not say them.

    Returns
    -------
    SimulatedTrial
        The result; each activation starts at its first excitation.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file cannot be read, has no excitations, or does not fit the model.
    """
    import numpy as np

    from ..musculoskeletal.activation import activation_from_excitation
    from ..storage.labels import find_excitation_columns, require_activations

    source = _read_controls(path)
    labels = find_excitation_columns(source, None if model is None else list(model.muscles))
    if not labels:
        raise LabelError(f"No column is a muscle's control; {_found(source.labels)} was found.", path)
    labels = _of_model(model, labels, path)
    require_activations(source, labels, what="excitation", highest=_highest(model))
    muscles = defaults.muscles(model, labels).values()
    excitation = np.column_stack(list(_columns(source, labels).values()))
    activation = activation_from_excitation(
        source.time,
        excitation,
        [muscle.tau_act for muscle in muscles],
        [muscle.tau_deact for muscle in muscles],
        excitation[0],
        [muscle.kind for muscle in muscles],
        min_activation=[muscle.min_activation for muscle in muscles],
        smoothing=[muscle.smoothing for muscle in muscles],
    )
    logger.info("Activations were computed from the controls through the muscles' activation dynamics.")
    activations = {name: np.ascontiguousarray(activation[:, k]) for k, name in enumerate(labels)}
    return SimulatedTrial(source.time, activations, source, {}, False, source, labels, _stem(path))


def sibling_controls(states: Path) -> Path | None:
    """Find the controls file that CMC wrote beside a states file.

    Parameters
    ----------
    states : pathlib.Path
        The states file, ``<name>_states.sto``.

    Returns
    -------
    pathlib.Path or None
        ``<name>_controls.sto``, if it is there.
    """
    if not states.stem.endswith("_states"):
        return None
    sibling = states.with_name(f"{states.stem.removesuffix('_states')}_controls{states.suffix}")
    return sibling if sibling.is_file() else None


def _columns(series: TimeSeries, labels: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """Return columns by muscle. A label that appears twice gives the first: it matters only if the muscle is needed."""
    return {muscle: series.data[:, series.labels.index(label)] for muscle, label in labels.items()}


#: By how much CMC's states and controls may begin and end apart (s); they differ by a few windows of 0.01 s.
_SAME_TIME = 0.05


def _require_same_time(states: TimeSeries, path: Path, controls: TimeSeries, controls_file: Path) -> None:
    """Refuse the controls of another simulation, and warn of controls that cover only part of it."""
    spans = f"{states.time[0]:.4f} to {states.time[-1]:.4f} s, these controls {controls.time[0]:.4f} to "
    spans += f"{controls.time[-1]:.4f} s"
    if controls.time[-1] <= states.time[0] or controls.time[0] >= states.time[-1]:
        raise StorageError(
            f"The controls must be of the same time as the states. The states '{path}' cover {spans}.", controls_file
        )
    if controls.time[0] > states.time[0] + _SAME_TIME or controls.time[-1] < states.time[-1] - _SAME_TIME:
        logger.warning("The controls cover only part of the simulation: the states cover %s.", spans)


def _read_controls(path: Path) -> TimeSeries:
    from ..storage import read_storage
    from ..storage.controls_xml import read_controls_xml

    return read_controls_xml(path) if path.suffix.lower() == ".xml" else read_storage(path)


def _of_model(model: OsimModel | None, labels: dict[str, str], path: Path) -> dict[str, str]:
    """Keep the model's muscles; other actuators can have an activation, too. What is neither means another model."""
    from ..storage.muscles import MuscleNames

    if model is None:
        return labels
    actuators = {actuator.name for actuator in model.actuators}
    unknown = [name for name in labels if name not in actuators]
    muscles = {name: label for name, label in labels.items() if name in model.muscles}
    off = [name for name in muscles if not model.muscles[name].applies_force]
    absent = [name for name, muscle in model.muscles.items() if name not in muscles and muscle.applies_force]
    # Moco adds reserves to a model without writing it, and torque actuators may have an activation, too.
    if muscles and not absent and not any(MuscleNames.load().of_model(unknown).values()):
        if unknown:
            logger.warning(
                "%s: no muscles of the model '%s', and left as they are: %s.", path.name, model.name, _some(unknown)
            )
        unknown = []
    if unknown or not muscles:
        raise ModelError(
            f"{path}: {_some(unknown or list(labels))} must be muscles of the model '{model.name}' ({model.path}), but "
            f"are not. Is it the model of this simulation?{did_you_mean((unknown or list(labels))[0], model.muscles)}"
        )
    if absent:
        logger.warning(
            "%s: the model '%s' has %d muscles, but %d of them have no column here: %s. Is it the model of this "
            "simulation?",
            path,
            model.name,
            len(model.muscles),
            len(absent),
            _some(absent),
        )
    if off:
        logger.warning("The model switches off %s (appliesForce): left as they are.", _some(off))
        muscles = {name: label for name, label in muscles.items() if name not in off}
        if not muscles:
            raise ModelError(f"{model.path}: every muscle of the simulation is switched off (appliesForce is false).")
    return muscles


def _highest(model: OsimModel | None) -> dict[str, float]:
    """Return the muscles' upper control bounds."""
    return {} if model is None else {name: muscle.max_control for name, muscle in model.muscles.items()}


def _compare_states(source: TimeSeries, model: OsimModel | None) -> None:
    """Warn where a model's coordinates are not the file's: it is another model, or an edited one."""
    from ..storage.labels import find_state_label, parse_label

    if model is None:
        return
    absent = [c.name for c in model.coordinates if find_state_label(source.labels, f"{c.path}/value") is None]
    known = {c.name for c in model.coordinates}
    parsed = [parse_label(label) for label in source.labels]
    unknown = [found.name for found in parsed if found.kind == "value" and found.name not in known]
    # A file of activations alone names no coordinate, and is none of another model.
    if len(absent) == len(model.coordinates) and not unknown:
        return
    for names, what in ((absent, "are missing in the file"), (unknown, "are not the model's")):
        if names:
            logger.warning(
                "%s: the file's coordinates are not those of the model '%s': %s %s. Is it the model of this "
                "simulation?",
                source.path,
                model.name,
                _some(names),
                what,
            )


def _stem(path: Path) -> str:
    """Strip what OpenSim's tools append to their name."""
    return re.sub(r"_(states|controls|(StaticOptimization_)?activation)$", "", path.stem) or path.stem


def _found(labels: Sequence[str], most: int = 4) -> str:
    more = ", ..." if len(labels) > most else ""
    return "'" + ", ".join(labels[:most]) + more + "'"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")
