"""What a bundle is made of: every muscle learned from all subjects, and again without some, to see how good that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np

from ..data.cycle_view import CycleView
from ..data.gait_cycles import MuscleCycles, usable_rows
from ..data.samples import Samples
from ..errors import TrainingError
from ..methods.bands import Bands
from ..methods.base import Common, Fitted, Method, Plan, RunSettings
from ..methods.registry import find_method
from ..methods.training_range import TrainingRange
from ..signals.compare import burst_errors, correlations, cycle_errors, gain_errors, peak_errors
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained
from .band_calibration import LeftOut, calibrate_bands, coverage_row, left_out_coverage
from .measured_range import training_range

#: Baselines whose errors stand in a bundle beside those of its own method.
COMPARED = ("mean", "profiles", "ridge")

#: Who is left out: a kind and its name.
_Without = tuple[str, str]
_NOBODY: _Without = ("", "")


@dataclass(frozen=True)
class CurveFigures:
    """What is right and wrong with the shape of curves; means over a subject's cycles.

    Parameters
    ----------
    E_gain : float
        E after the subject's best gain.
    r : float
        Pearson's r with EMG.
    peak_ms, onset_ms, offset_ms : float
        Distance of the peak, and of the begin and the end of the main burst, from EMG's (ms).
    """

    E_gain: float
    r: float
    peak_ms: float
    onset_ms: float
    offset_ms: float


@dataclass(frozen=True)
class SubjectErrors:
    """Errors on one subject's cycles by estimators that have not seen this subject: means over the cycles.

    Cycles of another motion or of another simulation are told apart.

    Parameters
    ----------
    target : str
        Standard name of the muscle.
    subject : str
        Who was left out.
    cycles : int
        How many cycles.
    opensim : float
        E of OpenSim's own activation: its RMSE against EMG over the samples of the cycle.
    refined : float
        E of the method.
    mean : float
        E of the mean EMG cycle of the training subjects.
    ridge : float
        E of ridge regression on the same input.
    profiles : float
        E of the EMG profiles by motion and age group.
    motion, source, laboratory : str
        What the cycles are, what simulated them, and where they were recorded.
    shapes : mapping of str to CurveFigures
        What an error of amplitude does not touch, of ``opensim``, ``refined``, ``mean``, ``profiles`` and ``ridge``.
    """

    target: str
    subject: str
    cycles: int
    opensim: float
    refined: float
    mean: float
    ridge: float
    profiles: float = float("nan")
    motion: str = ""
    source: str = ""
    laboratory: str = ""
    shapes: Mapping[str, CurveFigures] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Er = E_refined / E_opensim - 1; negative is better."""
        return self.refined / self.opensim - 1


