"""STDR-Net as a method: from the cycles of a muscle to a training, and from its weights to a finished network.

NEM2E paper, section 3. What the network's output means, and what a linear prediction has to do with it, is an option
(:class:`.hyperparameters.STDROptions`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...data.cycle_view import CycleView
from ...errors import TrainingError
from ..base import Common, Method, Plan, RunSettings, muscle_cycles
from .forward import Score, Variant, variant_of, weight_shapes
from .hyperparameters import STDROptions
from .network import Network, load_network

if TYPE_CHECKING:
    from ...data.gait_cycles import MuscleCycles
    from ...data.samples import Samples
    from ...training.task import ModuleSpec, Task, Trained, TrainingSettings
    from .fit_linear import LinearFit
    from .guide import Guided

Array = NDArray[np.float64]


class STDRNetMethod(Method):
    """An LSTM sequence-to-sequence network with temporal or spatial attention for each muscle (NEM2E paper)."""

    key = "stdr_net"
    label = "STDR-Net"
    description = "STDR-Net"
    citation = "STDR-Net, a sequence-to-sequence network with attention (Teramae et al. 2025)"
    colour = "#D55E00"
    marker = "o"
    element = "STDRNet"
    options = STDROptions

    def common(self, samples: Samples, view: CycleView, options: STDROptions) -> LinearParts | None:
        """Fit what the networks are to correct, if that is what they are to do: muscles share a part of it."""
        if options.network_output != "correction":
            return None
        from .fit_linear import fit_linear

        sets = {muscle: muscle_cycles(samples, muscle, view) for muscle in sorted(samples.channels.get("emg", ()))}
        sets = {muscle: cycles for muscle, cycles in sets.items() if cycles.records}
        fits = fit_linear(sets, view)
        # A quarter of a cycle does not know its place in the cycle, which a profile is about.
        if options.profiles == "none" or view.windows > 1:
            return LinearParts(fits)
        from .guide import fit_guides

        return LinearParts(fits, fit_guides(samples, sets, fits, view))

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: STDROptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Prepare the training of the network of one muscle (:func:`plan_network`)."""
        if common is None:
            common = self.common(samples, view, options)
        cycles, found = muscle_cycles(samples, part, view), cast("LinearParts | None", common)
        if found is None:
            return plan_network(cycles, view, options, run)
        return plan_network(cycles, view, options, run, found.fits.get(part), found.guides.get(part))

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Network:
        """Check weights, normalisation and linear part."""
        return load_network(part, description, arrays, view)

    def weight_count(self, inputs: int, view: CycleView, options: STDROptions) -> int:
        """Count the weights of a network."""
        shapes = weight_shapes(
            variant_of(view.condition), inputs, view.samples, options.hidden_units, options.score_function
        )
        return sum(math.prod(shape) for shape in shapes.values())


@dataclass(frozen=True)
class LinearParts:
    """The linear parts of all muscles.

    Parameters
    ----------
    fits : mapping of str to LinearFit
        By muscle.
    guides : mapping of str to Guided
        The profiles beside them; empty: none.
    """

    fits: Mapping[str, LinearFit]
    guides: Mapping[str, Guided] = field(default_factory=dict)

    def evidence(self, part: str) -> Mapping[str, NDArray[Any]]:
        """Return every number of a muscle's fit.

        Parameters
        ----------
        part : str
            The muscle.

        Returns
        -------
        mapping of str to ndarray
            By what it is.
        """
        guide = self.guides[part].guide.evidence() if part in self.guides else {}
        return {**self.fits[part].evidence(), **guide} if part in self.fits else {}


def training_settings(options: STDROptions, run: RunSettings) -> TrainingSettings:
    """Take what the trainer needs to know.

    Parameters
    ----------
    options : STDROptions
        The method's options.
    run : RunSettings
        Seed and threads.

    Returns
    -------
    TrainingSettings
        The settings.
    """
    from ...training.task import TrainingSettings

    return TrainingSettings(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        gradient_clip=options.gradient_clip,
        patience=options.early_stopping_patience,
        seed=run.seed,
        threads=run.threads,
    )


def module_of(
    variant: Variant, inputs: int, samples: int, hidden: int, score: Score = "general", teacher_forcing: float = 1.0
) -> ModuleSpec:
    """Say how a process builds the network, for a task.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    inputs : int
        Number of input muscles.
    samples : int
        Samples of a window, in and out.
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        Luong's score function.
    teacher_forcing : float
        Share of the training steps in which the decoder is fed the measured EMG.

    Returns
    -------
    ModuleSpec
        Of :class:`opensim_nem2e.methods.stdr.net.STDRNet`.
    """
    from ...training.task import ModuleSpec

    arguments = {"variant": variant, "inputs": inputs, "samples": samples, "hidden": hidden, "score": score}
    return ModuleSpec("opensim_nem2e.methods.stdr.net:STDRNet", {**arguments, "teacher_forcing": teacher_forcing})


def network_task(
    view: CycleView,
    options: STDROptions,
    run: RunSettings,
    windows: Mapping[str, NDArray[np.float32]],
    **parts: Mapping[str, NDArray[np.float32]] | None,
) -> Task:
    """Describe the training of one network.

    Parameters
    ----------
    view : CycleView
        The input condition.
    options : STDROptions
        How it is built and trained.
    run : RunSettings
        Seed and threads.
    windows : mapping of str to ndarray
        ``x``, shape (windows, samples, inputs), and ``y``, shape (windows, samples), both normalised.
    **parts : mapping of str to ndarray, optional
        ``held``, ``everything`` and ``initial`` of :class:`opensim_nem2e.training.task.Task`.

    Returns
    -------
    Task
        The training.
    """
    from ...training.task import Task

    _, samples, inputs = windows["x"].shape
    module = module_of(
        variant_of(view.condition),
        inputs,
        samples,
        options.hidden_units,
        options.score_function,
        options.teacher_forcing,
    )
    return Task(module, training_settings(options, run), windows, **parts)


