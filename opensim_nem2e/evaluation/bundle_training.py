"""What a bundle is made of: every muscle learned from all subjects, and again without some, to see how good that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ..signals.compare import cycle_errors
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained
from .bands import LeftOut, calibrate_bands, coverage_row, left_out_coverage
from .training_range import training_range

#: Baselines whose errors stand in a bundle beside those of its own method.
COMPARED = ("mean", "ridge")


@dataclass(frozen=True)
class SubjectErrors:
    """Errors on one subject's cycles by estimators that have not seen this subject: means over the cycles.

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
    """

    target: str
    subject: str
    cycles: int
    opensim: float
    refined: float
    mean: float
    ridge: float

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
        Learn without each subject in turn, too, where there are at least two.
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
    _common: dict[str, Common | None] = field(init=False, default_factory=dict)
    _parts: dict[str, Fitted] = field(init=False, default_factory=dict)
    _trained: dict[str, Trained] = field(init=False, default_factory=dict)
    _held_out_errors: dict[str, list[SubjectErrors]] = field(init=False, default_factory=dict)
    _left_out_errors: dict[tuple[str, str], list[SubjectErrors]] = field(init=False, default_factory=dict)
    #: Estimates for subjects left out, and for those held out (under the name '').
    _estimates: dict[tuple[str, str], list[LeftOut]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._train, self._test = self.samples.leave_out(self.held_out)
        for muscle in self.muscles:
            for without in ("", *self._left_out(muscle)):
                if self._weights(muscle):
                    name = f"{muscle}_without_{file_name(without)}" if without else muscle
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
            for without in ("", *self._left_out(muscle)):
                plan = self._plan(muscle, without)
                check_network(self.method.key, plan, self._weights(muscle))
                task = plan.task
                self.most_epochs = max(self.most_epochs, 0 if task is None else task.most_epochs)

    def finish(self) -> None:
        """Learn what needs no network."""
        for muscle in self.muscles:
            for without in ("", *self._left_out(muscle)):
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
        left_out = [
            item
            for muscle in self.muscles
            for without in self._left_out(muscle)
            for item in self._left_out_errors.get((muscle, without), ())
        ]
        held_out = [item for muscle in self.muscles for item in self._held_out_errors.get(muscle, ())]
        return {"leave_one_subject_out": left_out, "held_out": held_out}

    def bands(self, limits: tuple[float, float]) -> Bands | None:
        """Calibrate bands on the subjects left out, and judge them by subjects and laboratories left out of that.

        Parameters
        ----------
        limits : tuple of float
            What EMG cannot leave.

        Returns
        -------
        Bands or None
            None where fewer than two subjects were left out.
        """
        left_out = [
            item
            for muscle in self.muscles
            for without in self._left_out(muscle)
            for item in self._estimates.get((muscle, without), ())
        ]
        bands = calibrate_bands(left_out, self.muscles, limits)
        if bands is None:
            return None
        coverage = left_out_coverage(left_out, self.muscles, limits)
        held_out = [item for muscle in self.muscles for item in self._estimates.get((muscle, ""), ())]
        names = dict.fromkeys(item.subject for item in held_out)
        coverage["held_out"] = [
            coverage_row(bands, [item for item in held_out if item.subject == name], name) for name in names
        ]
        return replace(bands, coverage={way: rows for way, rows in coverage.items() if rows})

    def training_range(self) -> TrainingRange | None:
        """Describe the range of the training cycles (:func:`opensim_nem2e.evaluation.training_range.training_range`).

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

    def _left_out(self, muscle: str) -> list[str]:
        if not self.leave_one_out:
            return []
        subjects = list(dict.fromkeys(self.cycles(muscle).subjects.tolist()))
        return subjects if len(subjects) > 1 else []

    def _weights(self, muscle: str) -> int:
        return self.method.weight_count(len(self.view.inputs_of(muscle)), self.view, self.options)

    def _plan(self, muscle: str, without: str) -> Plan:
        """Prepare a muscle from everyone, or without a subject."""
        train = self._train.leave_out([without])[0] if without else self._train
        if without not in self._common:
            # What muscles share is fitted once for all of them.
            self._common[without] = self.method.common(train, self.view, self.options)
        return self.method.plan(train, muscle, self.view, self.options, self.run, self._common[without])

    def _task(self, muscle: str, without: str) -> Task:
        task = self._plan(muscle, without).task
        assert task is not None
        return task

    def _keep(self, muscle: str, without: str, trained: Trained | None) -> None:
        fitted = self._plan(muscle, without).finish(trained)
        if without:
            rest, test = self._train.leave_out([without])
            self._left_out_errors[muscle, without] = self._judge(muscle, fitted, rest, test)
            self._estimates[muscle, without] = left_out_estimates(MuscleCycles.of(test, muscle, self.view), fitted)
            return
        self._parts[muscle] = fitted
        if trained is not None:
            self._trained[muscle] = trained
        if usable_rows(self._test, muscle, self.view).any():
            self._held_out_errors[muscle] = self._judge(muscle, fitted, self._train, self._test)
            self._estimates[muscle, ""] = left_out_estimates(MuscleCycles.of(self._test, muscle, self.view), fitted)

    def _judge(self, muscle: str, fitted: Fitted, train: Samples, test: Samples) -> list[SubjectErrors]:
        beside = {
            key: find_method(key).plan(train, muscle, self.view, find_method(key).options(), self.run).finish(None)
            for key in COMPARED
        }
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
        The baselines ``mean`` and ``ridge``.

    Returns
    -------
    list of SubjectErrors
        One per subject of ``test``.
    """
    y = view.on_grid(test.y)

    def error(one: Fitted) -> np.ndarray:
        return cycle_errors(view.on_grid(_estimate(one, test)), y)

    errors = {"opensim": cycle_errors(view.on_grid(test.own), y), "refined": error(fitted)}
    errors |= {key: error(one) for key, one in beside.items()}
    found = []
    for subject in dict.fromkeys(test.subjects.tolist()):
        rows = test.subjects == subject
        means = {name: float(values[rows].mean()) for name, values in errors.items()}
        found.append(SubjectErrors(test.target, subject, int(rows.sum()), **means))
    return found


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
        laboratory = test.records[int(np.argmax(rows))].dataset
        found.append(LeftOut(test.target, subject, laboratory, estimate[rows], test.y[rows]))
    return found


def _estimate(fitted: Fitted, test: MuscleCycles) -> np.ndarray:
    """Apply what was learned to cycles; a baseline may take the muscle's own activation only."""
    x = test.x if fitted.inputs == test.inputs else test.own[:, :, None]
    return fitted.predict({"activation": x}).values


