"""The paper's study on anyone's data, for any method: learned and judged in the same folds as the baselines beside it.

NEM2E paper, section 3.2.2 (leave-one-subject-out) and section 4.2 (the check for shortcut learning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.cycle_view import Condition, CycleView
from ..data.gait_cycles import CycleData, MuscleCycles
from ..data.manifest import CycleRecord
from ..data.samples import Samples
from ..errors import TrainingError
from ..methods.base import Common, Fitted, Plan, RunSettings
from ..methods.registry import BASELINES, REFERENCE, find_method
from ..signals.compare import cycle_errors, warp_cycle
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained
from .bundle_training import check_network
from .splits import Fold, Splitting, check_blind, compare_blind, scramble, split_folds, training_rows

Array = NDArray[np.float64]

#: The check for shortcut learning changes every cycle so many times,
DRAWS = 8
#: its frequency by a factor between these (evenly on a logarithmic scale), its phase by anything.
FREQUENCIES = (0.5, 2.0)


@dataclass(frozen=True)
class FoldOutcome:
    """What the methods made of the cycles of one muscle that were left out.

    Parameters
    ----------
    seed : int
        Of what is drawn at random in training.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input.
    muscle : str
        Standard name of the target.
    held_out : str
        What was left out.
    test : MuscleCycles
        The cycles that were left out.
    emg : ndarray, shape (cycles, samples)
        Measured.
    curves : dict of str to ndarray, shape (cycles, samples)
        Estimates by method: the simulation, the methods that are judged, and the baselines.
    changed_errors : dict of str to ndarray, shape (cycles,)
        E of each judged method, mean over randomly changed inputs (:func:`changed_inputs`).
    attention : dict of str to ndarray, shape (samples, encoder steps)
        Attention weights of each judged method that has some, mean over the cycles.
    trained : dict of str to Trained
        The networks of the judged methods that train one, with their loss histories.
    parameters : dict of str to dict
        What each method chose on its training cycles.
    """

    seed: int
    condition: Condition
    muscle: str
    held_out: str
    test: MuscleCycles = field(repr=False)
    emg: Array = field(repr=False)
    curves: Mapping[str, Array] = field(repr=False)
    changed_errors: Mapping[str, Array] = field(repr=False)
    attention: Mapping[str, Array] = field(repr=False)
    trained: Mapping[str, Trained] = field(repr=False)
    parameters: Mapping[str, Mapping[str, float]] = field(repr=False)


@dataclass(frozen=True)
class _Unit:
    """One muscle with something left out, in one condition and with one seed."""

    condition: Condition
    seed: int
    fold: Fold

    def name(self, key: str) -> str:
        """Name the network of a method, fit for a folder."""
        return f"{key}_{self.condition}_{self.fold.muscle}_without_{file_name(self.fold.held_out)}_seed{self.seed}"


@dataclass
class CrossValidation:
    """A study: what is learned in every fold, and what has come of it.

    Parameters
    ----------
    data : mapping of str to CycleData
        All cycles by condition, on the condition's own grid.
    methods : mapping of str to object
        Keys of the methods that are judged, with their options.
    seeds : sequence of int
        Every method is learned once with each.
    splitting : {'leave_one_subject_out', 'leave_one_laboratory_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out.
    baselines : sequence of str
        Keys of the methods that stand beside them, with their own default options.
    threads : int
        Threads of one network's computation.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        No muscle has anything to leave out.
    """

    data: Mapping[Condition, CycleData]
    methods: Mapping[str, Any]
    seeds: Sequence[int]
    splitting: Splitting = "leave_one_subject_out"
    baselines: Sequence[str] = BASELINES
    threads: int = 1
    jobs: list[Job] = field(init=False, default_factory=list)
    #: The largest number of epochs of a network; known once the study was checked.
    most_epochs: int = field(init=False, default=0)
    #: Muscles, by condition, whose cycles cannot be split.
    unsplit: dict[Condition, list[str]] = field(init=False, default_factory=dict)
    _units: list[_Unit] = field(init=False, default_factory=list)
    _views: dict[Condition, CycleView] = field(init=False, default_factory=dict)
    _ordered: dict[Condition, Samples] = field(init=False, default_factory=dict)
    _common: dict[tuple[str, Condition, str], Common | None] = field(init=False, default_factory=dict)
    _fitted: dict[tuple[str, Condition, str, str], Fitted] = field(init=False, default_factory=dict)
    _learned: dict[_Key, dict[str, tuple[Fitted, Trained | None]]] = field(init=False, default_factory=dict)
    _outcomes: dict[_Key, FoldOutcome] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        folds: dict[Condition, list[Fold]] = {}
        for condition, data in self.data.items():
            # In an order of their own, so that no result depends on that of the manifest or of a file's columns.
            self._ordered[condition] = data.samples.ordered()
            view = replace(data.view, input_muscles=tuple(sorted(data.view.input_muscles)))
            self._views[condition] = view
            folds[condition] = []
            for muscle in data.muscles:
                found = list(split_folds(self._ordered[condition], muscle, view, self.splitting))
                folds[condition] += found
                if not found:
                    self.unsplit.setdefault(condition, []).append(muscle)
        self._units = [
            _Unit(condition, seed, fold) for seed in self.seeds for condition in self.data for fold in folds[condition]
        ]
        if not self._units:
            raise TrainingError(
                f"The splitting {self.splitting} leaves nothing to learn from, or nothing to judge by, for any muscle: "
                f"it needs at least two {_NEEDED[self.splitting]}."
            )
        for unit in self._units:
            for key in self.methods:
                if self._weights(key, unit):
                    task, done = partial(self._task, key, unit), partial(self._keep, key, unit)
                    self.jobs.append(Job(unit.name(key), task, done))

    def check(self) -> None:
        """Prepare everything that is learned once, and see that nothing in it depends on what is left out.

        Raises
        ------
        opensim_nem2e.evaluation.splits.LeakError
            Something does, or training and left-out cycles overlap.
        opensim_nem2e.errors.TrainingError
            Something cannot be learned.
        """
        for unit in self._units:
            first = unit.seed == self.seeds[0]
            if first:
                unit.fold.check_apart(self.splitting)
            for key in (*self.methods, *(self.baselines if first else ())):
                plan = self._plan(key, unit, unit.fold)
                check_network(key, plan, self._weights(key, unit))
                if plan.task is not None and key not in self.methods:
                    raise TrainingError(
                        f"The method '{key}' trains a network, so it cannot be a baseline: name it among the methods "
                        "that are judged."
                    )
                if plan.task is not None:
                    self.most_epochs = max(self.most_epochs, plan.task.most_epochs)
                # With another seed another subject may decide when to stop; all else is the same.
                if first or (plan.task is not None and plan.task.held is not None):
                    check_blind(partial(self._evidence, key, unit), unit.fold)
        for (key, condition, held_out), common in self._common.items():
            if common is not None:
                self._check_common_blind(key, condition, held_out, common)

    @property
    def weights(self) -> int:
        """Weights of the largest network."""
        return max((self._weights(key, unit) for unit in self._units for key in self.methods), default=0)

    @property
    def outcomes(self) -> list[FoldOutcome]:
        """What has come of it, by seed, condition, muscle and fold, in this order; networks under way are left out."""
        for unit in self._units:
            self._judge_if_ready(unit)
        return [self._outcomes[key] for unit in self._units if (key := _key(unit)) in self._outcomes]

    def _options(self, key: str) -> Any:
        return self.methods[key] if key in self.methods else find_method(key).options()

    def _weights(self, key: str, unit: _Unit) -> int:
        view = unit.fold.view
        inputs = len(view.inputs_of(unit.fold.muscle))
        return find_method(key).weight_count(inputs, view, self._options(key))

    def _plan(self, key: str, unit: _Unit, fold: Fold) -> Plan:
        common = self._common_part(key, unit.condition, unit.fold.held_out)
        run = RunSettings(unit.seed, self.threads)
        return find_method(key).plan(fold.train, fold.muscle, fold.view, self._options(key), run, common)

    def _evidence(self, key: str, unit: _Unit, fold: Fold) -> dict[str, NDArray[Any]]:
        """Take what a method says that it learned, and what can be seen of that whatever it says."""
        plan = self._plan(key, unit, fold)
        found = dict(plan.evidence)
        if plan.task is not None:
            found |= {f"array '{name}' of the training": array for name, array in plan.task.arrays().items()}
        else:
            fitted = plan.finish(None)
            found |= {f"array '{name}'": array for name, array in fitted.arrays().items()}
            found["description"] = np.array([repr(sorted(fitted.description().items()))])
        if key in self.methods:
            return found
        return {f"baseline '{key}'": np.frombuffer(b"".join(found[name].tobytes() for name in sorted(found)), np.uint8)}

    def _task(self, key: str, unit: _Unit) -> Task:
        plan = self._plan(key, unit, unit.fold)
        assert plan.task is not None
        return watch_left_out(plan, unit.fold.test)

    def _common_part(self, key: str, condition: Condition, held_out: str) -> Common | None:
        """Fit what the muscles of a method share, once: it is the same for every seed."""
        place = (key, condition, held_out)
        if place not in self._common:
            samples = self._ordered[condition]
            train = samples.select(training_rows(samples, held_out, self.splitting))
            self._common[place] = find_method(key).common(train, self._views[condition], self._options(key))
        return self._common[place]

    def _check_common_blind(self, key: str, condition: Condition, held_out: str, common: Common) -> None:
        samples = self._ordered[condition]
        rows = training_rows(samples, held_out, self.splitting)
        changed = scramble(samples, ~rows).select(rows)
        after = find_method(key).common(changed, self._views[condition], self._options(key))
        assert after is not None
        for muscle in self.data[condition].muscles:
            compare_blind(common.evidence(muscle), after.evidence(muscle), f"{muscle} without {held_out}")

    def _keep(self, key: str, unit: _Unit, trained: Trained) -> None:
        fitted = self._plan(key, unit, unit.fold).finish(trained)
        self._learned.setdefault(_key(unit), {})[key] = (fitted, trained)
        self._judge_if_ready(unit)

    def _judge_if_ready(self, unit: _Unit) -> None:
        """Judge the methods of a fold once all of its networks are there."""
        key = _key(unit)
        learned = self._learned.setdefault(key, {})
        if key in self._outcomes or any(self._weights(name, unit) and name not in learned for name in self.methods):
            return
        found: dict[str, tuple[Fitted, Trained | None]] = {}
        for name in self.methods:
            if name not in learned:
                learned[name] = (self._plan(name, unit, unit.fold).finish(None), None)
            found[name] = learned[name]
        self._outcomes[key] = judge(unit.fold, unit.condition, unit.seed, found, dict(self._beside(unit)))
        del self._learned[key]

    def _beside(self, unit: _Unit) -> Iterator[tuple[str, Fitted]]:
        """Learn the baselines of a fold, once: they know no seed."""
        for name in self.baselines:
            place = (name, unit.condition, unit.fold.muscle, unit.fold.held_out)
            if place not in self._fitted:
                self._fitted[place] = self._plan(name, unit, unit.fold).finish(None)
            yield name, self._fitted[place]


_Key = tuple[Condition, int, str, str]


def _key(unit: _Unit) -> _Key:
    return (unit.condition, unit.seed, unit.fold.muscle, unit.fold.held_out)


_NEEDED = {
    "leave_one_subject_out": "subjects",
    "leave_one_laboratory_out": "laboratories (column dataset)",
    "leave_one_speed_out": "speeds (column speed_m_s) of the same subject",
    "leave_one_trial_out": "trials of the same subject",
}


def watch_left_out(plan: Plan, left_out: Samples) -> Task:
    """Have the loss on left-out samples recorded epoch by epoch, as in the paper's figure 5.

    It is recorded only where nothing hangs on it: with early stopping the validation loss decides when to stop, and
    stays that of the training subject kept for this.

    Parameters
    ----------
    plan : Plan
        A training without these samples.
    left_out : Samples
        The samples that were left out.

    Returns
    -------
    Task
        The training, which gives the very same weights.
    """
    assert plan.task is not None
    if plan.task.held is not None or plan.held is None:
        return plan.task
    return replace(plan.task, held=plan.held(left_out))


def judge(
    fold: Fold,
    condition: Condition,
    seed: int,
    learned: Mapping[str, tuple[Fitted, Trained | None]],
    beside: Mapping[str, Fitted],
) -> FoldOutcome:
    """Apply methods and baselines to the cycles that were left out.

    Parameters
    ----------
    fold : Fold
        The fold.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    seed : int
        What the methods were learned with.
    learned : mapping of str to tuple
        By method, what it learned of the fold's training cycles, and the network that was trained for it.
    beside : mapping of str to Fitted
        The baselines, learned from the same cycles.

    Returns
    -------
    FoldOutcome
        Curves on the 20-sample grid of the cycle, in every condition.
    """
    test, view = fold.test_cycles, fold.view
    emg = view.on_grid(test.y)
    curves = {REFERENCE: view.on_grid(test.own)}
    changed: dict[str, Array] = {}
    attention: dict[str, Array] = {}
    for key, (fitted, _) in learned.items():
        found = fitted.predict({"activation": _inputs_of(fitted, test), **test.about})
        curves[key] = view.on_grid(found.values)
        if found.attention is not None:
            attention[key] = view.on_grid(found.attention).mean(axis=0)
        errors = np.zeros(len(emg))
        for draw in range(DRAWS):
            other = replace(test, x=changed_inputs(test.x, test.records, seed, draw))
            values = fitted.predict({"activation": _inputs_of(fitted, other), **test.about}).values
            errors += cycle_errors(view.on_grid(values), emg) / DRAWS
        changed[key] = errors
    for key, fitted in beside.items():
        curves[key] = view.on_grid(fitted.predict({"activation": _inputs_of(fitted, test), **test.about}).values)
    everything = {**{key: fitted for key, (fitted, _) in learned.items()}, **beside}
    return FoldOutcome(
        seed=seed,
        condition=condition,
        muscle=fold.muscle,
        held_out=fold.held_out,
        test=test,
        emg=emg,
        curves=curves,
        changed_errors=changed,
        attention=attention,
        trained={key: trained for key, (_, trained) in learned.items() if trained is not None},
        parameters={key: dict(fitted.chosen) for key, fitted in everything.items()},
    )


def _inputs_of(fitted: Fitted, cycles: MuscleCycles) -> Array:
    """Give a method the input muscles it asks for; a baseline may take the muscle's own activation only."""
    if fitted.inputs == cycles.inputs:
        return cycles.x
    own = f"ipsi:{cycles.target}"
    columns = [
        cycles.own if name == own and name not in cycles.inputs else cycles.x[:, :, cycles.inputs.index(name)]
        for name in fitted.inputs
    ]
    return np.stack(columns, axis=2)


def changed_inputs(x: Array, records: Sequence[CycleRecord], seed: int, draw: int) -> Array:
    """Change frequency and phase of every cycle at random, all of its muscles alike.

    A method that refines what it is given gets worse by this; one that has learned the average waveform does not notice
    (NEM2E paper, section 4.2).

    Parameters
    ----------
    x : ndarray, shape (cycles, samples, inputs)
        Activations.
    records : sequence of CycleRecord, length cycles
        Which cycles these are: a cycle is changed alike wherever it stands.
    seed, draw : int
        Different ones give different changes.

    Returns
    -------
    ndarray, shape (cycles, samples, inputs)
        Changed activations.
    """
    low, high = np.log2(FREQUENCIES)
    changed = []
    for cycle, record in zip(x, records, strict=True):
        key = f"{seed} {draw} {record.name} {record.side} {record.start!r}"
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
        changed.append(warp_cycle(cycle, 2.0 ** random.uniform(low, high), random.random()))
    return np.stack(changed)