def plan_network(
    cycles: MuscleCycles,
    view: CycleView,
    options: STDROptions,
    run: RunSettings,
    linear: LinearFit | None = None,
    guided: Guided | None = None,
) -> Plan:
    """Prepare the training of the network of one muscle.

    With early stopping, one subject, chosen by the seed, is first kept out of the training to find the number of
    epochs; the network is then trained on all subjects for this number.

    Parameters
    ----------
    cycles : MuscleCycles
        The training cycles.
    view : CycleView
        The input condition.
    options : STDROptions
        How the network is built and trained.
    run : RunSettings
        Seed and threads.
    linear : LinearFit, optional
        What the network is to correct, fitted to the same cycles; for the network output ``correction`` it is fitted
        to these cycles alone where it is not given.
    guided : Guided, optional
        Profiles beside the network, fitted to the same cycles.

    Returns
    -------
    Plan
        The training.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no cycles; or there is to be early stopping and there is one subject only.
    """
    if not cycles.records:
        raise TrainingError(f"There are no cycles to train the network of '{cycles.target}' on.")
    if options.network_output == "correction" and linear is None:
        from .fit_linear import fit_linear

        linear = fit_linear({cycles.target: cycles}, view)[cycles.target]
    if linear is not None and guided is not None:
        linear = replace(linear, out_of_fold=linear.out_of_fold + view.split(guided.offsets))
    normal = _Normalisation.of(cycles, view, options, linear)
    windows, held = normal.windows(cycles, view, normal.base), None
    everything = None
    if options.early_stopping_patience:
        subjects = sorted(set(cycles.subjects.tolist()))
        if len(subjects) < 2:
            raise TrainingError(
                f"Early stopping needs at least two subjects for '{cycles.target}': one shows when to stop; "
                f"found {len(subjects)}. Set the patience to 0 to train for a fixed number of epochs."
            )
        kept_out = subjects[int(np.random.default_rng(run.seed).integers(len(subjects)))]
        rest, left_out = cycles.leave_out([kept_out])
        everything = windows
        if linear is None:
            # What is left out has no share in the normalisation either.
            inner = _Normalisation.of(rest, view, options, None)
            windows, held = inner.windows(rest, view, inner.base), inner.windows(left_out, view, inner.base)
        else:
            # What is to be corrected was predicted without the subject it is predicted for.
            kept = np.repeat(cycles.subjects != kept_out, len(windows["x"]) // len(cycles.subjects))
            held = {name: array[~kept] for name, array in windows.items()}
            windows = {name: array[kept] for name, array in windows.items()}
    task = network_task(view, options, run, windows, held=held, everything=everything)
    weight = options.correction_weight if linear is not None else 1.0
    output_offset, output_scale = normal.offset.astype(np.float32), np.array([weight * normal.scale], np.float32)
    part = None if linear is None else linear.part

    def finish(trained: Trained | None) -> Network:
        assert trained is not None
        return Network(
            inputs=cycles.inputs,
            score=options.score_function,
            weights=trained.weights,
            input_offset=np.zeros(len(cycles.inputs), np.float32),
            input_scale=np.ones(len(cycles.inputs), np.float32),
            output_offset=output_offset,
            output_scale=output_scale,
            view=view,
            linear=part,
            guide=None if guided is None else guided.guide,
        )

    def record(left_out: Samples) -> Mapping[str, NDArray[Any]]:
        base = output_offset.astype(np.float64)
        outside = _Normalisation(base, base, float(output_scale[0]) / weight)
        others = muscle_cycles(left_out, cycles.target, view)
        if part is not None:
            base = base + part.predict(view.split(others.x))
        if guided is not None:
            base = base + view.split(guided.guide.offset({"activation": others.x, **others.about}))
        return outside.windows(others, view, base)

    evidence = {
        "output scaler": np.concatenate([output_offset, output_scale]),
        "training settings": np.array([repr(astuple(options)), repr(run)]),
        **({} if guided is None else guided.guide.evidence()),
        **{_IN_WORDS.get(name, f"training data '{name}'"): array for name, array in task.arrays().items()},
    }
    return Plan(finish, evidence, task, record)


#: What the arrays of a training are, by the names of :meth:`opensim_nem2e.training.task.Task.arrays`.
_IN_WORDS = {
    "data.x": "activations to train on",
    "data.y": "EMG to train on",
    "held.x": "activations that decide when to stop",
    "held.y": "EMG that decides when to stop",
}


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
    def of(
        cls, cycles: MuscleCycles, view: CycleView, options: STDROptions, linear: LinearFit | None
    ) -> _Normalisation:
        if options.network_output == "emg":
            zero = np.zeros(view.samples)
            return cls(zero, zero, 1.0)
        y = view.split(cycles.y)
        if linear is not None:
            offset, base = linear.constant, linear.out_of_fold
        else:
            offset = base = y.mean(axis=0)
        # With one cycle, or cycles that are all alike, there is no deviation to scale by.
        return cls(offset, base, max(float((y - base).std()), 1e-3))

    def windows(self, cycles: MuscleCycles, view: CycleView, base: Array) -> dict[str, NDArray[np.float32]]:
        """Cut cycles into the windows of a training."""
        x, y = view.split(cycles.x), view.split(cycles.y)
        return {"x": x.astype(np.float32), "y": ((y - base) / self.scale).astype(np.float32)}