@dataclass
class BundleTraining:
    """What is learned for a bundle, and what has come of it.

    Parameters
    ----------
    method : Method
        The method.
    options : object
        Its options.
    samples : Samples
        All cycles.
    view : CycleView
        How they are shown.
    muscles : sequence of str
        Target muscles.
    run : RunSettings
        Seed and threads.
    held_out : sequence of str
        Subjects that nothing is learned from.
    leave_one_out : bool
        Learn without each subject in turn, too, where there are at least two, and without each laboratory.
    """

    method: Method
    options: Any
    samples: Samples
    view: CycleView
    muscles: Sequence[str]
    run: RunSettings
    held_out: Sequence[str] = ()
    leave_one_out: bool = False
    jobs: list[Job] = field(init=False, default_factory=list)
    #: The largest number of epochs of a network; known once everything was checked.
    most_epochs: int = field(init=False, default=0)
    _common: dict[_Without, Common | None] = field(init=False, default_factory=dict)
    _beside: dict[tuple[_Without, str], Common | None] = field(init=False, default_factory=dict)
    _parts: dict[str, Fitted] = field(init=False, default_factory=dict)
    _trained: dict[str, Trained] = field(init=False, default_factory=dict)
    _held_out_errors: dict[str, list[SubjectErrors]] = field(init=False, default_factory=dict)
    _left_out_errors: dict[tuple[str, _Without], list[SubjectErrors]] = field(init=False, default_factory=dict)
    #: Estimates for those left out, and (under nobody) for those held out.
    _estimates: dict[tuple[str, _Without], list[LeftOut]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._train, self._test = self.samples.leave_out(self.held_out)
        for muscle in self.muscles:
            for without in self._folds(muscle):
                if self._weights(muscle):
                    kind, left_out = without
                    name = f"{muscle}_without_{file_name(left_out)}" if left_out else muscle
                    if kind == "laboratory":
                        name = f"{muscle}_without_laboratory_{file_name(left_out)}"
                    task, done = partial(self._task, muscle, without), partial(self._keep, muscle, without)
                    self.jobs.append(Job(name, task, done))

    def check(self) -> None:
        """Prepare everything once, so that what is wrong with a training is known before the first.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            See :meth:`opensim_nem2e.methods.base.Method.plan`.
        """
        for muscle in self.muscles:
            for without in self._folds(muscle):
                plan = self._plan(muscle, without)
                check_network(self.method.key, plan, self._weights(muscle))
                task = plan.task
                self.most_epochs = max(self.most_epochs, 0 if task is None else task.most_epochs)

    def finish(self) -> None:
        """Learn what needs no network."""
        for muscle in self.muscles:
            for without in self._folds(muscle):
                if not self._weights(muscle):
                    self._keep(muscle, without, None)

    @property
    def weights(self) -> int:
        """Weights of the largest network; 0 where none is trained."""
        return max((self._weights(muscle) for muscle in self.muscles), default=0)

    @property
    def parts(self) -> dict[str, Fitted]:
        """What was learned for the bundle, in the order of the muscles."""
        return {muscle: self._parts[muscle] for muscle in self.muscles if muscle in self._parts}

    @property
    def trained(self) -> dict[str, Trained]:
        """The networks with their loss histories, in the same order."""
        return {muscle: self._trained[muscle] for muscle in self.muscles if muscle in self._trained}

    @property
    def errors(self) -> dict[str, list[SubjectErrors]]:
        """Errors on unseen subjects by way of leaving them out, in the order of muscles and subjects."""

        def left_out(kind: str) -> list[SubjectErrors]:
            return [
                item
                for muscle in self.muscles
                for name in self._names(muscle, kind)
                for item in self._left_out_errors.get((muscle, self._fold(kind, name)), ())
            ]

        held_out = [item for muscle in self.muscles for item in self._held_out_errors.get(muscle, ())]
        return {
            "leave_one_subject_out": left_out("subject"),
            "leave_one_laboratory_out": left_out("laboratory"),
            "held_out": held_out,
        }

    def bands(self, limits: tuple[float, float]) -> Bands | None:
        """Calibrate bands on those left out, and judge them by subjects and laboratories left out of that.

        Who uses a bundle is of another laboratory. So where there are several, estimates for each count that were
        learned without it.

        Parameters
        ----------
        limits : tuple of float
            What EMG cannot leave.

        Returns
        -------
        Bands or None
            None where fewer than two subjects were left out.
        """
        kinds = {muscle: "laboratory" if self._names(muscle, "laboratory") else "subject" for muscle in self.muscles}
        left_out = [
            item
            for muscle, kind in kinds.items()
            for name in self._names(muscle, kind)
            for item in self._estimates.get((muscle, self._fold(kind, name)), ())
        ]
        bands = calibrate_bands(left_out, self.muscles, limits)
        if bands is None:
            return None
        coverage = left_out_coverage(left_out, self.muscles, limits)
        held_out = [item for muscle in self.muscles for item in self._estimates.get((muscle, _NOBODY), ())]
        names = dict.fromkeys(item.subject for item in held_out)
        coverage["held_out"] = [
            coverage_row(bands, [item for item in held_out if item.subject == name], name) for name in names
        ]
        return replace(bands, coverage={way: rows for way, rows in coverage.items() if rows})

    def training_range(self) -> TrainingRange | None:
        """Describe the range of the training cycles (:func:`opensim_nem2e.evaluation.measured_range.training_range`).

        Returns
        -------
        TrainingRange or None
            None where no cycle has activations.
        """
        return training_range(self._train, self.view)

    def cycles(self, muscle: str) -> MuscleCycles:
        """Take the cycles that a muscle is learned from.

        Parameters
        ----------
        muscle : str
            Standard name.

        Returns
        -------
        MuscleCycles
            The cycles, without those of subjects that are held out.
        """
        return MuscleCycles.of(self._train, muscle, self.view)

    def _names(self, muscle: str, kind: str) -> list[str]:
        """List the subjects or laboratories that a muscle is learned without in turn."""
        if not self.leave_one_out:
            return []
        names = list(dict.fromkeys(getattr(record, kind) for record in self.cycles(muscle).records))
        return names if len(names) > 1 else []

    def _fold(self, kind: str, name: str) -> _Without:
        """A laboratory of one subject is left out with the subject."""
        if kind == "laboratory":
            subjects = set(self._train.subjects[self._train.laboratories == name].tolist())
            if len(subjects) == 1 and (self._train.laboratories[self._train.subjects == min(subjects)] == name).all():
                return ("subject", min(subjects))
        return (kind, name)

    def _folds(self, muscle: str) -> list[_Without]:
        """List what is learned: with everyone, and without each subject and each laboratory."""
        without = [self._fold(kind, name) for kind in ("subject", "laboratory") for name in self._names(muscle, kind)]
        return list(dict.fromkeys([_NOBODY, *without]))

    def _split(self, without: _Without) -> tuple[Samples, Samples]:
        """Split the training samples in what is learned from and what is left out."""
        kind, name = without
        labels = self._train.laboratories if kind == "laboratory" else self._train.subjects
        out = (labels == name) & (kind != "")
        return self._train.select(~out), self._train.select(out)

    def _weights(self, muscle: str) -> int:
        return self.method.weight_count(len(self.view.inputs_of(muscle)), self.view, self.options)

    def _plan(self, muscle: str, without: _Without) -> Plan:
        """Prepare a muscle from everyone, or without a subject or laboratory."""
        train, _ = self._split(without)
        if without not in self._common:
            # What muscles share is fitted once for all of them.
            self._common[without] = self.method.common(train, self.view, self.options)
        return self.method.plan(train, muscle, self.view, self.options, self.run, self._common[without])

    def _task(self, muscle: str, without: _Without) -> Task:
        task = self._plan(muscle, without).task
        assert task is not None
        return task

    def _keep(self, muscle: str, without: _Without, trained: Trained | None) -> None:
        fitted = self._plan(muscle, without).finish(trained)
        if without != _NOBODY:
            _, test = self._split(without)
            self._left_out_errors[muscle, without] = self._judge(muscle, fitted, without, test)
            self._estimates[muscle, without] = left_out_estimates(MuscleCycles.of(test, muscle, self.view), fitted)
            return
        self._parts[muscle] = fitted
        if trained is not None:
            self._trained[muscle] = trained
        if usable_rows(self._test, muscle, self.view).any():
            self._held_out_errors[muscle] = self._judge(muscle, fitted, without, self._test)
            self._estimates[muscle, without] = left_out_estimates(
                MuscleCycles.of(self._test, muscle, self.view), fitted
            )

    def _judge(self, muscle: str, fitted: Fitted, without: _Without, test: Samples) -> list[SubjectErrors]:
        train, _ = self._split(without)
        beside = {}
        for key in COMPARED:
            method = find_method(key)
            if (without, key) not in self._beside:
                self._beside[without, key] = method.common(train, self.view, method.options())
            common = self._beside[without, key]
            beside[key] = method.plan(train, muscle, self.view, method.options(), self.run, common).finish(None)
        return subject_errors(MuscleCycles.of(test, muscle, self.view), self.view, fitted, beside)


def check_network(key: str, plan: Plan, weights: int) -> None:
    """See that a method trains a network if, and only if, it says so.

    Parameters
    ----------
    key : str
        The method.
    plan : Plan
        One of its plans.
    weights : int
        Its :meth:`opensim_nem2e.methods.base.Method.weight_count`.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        It does not.
    """
    if (plan.task is not None) != (weights > 0):
        what = "a network is trained" if plan.task is not None else "no network is trained"
        raise TrainingError(f"The method '{key}' counts {weights} weights, but {what} by its plan: both must agree.")


def subject_errors(
    test: MuscleCycles, view: CycleView, fitted: Fitted, beside: Mapping[str, Fitted]
) -> list[SubjectErrors]:
    """Compare a method with OpenSim and with baselines, subject by subject.

    For One-Quarter the cycle is put together again and the error is taken on its 20-sample grid.

    Parameters
    ----------
    test : MuscleCycles
        Cycles of subjects that were not seen.
    view : CycleView
        How they are shown.
    fitted : Fitted
        What the method learned.
    beside : mapping of str to Fitted
        The baselines ``mean`` and ``ridge``, and ``profiles`` where they are known.

    Returns
    -------
    list of SubjectErrors
        One per subject of ``test``, motion and source of simulations.
    """
    y = view.on_grid(test.y)
    curves = {"opensim": view.on_grid(test.own), "refined": view.on_grid(_estimate(fitted, test))}
    curves |= {key: view.on_grid(_estimate(one, test)) for key, one in beside.items()}
    errors = {key: cycle_errors(values, y) for key, values in curves.items()}
    durations = np.array([record.end - record.start for record in test.records])
    keys = [(record.subject, record.motion, record.activation_source) for record in test.records]
    found = []
    for key in dict.fromkeys(keys):
        rows = np.array([other == key for other in keys])
        means = {name: float(values[rows].mean()) for name, values in errors.items()}
        shapes = {name: curve_figures(values[rows], y[rows], durations[rows]) for name, values in curves.items()}
        subject, motion, source = key
        laboratory = test.records[int(np.argmax(rows))].laboratory
        about: dict[str, Any] = {"motion": motion, "source": source, "laboratory": laboratory, "shapes": shapes}
        found.append(SubjectErrors(test.target, subject, int(rows.sum()), **{**means, **about}))
    return found


def curve_figures(estimate: np.ndarray, emg: np.ndarray, durations: np.ndarray) -> CurveFigures:
    """Judge the shape of one subject's curves.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.
    durations : ndarray, shape (cycles,)
        Of the cycles (s).

    Returns
    -------
    CurveFigures
        Means over the cycles, of absolute values for timing; NaN where all curves are flat.
    """
    onsets, offsets = burst_errors(estimate, emg)
    timing = [1e3 * np.abs(phases) * durations for phases in (peak_errors(estimate, emg), onsets, offsets)]
    known = [values[np.isfinite(values)] for values in timing]
    peak, onset, offset = (float(values.mean()) if values.size else float("nan") for values in known)
    whole = np.full(len(emg), "")
    error = float(gain_errors(estimate, emg, whole).mean())
    return CurveFigures(error, float(correlations(estimate, emg).mean()), peak, onset, offset)


def left_out_estimates(test: MuscleCycles, fitted: Fitted) -> list[LeftOut]:
    """Estimate the cycles of subjects that a method has not seen.

    Parameters
    ----------
    test : MuscleCycles
        Their cycles.
    fitted : Fitted
        What the method learned.

    Returns
    -------
    list of LeftOut
        One per subject of ``test``.
    """
    estimate = _estimate(fitted, test)
    found = []
    for subject in dict.fromkeys(test.subjects.tolist()):
        rows = test.subjects == subject
        laboratory = test.records[int(np.argmax(rows))].laboratory
        found.append(LeftOut(test.target, subject, laboratory, estimate[rows], test.y[rows]))
    return found


def _estimate(fitted: Fitted, test: MuscleCycles) -> np.ndarray:
    """Apply what was learned to cycles; a baseline may take the muscle's own activation only."""
    x = test.x if fitted.inputs == test.inputs else test.own[:, :, None]
    return fitted.predict({"activation": x, **test.about}).values


#: Figures of shapes in tables; what they are is in :class:`CurveFigures`.
_SHAPE_FIGURES = tuple(item.name for item in fields(CurveFigures))


def summarise(errors: Iterable[SubjectErrors]) -> dict[str, dict[str, Any]]:
    """Average errors over subjects, muscle by muscle, for a bundle's metadata.

    Parameters
    ----------
    errors : iterable of SubjectErrors
        From :func:`subject_errors`.

    Returns
    -------
    dict of str to dict
        Per muscle ``subjects, cycles, E_opensim``, and of ``refined``, ``mean``, ``ridge`` and, where they are known,
        ``profiles`` E and Er (``E_refined``; ``Er_refined`` = ``E_refined / E_opensim - 1``) and the figures of shapes
        (``E_gain_refined``, ``r_refined``, ...), all averaged over a subject's cycles and then over subjects; under
        ``ALL`` the means over the muscles.
    """
    by_muscle: dict[str, dict[str, list[SubjectErrors]]] = {}
    for item in errors:
        by_muscle.setdefault(item.target, {}).setdefault(item.subject, []).append(item)
    table: dict[str, dict[str, Any]] = {}
    for muscle, subjects in by_muscle.items():
        cycles = sum(item.cycles for items in subjects.values() for item in items)
        rows = [_subject_row(items) for items in subjects.values()]
        figures = [name for name in rows[0] if all(np.isfinite(row.get(name, np.nan)) for row in rows)]
        table[muscle] = {
            "subjects": len(subjects),
            "cycles": cycles,
            **{name: float(np.mean([row[name] for row in rows])) for name in figures},
        }
    if table:
        figures = [name for name in next(iter(table.values())) if name not in ("subjects", "cycles")]
        known = {name: [row[name] for row in table.values() if name in row] for name in figures}
        table["ALL"] = {name: float(np.mean(values)) for name, values in known.items()}
    return table


def _subject_row(items: Sequence[SubjectErrors]) -> dict[str, float]:
    """Average over the cycles of one subject, and relate to OpenSim."""
    weights = np.array([item.cycles for item in items], dtype=float) / sum(item.cycles for item in items)

    def mean(values: Iterable[float]) -> float:
        return float(weights @ np.array(list(values)))

    row = {f"E_{name}": mean(getattr(item, name) for item in items) for name in ("opensim", "refined", *COMPARED)}
    row |= {f"Er_{name}": row[f"E_{name}"] / row["E_opensim"] - 1 for name in ("refined", *COMPARED)}
    for name in items[0].shapes:
        for figure in _SHAPE_FIGURES:
            row[f"{figure}_{name}"] = mean(getattr(item.shapes[name], figure) for item in items)
    return row
