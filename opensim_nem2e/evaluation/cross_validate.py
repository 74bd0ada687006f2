"""The paper's study on anyone's data: networks and baselines in the same folds, judged on cycles they have not seen.

NEM2E paper, section 3.2.2 (leave-one-subject-out) and section 4.2 (the check for shortcut learning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..data.gait_cycles import TargetData
from ..data.manifest import Trial
from ..errors import TrainingError
from ..methods.baselines import BASELINES, Baseline
from ..methods.bundle import Network, refine_cycles
from ..methods.stdr.conditions import Condition, join_cycle, windows_per_cycle
from ..methods.stdr.fit_linear import LinearFit
from ..methods.stdr.method import Plan, Recipe, count_weights, estimate, fit_linear_parts, plan_target, watch_left_out
from ..signals.compare import cycle_errors, warp_cycle
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained
from .splits import Fold, Splitting, check_blind, compare_blind, scramble, split_folds, training_rows

Array = NDArray[np.float64]

#: The check for shortcut learning changes every cycle so many times,
DRAWS = 8
#: its frequency by a factor between these (evenly on a logarithmic scale), its phase by anything.
FREQUENCIES = (0.5, 2.0)


@dataclass(frozen=True)
class Learned:
    """What is learned from the training cycles of a fold before and beside the network.

    Parameters
    ----------
    plan : Plan
        The network's training.
    baselines : dict of str to Baseline
        The baselines.
    """

    plan: Plan
    baselines: Mapping[str, Baseline]

    def evidence(self) -> dict[str, NDArray]:
        """Give every number that the results of the fold rest on.

        Returns
        -------
        dict of str to ndarray
            By what it is.
        """
        task = self.plan.task
        return {
            "output scaler": np.concatenate([self.plan.output_offset, self.plan.output_scale]),
            "training settings": np.array([repr(task.settings)]),
            **{_IN_WORDS.get(name, f"training data '{name}'"): values for name, values in task.arrays().items()},
            **{f"baseline '{name}'": fitted.evidence for name, fitted in self.baselines.items()},
        }


#: What the arrays of a training are.
_IN_WORDS = {
    "x": "activations to train on",
    "y": "EMG to train on",
    "held_x": "activations that decide when to stop",
    "held_y": "EMG that decides when to stop",
}


def learn(
    fold: Fold, recipe: Recipe, baselines: Sequence[str] = tuple(BASELINES), linear: LinearFit | None = None
) -> Learned:
    """Prepare a fold's network and fit its baselines, from its training cycles only.

    Parameters
    ----------
    fold : Fold
        The fold.
    recipe : Recipe
        How networks are trained.
    baselines : sequence of {'mean', 'shift', 'ridge'}
        Which baselines.
    linear : LinearFit, optional
        What the network is to correct (:func:`opensim_nem2e.methods.stdr.method.plan_target`).

    Returns
    -------
    Learned
        All that is learned beside the network.
    """
    train = fold.train
    fitted = {name: BASELINES[name](train, recipe.condition, recipe.samples) for name in baselines}
    return Learned(plan_target(train, recipe, linear), fitted)


def _evidence(recipe: Recipe, baselines: Sequence[str], linear: LinearFit | None, fold: Fold) -> dict[str, NDArray]:
    return learn(fold, recipe, baselines, linear).evidence()


@dataclass(frozen=True)
class Outcome:
    """What one network and the baselines made of the cycles that were left out.

    Parameters
    ----------
    seed : int
        Of the network.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input.
    muscle : str
        Standard name of the target.
    held_out : str
        What was left out.
    test : TargetData
        The cycles that were left out.
    emg : ndarray, shape (cycles, samples)
        Measured.
    curves : dict of str to ndarray, shape (cycles, samples)
        Estimates by method: ``opensim``, ``stdr_net`` and the baselines.
    attention : ndarray, shape (samples, encoder steps)
        The network's attention weights, mean over the cycles.
    changed_errors : ndarray, shape (cycles,)
        E of the network, mean over randomly changed inputs (:func:`changed_inputs`).
    trained : Trained
        The network with its loss history.
    parameters : dict of str to dict
        What each baseline chose.
    """

    seed: int
    condition: Condition
    muscle: str
    held_out: str
    test: TargetData = field(repr=False)
    emg: Array = field(repr=False)
    curves: Mapping[str, Array] = field(repr=False)
    attention: Array = field(repr=False)
    changed_errors: Array = field(repr=False)
    trained: Trained = field(repr=False)
    parameters: Mapping[str, Mapping[str, float]] = field(repr=False)


@dataclass
class CrossValidation:
    """The networks of a study, and what has come of them.

    Parameters
    ----------
    datasets : mapping of str to mapping of str to TargetData
        All cycles by condition and target muscle, on the condition's own grid.
    recipes : mapping of str to Recipe
        How networks are trained, by condition; the seed in it is replaced.
    seeds : sequence of int
        Every network is trained once with each.
    splitting : {'leave_one_subject_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out.
    baselines : sequence of {'mean', 'shift', 'ridge'}
        Which baselines stand beside the networks.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        No muscle has anything to leave out.
    """

    datasets: Mapping[Condition, Mapping[str, TargetData]]
    recipes: Mapping[Condition, Recipe]
    seeds: Sequence[int]
    splitting: Splitting = "leave_one_subject_out"
    baselines: Sequence[str] = tuple(BASELINES)
    jobs: list[Job] = field(init=False, default_factory=list)
    #: The largest number of epochs of a network; known once the study was checked.
    most_epochs: int = field(init=False, default=0)
    #: Muscles, by condition, whose cycles cannot be split.
    unsplit: dict[Condition, list[str]] = field(init=False, default_factory=dict)
    _work: list[tuple[Recipe, Fold]] = field(init=False, default_factory=list)
    _ordered: dict[Condition, dict[str, TargetData]] = field(init=False, default_factory=dict)
    _fitted: dict[tuple[str, ...], Mapping[str, Baseline]] = field(init=False, default_factory=dict)
    _linear: dict[tuple[Condition, str], Mapping[str, LinearFit]] = field(init=False, default_factory=dict)
    _outcomes: dict[str, Outcome] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        folds: dict[Condition, list[Fold]] = {}
        for condition, targets in self.datasets.items():
            folds[condition] = []
            # In an order of their own, so that no result depends on that of the manifest or of a file's columns.
            self._ordered[condition] = {target: data.ordered() for target, data in targets.items()}
            for target, data in self._ordered[condition].items():
                found = list(split_folds(data, self.splitting))
                folds[condition] += found
                if not found:
                    self.unsplit.setdefault(condition, []).append(target)
        for seed in self.seeds:
            for condition, recipe in self.recipes.items():
                own = replace(recipe, settings=replace(recipe.settings, seed=seed))
                self._work += [(own, fold) for fold in folds[condition]]
        for recipe, fold in self._work:
            name = (
                f"{recipe.condition}_{file_name(fold.data.target)}_without_{file_name(fold.held_out)}"
                f"_seed{recipe.settings.seed}"
            )
            task, done = partial(self._task, fold, recipe), partial(self._judge, name, fold, recipe)
            self.jobs.append(Job(name, task, done))
        if not self.jobs:
            raise TrainingError(
                f"The splitting {self.splitting} leaves nothing to learn from, or nothing to judge by, for any muscle: "
                f"it needs at least two {_NEEDED[self.splitting]}."
            )

    def check(self) -> None:
        """Prepare every training once, and see that nothing in it depends on the cycles that are left out.

        Raises
        ------
        opensim_nem2e.evaluation.splits.LeakError
            Something does, or training and left-out cycles overlap.
        opensim_nem2e.errors.TrainingError
            A training cannot be prepared.
        """
        for recipe, fold in self._work:
            self.most_epochs = max(self.most_epochs, self._task(fold, recipe).most_epochs)
            # Baselines know no seed; of the network's preparation, who decides when to stop does.
            first = recipe.settings.seed == self.seeds[0]
            if first:
                fold.check_apart(self.splitting)
            if first or recipe.settings.patience:
                linear = self._linear_part(fold, recipe)
                check_blind(partial(_evidence, recipe, self.baselines if first else (), linear), fold)
        for (condition, held_out), fits in self._linear.items():
            if fits:
                self._check_linear_blind(condition, held_out, fits)

    @property
    def weights(self) -> int:
        """Weights of the largest network."""
        return max(
            count_weights(self.recipes[condition], len(data.inputs))
            for condition, targets in self.datasets.items()
            for data in targets.values()
        )

    @property
    def outcomes(self) -> list[Outcome]:
        """What has come of the finished networks, by seed, condition, muscle and fold, in this order."""
        return [self._outcomes[job.name] for job in self.jobs if job.name in self._outcomes]

    def _task(self, fold: Fold, recipe: Recipe) -> Task:
        return watch_left_out(plan_target(fold.train, recipe, self._linear_part(fold, recipe)), fold.test, recipe)

    def _linear_part(self, fold: Fold, recipe: Recipe) -> LinearFit | None:
        """Fit what all networks of a fold correct, once: it is the same for every seed, and muscles share a part."""
        key = (recipe.condition, fold.held_out)
        if key not in self._linear:
            self._linear[key] = self._fit_linear(*key, self._ordered[recipe.condition])
        return self._linear[key].get(fold.data.target)

    def _fit_linear(
        self, condition: Condition, held_out: str, datasets: Mapping[str, TargetData]
    ) -> Mapping[str, LinearFit]:
        sets = {
            target: data.select(training_rows(data, held_out, self.splitting))
            for target, data in sorted(datasets.items())
        }
        return fit_linear_parts(sets, self.recipes[condition])

    def _check_linear_blind(self, condition: Condition, held_out: str, fits: Mapping[str, LinearFit]) -> None:
        changed = {
            target: scramble(data, ~training_rows(data, held_out, self.splitting))
            for target, data in self._ordered[condition].items()
        }
        after = self._fit_linear(condition, held_out, changed)
        for target, fit in fits.items():
            compare_blind(fit.evidence(), after[target].evidence(), f"{target} without {held_out}")

    def _judge(self, name: str, fold: Fold, recipe: Recipe, trained: Trained) -> None:
        key = (recipe.condition, fold.data.target, fold.held_out)
        baselines = () if key in self._fitted else self.baselines
        learned = learn(fold, recipe, baselines, self._linear_part(fold, recipe))
        fitted = self._fitted.setdefault(key, learned.baselines)
        self._outcomes[name] = judge(fold, learned.plan.network(trained), trained, fitted, recipe)


_NEEDED = {
    "leave_one_subject_out": "subjects",
    "leave_one_speed_out": "speeds (column speed_m_s) of the same person",
    "leave_one_trial_out": "trials of the same person",
}


def judge(fold: Fold, network: Network, trained: Trained, baselines: Mapping[str, Baseline], recipe: Recipe) -> Outcome:
    """Apply a network and the baselines to the cycles that were left out.

    Parameters
    ----------
    fold : Fold
        The fold.
    network : Network
        Trained on the fold's training cycles.
    trained : Trained
        Its loss history.
    baselines : mapping of str to Baseline
        Fitted to the same cycles.
    recipe : Recipe
        What the network was trained with.

    Returns
    -------
    Outcome
        Curves on the 20-sample grid of the cycle, in every condition.
    """
    test = fold.test
    step = windows_per_cycle(recipe.condition)
    y, attention = refine_cycles(network, test.x, recipe.condition, recipe.samples)
    curves = {"opensim": test.own, "stdr_net": y}
    curves |= {name: fitted.estimate(test) for name, fitted in baselines.items()}
    emg = test.y[:, ::step]
    changed = np.zeros(len(emg))
    for draw in range(DRAWS):
        other = replace(test, x=changed_inputs(test.x, test.trials, recipe.settings.seed, draw))
        changed += cycle_errors(estimate(network, other, recipe)[:, ::step], emg) / DRAWS
    # One-Quarter: the rows of a cycle's four windows follow each other.
    windows = attention.reshape(-1, *attention.shape[-2:])
    return Outcome(
        recipe.settings.seed,
        recipe.condition,
        fold.data.target,
        fold.held_out,
        test,
        emg,
        {name: values[:, ::step] for name, values in curves.items()},
        join_cycle(windows, recipe.condition)[:, ::step].mean(axis=0),
        changed,
        trained,
        {name: fitted.parameters for name, fitted in baselines.items()},
    )


def changed_inputs(x: Array, trials: Sequence[Trial], seed: int, draw: int) -> Array:
    """Change frequency and phase of every cycle at random, all of its muscles alike.

    A network that refines what it is given gets worse by this; one that has learned the average waveform does not
    notice (NEM2E paper, section 4.2).

    Parameters
    ----------
    x : ndarray, shape (cycles, samples, inputs)
        Activations.
    trials : sequence of Trial, length cycles
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
    for cycle, trial in zip(x, trials, strict=True):
        key = f"{seed} {draw} {trial.name} {trial.side} {trial.start!r}"
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
        changed.append(warp_cycle(cycle, 2.0 ** random.uniform(low, high), random.random()))
    return np.stack(changed)
