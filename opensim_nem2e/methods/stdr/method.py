"""From the cycles of a target muscle to a finished network, and to the error it makes on people it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...data.gait_cycles import TargetData
from ...errors import TrainingError
from ...signals.compare import cycle_errors
from ...training.task import Epoch, ModuleSpec, Task, Trained, TrainingSettings
from ..baselines import mean_profile, ridge
from ..bundle import Network, refine_cycles
from .conditions import Condition, Score, Variant, split_cycle, variant_of, windows_per_cycle
from .fit_linear import LinearFit, fit_linear
from .forward import weight_shapes
from .linear_part import LinearPart

Array = NDArray[np.float64]
Output = Literal["emg", "deviation", "correction"]


@dataclass(frozen=True)
class Recipe:
    """All that decides how cycles become a network.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    settings : TrainingSettings
        How the network is trained.
    samples : int
        Samples of one network window.
    output : {'emg', 'deviation', 'correction'}
        What the network's output means: the EMG itself (the paper); its deviation from the mean EMG window of the
        training data in units of that deviation's standard deviation (the mean window is the mean cycle, or for
        One-Quarter the mean of all quarters); or the correction of a linear prediction
        (:mod:`opensim_nem2e.methods.stdr.fit_linear`), in units of the standard deviation of the error which that
        prediction makes for people it was not fitted to.
    correction_weight : float
        The share of the network's correction that is added to the linear prediction. Less than 1 because what a
        network learns from few people holds for others only in part.
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        Luong's score function.
    teacher_forcing : float
        Share of the training steps in which the decoder is fed the measured EMG.
    """

    condition: Condition
    settings: TrainingSettings
    samples: int = 20
    output: Output = "emg"
    correction_weight: float = 0.5
    hidden: int = 700
    score: Score = "general"
    teacher_forcing: float = 1.0

    def module(self, inputs: int) -> ModuleSpec:
        """Say how the network is built.

        Parameters
        ----------
        inputs : int
            Input muscles.

        Returns
        -------
        ModuleSpec
            The network.
        """
        variant = variant_of(self.condition)
        return module_of(variant, inputs, self.samples, self.hidden, self.score, self.teacher_forcing)


def module_of(
    variant: Variant, inputs: int, samples: int, hidden: int, score: Score, teacher_forcing: float
) -> ModuleSpec:
    """Say how an :class:`opensim_nem2e.methods.stdr.net.STDRNet` is built.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    inputs, samples, hidden : int
        Its sizes.
    score : {'dot', 'general'}
        Luong's score function.
    teacher_forcing : float
        Share of the training steps in which the decoder is fed the measured EMG.

    Returns
    -------
    ModuleSpec
        The network.
    """
    arguments = {"variant": variant, "inputs": inputs, "samples": samples, "hidden": hidden, "score": score}
    return ModuleSpec(
        "opensim_nem2e.methods.stdr.net:STDRNet", {**arguments, "teacher_forcing": float(teacher_forcing)}
    )


@dataclass(frozen=True)
class Plan:
    """The training of the network of one target muscle, and what turns its result into a network for a bundle.

    Parameters
    ----------
    task : Task
        The training.
    inputs : tuple of str
        Side-neutral names of the input muscles.
    output_offset : ndarray, shape (samples,)
        What is added to the network's output.
    output_scale : ndarray, shape (1,)
        What the network's output is multiplied by.
    linear : LinearPart, optional
        What the network's output corrects.
    """

    task: Task
    inputs: tuple[str, ...]
    output_offset: NDArray[np.float32]
    output_scale: NDArray[np.float32]
    linear: LinearPart | None = None

    def network(self, trained: Trained) -> Network:
        """Join weights and normalisation.

        Parameters
        ----------
        trained : Trained
            What came of the task.

        Returns
        -------
        Network
            For a bundle.
        """
        return Network(
            inputs=self.inputs,
            score=self.task.module.arguments["score"],
            weights=trained.weights,
            input_offset=np.zeros(len(self.inputs), np.float32),
            input_scale=np.ones(len(self.inputs), np.float32),
            output_offset=self.output_offset,
            output_scale=self.output_scale,
            linear=self.linear,
        )


def fit_linear_parts(sets: Mapping[str, TargetData], recipe: Recipe) -> Mapping[str, LinearFit]:
    """Fit what the networks are to correct, if that is what they are to do.

    Parameters
    ----------
    sets : mapping of str to TargetData
        The training cycles of all target muscles, which share what they have in common.
    recipe : Recipe
        How.

    Returns
    -------
    mapping of str to LinearFit
        By target; empty unless the recipe's output is ``correction``.
    """
    return fit_linear(sets, recipe.condition, recipe.samples) if recipe.output == "correction" else {}


def plan_target(data: TargetData, recipe: Recipe, linear: LinearFit | None = None) -> Plan:
    """Prepare the training of the network of one target muscle.

    With ``patience`` set, one subject, chosen by the seed, is first kept out of the training to find the number of
    epochs; the network is then trained on all subjects for this number.

    Parameters
    ----------
    data : TargetData
        The training cycles, at ``cycle_samples(condition, samples)`` samples.
    recipe : Recipe
        How.
    linear : LinearFit, optional
        What the network is to correct, fitted to the same cycles (:func:`fit_linear_parts`). By default it is fitted
        here, to this target alone.

    Returns
    -------
    Plan
        The training.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no cycles; or ``patience`` is set and there is one subject only.
    """
    if not data.trials:
        raise TrainingError(f"There are no cycles to train the network of '{data.target}' on.")
    if recipe.output == "correction" and linear is None:
        linear = fit_linear_parts({data.target: data}, recipe)[data.target]
    normal = _Normalisation.of(data, recipe, linear)
    windows, held = normal.windows(data, recipe, normal.base), None
    everything = None
    if recipe.settings.patience:
        subjects = sorted(set(data.subjects.tolist()))
        if len(subjects) < 2:
            raise TrainingError(
                f"Early stopping needs at least two subjects for '{data.target}': one shows when to stop; "
                f"found {len(subjects)}. Set the patience to 0 to train for a fixed number of epochs."
            )
        chosen = subjects[int(np.random.default_rng(recipe.settings.seed).integers(len(subjects)))]
        rest, left_out = data.leave_out([chosen])
        everything = windows
        if linear is None:
            # What is left out has no share in the normalisation either.
            inner = _Normalisation.of(rest, recipe, None)
            windows, held = inner.windows(rest, recipe, inner.base), inner.windows(left_out, recipe, inner.base)
        else:
            # What is to be corrected was predicted without the subject it is predicted for.
            kept = np.repeat(data.subjects != chosen, len(windows["x"]) // len(data.subjects))
            held = {name: values[~kept] for name, values in windows.items()}
            windows = {name: values[kept] for name, values in windows.items()}
    task = Task(recipe.module(len(data.inputs)), recipe.settings, windows, held, everything)
    weight = recipe.correction_weight if linear is not None else 1.0
    return Plan(
        task,
        data.inputs,
        normal.offset.astype(np.float32),
        np.array([weight * normal.scale], np.float32),
        None if linear is None else linear.part,
    )


def watch_left_out(plan: Plan, left_out: TargetData, recipe: Recipe) -> Task:
    """Have the loss on left-out cycles recorded epoch by epoch, as in the paper's figure 5.

    It is recorded only where nothing hangs on it: with early stopping the validation loss decides when to stop, and
    stays that of the training subject kept for this.

    Parameters
    ----------
    plan : Plan
        The training without these cycles.
    left_out : TargetData
        The cycles that were left out.
    recipe : Recipe
        How the network is trained.

    Returns
    -------
    Task
        The training, which gives the very same weights.
    """
    if recipe.settings.patience:
        return plan.task
    weight = recipe.correction_weight if plan.linear is not None else 1.0
    base = plan.output_offset.astype(np.float64)
    normal = _Normalisation(base, base, float(plan.output_scale[0]) / weight)
    if plan.linear is not None:
        base = base + plan.linear.predict(split_cycle(left_out.x, recipe.condition, recipe.samples))
    return replace(plan.task, held=normal.windows(left_out, recipe, base))


def count_weights(recipe: Recipe, inputs: int) -> int:
    """Count the weights of a network.

    Parameters
    ----------
    recipe : Recipe
        How it is trained.
    inputs : int
        Input muscles.

    Returns
    -------
    int
        Numbers to learn.
    """
    shapes = weight_shapes(variant_of(recipe.condition), inputs, recipe.samples, recipe.hidden, recipe.score)
    return sum(math.prod(shape) for shape in shapes.values())


def train_target(
    data: TargetData, recipe: Recipe, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[Network, Trained]:
    """Train the network of one target muscle in this process.

    Parameters
    ----------
    data : TargetData
        As in :func:`plan_target`.
    recipe : Recipe
        How.
    on_epoch : callable, optional
        Told of every epoch as it ends.

    Returns
    -------
    network : Network
        Weights and normalisation, for a bundle.
    trained : Trained
        The loss history.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        As in :func:`plan_target`; or training diverged.
    """
    # Here, not above: what plans and judges trainings does not need PyTorch.
    from ...training.trainer import train_task

    plan = plan_target(data, recipe)
    trained = train_task(plan.task, on_epoch=on_epoch)
    return plan.network(trained), trained


def estimate(network: Network, data: TargetData, recipe: Recipe) -> Array:
    """Refine cycles with a network that was just trained, by the very code that refines with a bundle.

    Parameters
    ----------
    network : Network
        The network.
    data : TargetData
        The cycles.
    recipe : Recipe
        What the network was trained with.

    Returns
    -------
    ndarray, shape (cycles, cycle_samples)
        The estimate of the EMG.
    """
    return refine_cycles(network, data.x, recipe.condition, recipe.samples)[0]


@dataclass(frozen=True)
class _Normalisation:
    """What the network's output is counted from, and in.

    ``offset`` (samples,) belongs to the finished network; ``base``, (samples,) or (windows, samples), is what the
    training windows are counted from.
    """

    offset: Array
    base: Array
    scale: float

    @classmethod
    def of(cls, data: TargetData, recipe: Recipe, linear: LinearFit | None) -> _Normalisation:
        if recipe.output == "emg":
            zero = np.zeros(recipe.samples)
            return cls(zero, zero, 1.0)
        y = split_cycle(data.y, recipe.condition, recipe.samples)
        if linear is not None:
            offset, base = linear.constant, linear.cross_fitted
        else:
            offset = base = y.mean(axis=0)
        # With one cycle, or cycles that are all alike, there is no deviation to scale by.
        return cls(offset, base, max(float((y - base).std()), 1e-3))

    def windows(self, data: TargetData, recipe: Recipe, base: Array) -> dict[str, NDArray[np.float32]]:
        """Cut cycles into the windows of a training."""
        x = split_cycle(data.x, recipe.condition, recipe.samples)
        y = split_cycle(data.y, recipe.condition, recipe.samples)
        return {"x": x.astype(np.float32), "y": ((y - base) / self.scale).astype(np.float32)}


# --- errors on people who were left out -------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubjectErrors:
    """Errors on one subject's cycles by networks that have not seen this subject: means over the cycles.

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
        E of the network.
    mean : float
        E of the mean EMG cycle of the training subjects.
    ridge : float
        E of ridge regression on the target muscle's own activation.
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