def summarise(errors: Iterable[SubjectErrors]) -> dict[str, dict[str, Any]]:
    """Average errors over subjects, muscle by muscle, for a bundle's metadata.

    Parameters
    ----------
    errors : iterable of SubjectErrors
        From :func:`subject_errors`.

    Returns
    -------
    dict of str to dict
        Per muscle ``subjects, cycles, E_opensim, E_refined, E_mean, E_ridge`` and ``Er_refined, Er_mean, Er_ridge``
        (``E / E_opensim - 1``), all averaged over subjects; under ``ALL`` the means over the muscles.
    """
    by_muscle: dict[str, list[SubjectErrors]] = {}
    for item in errors:
        by_muscle.setdefault(item.target, []).append(item)
    table: dict[str, dict[str, Any]] = {}
    for muscle, items in by_muscle.items():
        row: dict[str, Any] = {"subjects": len(items), "cycles": sum(item.cycles for item in items)}
        row["E_opensim"] = float(np.mean([item.opensim for item in items]))
        for name in ("refined", "mean", "ridge"):
            row[f"E_{name}"] = float(np.mean([getattr(item, name) for item in items]))
            row[f"Er_{name}"] = float(np.mean([getattr(item, name) / item.opensim - 1 for item in items]))
        table[muscle] = row
    if table:
        figures = [name for name in next(iter(table.values())) if name.startswith("E")]
        table["ALL"] = {name: float(np.mean([row[name] for row in table.values()])) for name in figures}
    return table
