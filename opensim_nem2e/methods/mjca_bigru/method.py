"""PI-MJCA-BiGRU as a method: from windows of a leg's motion to its joint moments, without any muscle labels.

The moments are those of inverse dynamics, per body mass and height, so that one network serves many subjects. Which
activations make them is then the exact program of :mod:`opensim_nem2e.musculoskeletal.row_programs`, with the subject's
own muscles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...data.cycle_view import CycleView
from ...data.leg_kinematics import BODY
from ...errors import BundleError, TrainingError
from ..base import Common, Method, Plan, Prediction, Requirements, RunSettings, check_arrays
from .forward import AT_LAGS, LABELS, WITH_KERNEL, Architecture, ArchitectureName, run
from .kernel import MOST_CENTERS, fit_kernel
from .moment_options import SIZES, MJCAOptions

if TYPE_CHECKING:
    from ...data.samples import Samples
    from ...data.sliding_windows import SlidingWindows
    from ...training.task import Trained

Array = NDArray[np.float64]

#: The one part of the method.
PART = "moments"

#: A channel is out of the training range beyond its extremes by more than this share of their distance.
RANGE_MARGIN = 0.1

#: Beside the body mass, the moment of hip adduction is per this; all others are per height.
_ADDUCTION_PER = "distance of the hips"

_CONSTANTS = ("input_offset", "input_scale", "condition_offset", "condition_scale", "output_offset", "output_scale")


@dataclass(frozen=True)
class Windowing:
    """Which windows an architecture takes.

    Parameters
    ----------
    step : float
        From sample to sample (s).
    samples, before, after : int
        As in :class:`.forward.Architecture`.
    lags : tuple of int
        Likewise.
    """

    step: float
    samples: int
    before: int
    after: int
    lags: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, options: MJCAOptions) -> Windowing:
        """Take it from the options.

        Parameters
        ----------
        name : str
            The architecture.
        options : MJCAOptions
            The options.

        Returns
        -------
        Windowing
            At least two samples, one of which is estimated.
        """
        step = options.sampling_step
        if name in AT_LAGS:
            lags = tuple(dict.fromkeys(round(lag / step) for lag in options.lags))
            before, after = max((0, *lags)), -min((0, *lags))
            return cls(step, max(2, before + after + 1), before, after, lags)
        if options.frames == "last":
            before = max(1, round(options.window / step) - 1)
            return cls(step, before + 1, before, 0)
        around = max(1, round(options.context / step))
        return cls(step, 5 * around + 1, around, around)

    def cut(self, share: float = 1.0) -> SlidingWindows:
        """Say how training windows are cut.

        Parameters
        ----------
        share : float
            From one window's start to the next, as a share of the samples that are estimated.

        Returns
        -------
        SlidingWindows
            For :func:`opensim_nem2e.data.leg_kinematics.leg_samples`.
        """
        from ...data.sliding_windows import SlidingWindows

        frames = self.samples - self.before - self.after
        return SlidingWindows((self.samples - 1) * self.step, max(1, round(share * frames)) * self.step, self.samples)


class MJCABiGRUMethod(Method):
    """Joint moments from a leg's motion by MJCA-BiGRU, its ablations, a small MLP or kernel ridge regression."""

    key = "mjca_bigru"
    label = "PI-MJCA-BiGRU"
    description = "Joint moments from kinematics"
    citation = "a network of the PI-MJCA-BiGRU family (Ma et al.), trained on inverse dynamics alone"
    colour = "#0072B2"
    marker = "s"
    element = "MJCABiGRU"
    requires = Requirements(("coordinates", "speeds"), ("moments",), ("body",), "sliding_windows")
    options = MJCAOptions

    def parts(self, samples: Samples, view: object) -> tuple[str, ...]:
        """Name the one part: all moments are learned together."""
        return (PART,)

    def plan(
        self,
        samples: Samples,
        part: str,
        view: object,
        options: MJCAOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Prepare the training of the network on windows of :class:`Windowing`."""
        from ...training.task import ModuleSpec, Task, TrainingSettings

        if options.architecture == "auto":
            raise TrainingError("An architecture must have been chosen before a network is trained.")
        windowing = Windowing.of(options.architecture, options)
        if samples.time.shape[1] != windowing.samples:
            raise TrainingError(
                f"The network takes windows of {windowing.samples} samples; found {samples.time.shape[1]}."
            )
        frames = slice(windowing.before, windowing.samples - windowing.after)
        moments = samples.targets["moments"][:, frames]
        known = _finite(samples.inputs["coordinates"], (1, 2)) & ~_finite_nowhere(moments)
        if not known.any():
            raise TrainingError("No window has all inputs and a moment.")
        unknown = [
            joint
            for place, joint in enumerate(samples.channels["moments"])
            if not np.isfinite(moments[..., place]).any()
        ]
        if unknown:
            raise TrainingError(f"No subject has a moment of {', '.join(unknown)} to learn from.")
        usable = samples.select(known)
        normal = _Normalisation.of(usable, frames, options.body_inputs)
        windows = normal.windows(usable, frames)
        channels = samples.channels
        counts = len(channels["coordinates"]), len(normal.condition_offset), len(channels["moments"])

        def shape(name: ArchitectureName, centers: int = 0) -> Architecture:
            return _shape(name, options, windowing, *counts, centers)

        def network(of: Architecture, weights: Mapping[str, NDArray[np.float32]]) -> MomentNetwork:
            names = channels["coordinates"], channels["moments"]
            return MomentNetwork(of, windowing.step, *names, weights, **normal.constants())

        name = options.architecture
        if name == "kernel":
            fitted = _fit_kernel(usable, windows, windowing)
            made = network(shape(name, len(fitted["centers"])), fitted)
            return Plan(lambda _: made, {**normal.constants(), **fitted})
        # Of both, the network alone is trained step by step.
        architecture = shape("mlp" if name == "kernel_mlp" else name)
        module = ModuleSpec(
            "opensim_nem2e.methods.mjca_bigru.net:MomentNet",
            {"architecture": architecture.described(), "dropout": options.dropout},
        )
        settings = TrainingSettings(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            final_learning_rate=0.1 * options.learning_rate,
            weight_decay=options.weight_decay,
            decoupled_weight_decay=True,
            seed=run.seed,
            threads=run.threads,
        )
        task = Task(module, settings, windows)

        def finish(trained: Trained | None) -> MomentNetwork:
            assert trained is not None
            if name != "kernel_mlp":
                return network(architecture, trained.weights)
            kernel = _fit_kernel(usable, windows, windowing)
            return network(shape(name, len(kernel["centers"])), {**_beside_mlp(kernel), **trained.weights})

        def record(left_out: Samples) -> Mapping[str, NDArray[Any]]:
            return normal.windows(left_out, frames)

        evidence = {**normal.constants(), **{f"training {name}": array for name, array in task.arrays().items()}}
        return Plan(finish, evidence, task, record)

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: object
    ) -> MomentNetwork:
        """Check architecture, weights and normalisation."""
        return MomentNetwork.load(part, description, arrays)

    def weight_count(self, inputs: int, view: CycleView | None, options: MJCAOptions) -> int:
        """Count the weights of the largest network that may be trained, for so many input channels."""
        names = NAMES if options.architecture == "auto" else (options.architecture,)
        body = len(BODY) if options.body_inputs else 0
        counts = []
        for name in names:
            shape = _shape(name, options, Windowing.of(name, options), inputs, body, inputs, MOST_CENTERS)
            counts.append(sum(int(np.prod(one)) for one in shape.weight_shapes().values()))
        return max(counts)


#: The architectures that ``auto`` chooses among, the cheapest first.
NAMES: tuple[ArchitectureName, ...] = ("kernel", "mlp", "kernel_mlp", "bigru", "mjca_bigru", "cnn_bigru")


def candidates(options: MJCAOptions) -> dict[str, MJCAOptions]:
    """List what ``auto`` chooses among.

    Parameters
    ----------
    options : MJCAOptions
        The options.

    Returns
    -------
    dict of str to MJCAOptions
        The options for each architecture; one entry where it is not ``auto``.
    """
    names = NAMES if options.architecture == "auto" else (options.architecture,)
    return {name: replace(options, architecture=cast(Any, name)) for name in names}


@dataclass(frozen=True)
class MomentNetwork:
    """A trained network, in numpy.

    Parameters
    ----------
    architecture : Architecture
        Its shape.
    step : float
        From sample to sample of its windows (s).
    coordinates : tuple of str
        Its input channels.
    moments : tuple of str
        The joints whose moments it puts out.
    weights : mapping of str to ndarray
        Its weights.
    input_offset, input_scale : ndarray, shape (channels, 2)
        What is subtracted from angles and speeds, and what they are divided by.
    condition_offset, condition_scale : ndarray, shape (3,) or (0,)
        Likewise for mass and segment lengths, where they are inputs.
    output_offset, output_scale : ndarray, shape (moments,)
        In Nm per kg and m (:meth:`opensim_nem2e.data.leg_kinematics.Body.lengths`).
    lowest, highest : ndarray, shape (channels, 2)
        The training range of angles and speeds.
    """

    architecture: Architecture
    step: float
    coordinates: tuple[str, ...]
    moments: tuple[str, ...]
    weights: Mapping[str, NDArray[np.float32]] = field(repr=False)
    input_offset: NDArray[np.float32] = field(repr=False)
    input_scale: NDArray[np.float32] = field(repr=False)
    condition_offset: NDArray[np.float32] = field(repr=False)
    condition_scale: NDArray[np.float32] = field(repr=False)
    output_offset: NDArray[np.float32] = field(repr=False)
    output_scale: NDArray[np.float32] = field(repr=False)
    lowest: NDArray[np.float32] = field(repr=False)
    highest: NDArray[np.float32] = field(repr=False)

    @classmethod
    def load(cls, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> MomentNetwork:
        """Put a network together again, as read from a file that is not to be trusted.

        Parameters
        ----------
        part : str
            What it is for.
        description : mapping of str to object
            Of :meth:`description`.
        arrays : mapping of str to ndarray
            Of :meth:`arrays`.

        Returns
        -------
        MomentNetwork
            The same.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            Something is missing, of another shape or kind, or out of range.
        """
        shape = Architecture.read(description.get("architecture"))
        if description.get("hip_adduction_per") != _ADDUCTION_PER:
            raise BundleError(
                "its moments of hip adduction are per body height, as in an earlier version of opensim_nem2e; this "
                "version takes them per distance of the hips. Train it anew."
            )
        step = description.get("sampling_step")
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0.001 <= step <= 0.1:
            raise BundleError(f"'sampling_step' must be a number from 0.001 to 0.1 s; found {step!r}")
        names: dict[str, tuple[str, ...]] = {}
        for key, count in (("coordinates", shape.joints), ("moments", shape.outputs)):
            found = description.get(key)
            if not isinstance(found, list) or len(found) != count or not all(isinstance(n, str) for n in found):
                raise BundleError(f"'{key}' must be {count} names; found {found!r}")
            names[key] = tuple(found)
        sizes = {
            **dict.fromkeys(("input_offset", "input_scale", "lowest", "highest"), (shape.joints, shape.features)),
            **dict.fromkeys(("condition_offset", "condition_scale"), (shape.conditions,)),
            **dict.fromkeys(("output_offset", "output_scale"), (shape.outputs,)),
        }
        if shape.name == "kernel":
            # Bundles from before there was a linear part have none.
            arrays = {"net.linear": np.zeros(1, dtype=np.float32), **arrays}
        expected = {**{f"net.{name}": size for name, size in shape.weight_shapes().items()}, **sizes}
        check_arrays(part, arrays, expected)
        for name in sorted({"input_scale", "condition_scale", "output_scale", "net.width"} & arrays.keys()):
            if not (arrays[name] > 0.0).all():
                raise BundleError(f"the tensor '{part}.{name}' must hold positive numbers")
        weights = {name[4:]: array for name, array in arrays.items() if name.startswith("net.")}
        constants: dict[str, Any] = {name: arrays[name] for name in sizes}
        return cls(shape, float(step), names["coordinates"], names["moments"], weights, **constants)

    @property
    def label(self) -> str:
        """What it is, for logs and reports."""
        return LABELS[self.architecture.name]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input channels, on the leg's own side."""
        return tuple(f"ipsi:{name}" for name in self.coordinates)

    @property
    def chosen(self) -> Mapping[str, float]:
        """Nothing is chosen beside the architecture."""
        return {}

    @property
    def attention_steps(self) -> tuple[str, ...]:
        """No attention is reported."""
        return ()

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return self.architecture.samples

    @property
    def lookahead(self) -> float:
        """How much later motion an estimate needs (s); 0 for use while the motion goes on."""
        return self.architecture.after * self.step

    def predict(self, inputs: Mapping[str, Array]) -> Prediction:
        """Estimate joint moments.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            ``coordinates`` and ``speeds`` (windows, samples, channels), rad and rad/s, and ``body`` (windows, samples
            or 1, 3).

        Returns
        -------
        Prediction
            Values (windows, frames, moments), Nm per kg and m: of the samples from ``before`` to ``samples - after``.
        """
        x = np.stack([inputs["coordinates"], inputs["speeds"]], axis=-1).astype(np.float32)
        x = (x - self.input_offset) / self.input_scale
        body = inputs["body"][:, 0, : self.architecture.conditions].astype(np.float32)
        body = (body - self.condition_offset) / self.condition_scale
        found = run(self.architecture, self.weights, x, body)
        return Prediction((found * self.output_scale + self.output_offset).astype(np.float64))

    def outside(self, q: Array, qdot: Array) -> NDArray[np.bool_]:
        """Tell where the motion leaves the training range.

        Parameters
        ----------
        q, qdot : ndarray, shape (..., channels)
            rad and rad/s.

        Returns
        -------
        ndarray of bool, shape (...)
            True where any angle or speed does, by more than a tenth of the range.
        """
        margin = RANGE_MARGIN * (self.highest - self.lowest)
        x = np.stack([q, qdot], axis=-1)
        beyond = (x < self.lowest - margin) | (x > self.highest + margin)
        return np.asarray(beyond.any(axis=(-1, -2)))

    def over_motion(self, time: Array, q: Array, qdot: Array, body: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Estimate the moments of a whole motion.

        Parameters
        ----------
        time : ndarray, shape (rows,)
            Strictly increasing (s).
        q, qdot : ndarray, shape (rows, channels)
            rad and rad/s.
        body : ndarray, shape (3,)
            Mass (kg), lengths of thigh and shank (m).

        Returns
        -------
        moments : ndarray, shape (rows, moments)
            Nm per kg and m.
        guessed : ndarray of bool, shape (rows,)
            Rows whose window reaches beyond the motion's ends: the leg is taken to have stood still there.
        """
        from ...signals.resample import interpolate

        shape, step = self.architecture, self.step
        count = max(1, int(np.ceil((time[-1] - time[0]) / step - 1e-6)) + 1)
        windows = -(-count // shape.frames)
        rows = shape.before + windows * shape.frames + shape.after
        grid = time[0] + step * (np.arange(rows) - shape.before)
        angles, speeds = interpolate(time, q, grid), interpolate(time, qdot, grid)
        beyond = (grid < time[0] - 1e-9) | (grid > time[-1] + 1e-9)
        speeds[beyond] = 0.0
        places = (shape.frames * np.arange(windows))[:, None] + np.arange(shape.samples)
        given = {
            "coordinates": angles[places],
            "speeds": speeds[places],
            "body": np.broadcast_to(body, (windows, 1, len(body))),
        }
        found = self.predict(given).values.reshape(windows * shape.frames, -1)
        own = grid[shape.before : shape.before + len(found)]
        guessed = (time < time[0] + shape.before * step - 1e-9) | (time > time[-1] - shape.after * step + 1e-9)
        return interpolate(own, found, time), guessed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, normalisation and training range."""
        own = {name: getattr(self, name) for name in (*_CONSTANTS, "lowest", "highest")}
        return {**{f"net.{name}": np.asarray(array) for name, array in self.weights.items()}, **own}

    def description(self) -> dict[str, Any]:
        """Return architecture, sampling and names."""
        return {
            "architecture": self.architecture.described(),
            "sampling_step": self.step,
            "coordinates": list(self.coordinates),
            "moments": list(self.moments),
            "hip_adduction_per": _ADDUCTION_PER,
        }


@dataclass(frozen=True)
class _Normalisation:
    """Means and spreads of what a network takes and puts out, and the range of what it takes."""

    input_offset: NDArray[np.float32]
    input_scale: NDArray[np.float32]
    condition_offset: NDArray[np.float32]
    condition_scale: NDArray[np.float32]
    output_offset: NDArray[np.float32]
    output_scale: NDArray[np.float32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def of(cls, samples: Samples, frames: slice, body_inputs: bool) -> _Normalisation:
        x = np.stack([samples.inputs["coordinates"], samples.inputs["speeds"]], axis=-1)
        body, y = samples.context["body"][:, 0], samples.targets["moments"][:, frames]
        if not body_inputs:
            body = body[:, :0]
        found = (*_spread(x, (0, 1)), *_spread(body, (0,)), *_spread(y, (0, 1)), x.min(axis=(0, 1)), x.max(axis=(0, 1)))
        return cls(*(values.astype(np.float32) for values in found))

    def constants(self) -> dict[str, Any]:
        return dict(vars(self))

    def windows(self, samples: Samples, frames: slice) -> dict[str, NDArray[np.float32]]:
        x = np.stack([samples.inputs["coordinates"], samples.inputs["speeds"]], axis=-1)
        y = (samples.targets["moments"][:, frames] - self.output_offset) / self.output_scale
        known = _finite(y, (1,))
        arrays: dict[str, NDArray[Any]] = {
            "x": (x - self.input_offset) / self.input_scale,
            "y": np.where(known[:, None], y, 0.0),
            "known": known.astype(np.float32),
        }
        if len(self.condition_offset):
            arrays["conditions"] = (samples.context["body"][:, 0] - self.condition_offset) / self.condition_scale
        return {name: array.astype(np.float32) for name, array in arrays.items()}


def _shape(
    name: ArchitectureName,
    options: MJCAOptions,
    windowing: Windowing,
    joints: int,
    conditions: int,
    outputs: int,
    centers: int,
) -> Architecture:
    """Return the shape of a network with so many inputs and outputs, and centers of kernel ridge regression."""
    sizes = dict(SIZES[options.network_size])
    if name in AT_LAGS:
        kernel = (centers,) if name in WITH_KERNEL else ()
        sizes["head"] = kernel if name == "kernel" else (*kernel, *options.hidden_units)
    rows = windowing.samples, windowing.before, windowing.after, windowing.lags
    return Architecture(name, joints, 2, conditions, outputs, *rows, **sizes)


def _fit_kernel(
    samples: Samples, windows: Mapping[str, NDArray[np.float32]], windowing: Windowing
) -> dict[str, NDArray[np.float32]]:
    """Fit kernel ridge regression to windows; what it chooses is judged on what is left out."""
    frames = np.arange(windowing.before, windowing.samples - windowing.after)
    flat = windows["x"].reshape(len(windows["x"]), windowing.samples, -1)
    seen = flat[:, frames[:, None] - np.array(windowing.lags)].reshape(len(flat), len(frames), -1)
    if "conditions" in windows:
        numbers = np.repeat(windows["conditions"][:, None], len(frames), axis=1)
        seen = np.concatenate([seen, numbers], axis=-1)
    # Left out in turn: laboratories, as who uses a network is of another one; of one laboratory subjects; of one
    # subject trials, such as speeds; of one trial cycles.
    fields = ("laboratory", "subject", "trial", "name")
    levels = ([getattr(record, field) for record in samples.records] for field in fields)
    names = next((level for level in levels if len(set(level)) > 1), ["one"] * len(samples.records))
    groups = np.repeat(np.unique(names, return_inverse=True)[1], len(frames))
    known = np.repeat(windows["known"], len(frames), axis=0)
    return fit_kernel(seen.reshape(-1, seen.shape[-1]), windows["y"].reshape(len(groups), -1), known, groups)


def _beside_mlp(kernel: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Call the kernel's output layer what ``kernel_mlp`` calls it."""
    return {name.replace("head.0", "kernel"): array for name, array in kernel.items()}


def _finite(values: Array, axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell where all values are numbers."""
    return np.asarray(np.isfinite(values).all(axis=axes))


def _finite_nowhere(moments: Array) -> NDArray[np.bool_]:
    """Tell which windows have no joint whose moment is known throughout."""
    unknown: NDArray[np.bool_] = np.asarray(~np.isfinite(moments).all(axis=1))
    return np.asarray(unknown.all(axis=1))


def _spread(values: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return mean and standard deviation; 1 where nothing varies, as the mass of a single subject."""
    deviation, mean = np.nanstd(values, axis=axes), np.nanmean(values, axis=axes)
    return mean, np.where(deviation > 1e-6 * (1.0 + np.abs(mean)), deviation, 1.0)