def subject_errors(train_data: TargetData, test: TargetData, network: Network, recipe: Recipe) -> list[SubjectErrors]:
    """Compare a network with OpenSim and with the baselines, subject by subject.

    For One-Quarter the cycle is put together again and the error is taken on its 20-sample grid.

    Parameters
    ----------
    train_data : TargetData
        What the network was trained on; the baselines learn from it.
    test : TargetData
        Cycles of other subjects.
    network : Network
        The network.
    recipe : Recipe
        What it was trained with.

    Returns
    -------
    list of SubjectErrors
        One per subject of ``test``.
    """
    step = windows_per_cycle(recipe.condition)
    y = test.y[:, ::step]
    errors = {
        "opensim": cycle_errors(test.own[:, ::step], y),
        "refined": cycle_errors(estimate(network, test, recipe)[:, ::step], y),
        "mean": cycle_errors(mean_profile(train_data.y[:, ::step]), y),
        "ridge": cycle_errors(ridge(train_data.own[:, ::step], train_data.y[:, ::step], test.own[:, ::step]), y),
    }
    found = []
    for subject in dict.fromkeys(test.subjects.tolist()):
        rows = test.subjects == subject
        means = {name: float(values[rows].mean()) for name, values in errors.items()}
        found.append(SubjectErrors(test.target, subject, int(rows.sum()), **means))
    return found


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
