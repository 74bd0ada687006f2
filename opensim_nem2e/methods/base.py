"""The one seam between methods and everything that trains, judges, keeps and applies them.

A method turns :class:`opensim_nem2e.data.samples.Samples` into an estimate of muscle activity. It is one class behind
:class:`Method`, a few attributes and three functions, and one line in the registry (:mod:`.registry`) or an entry point
of somebody else's package. What it learned is a :class:`Fitted`: arrays and numbers that need no PyTorch to be applied,
unless the method says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from ..errors import BundleError
from ..options import Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.cycle_view import CycleView
    from ..data.gait_cycles import MuscleCycles
    from ..data.samples import Samples
    from ..training.task import Task, Trained
    from .bands import Bands
    from .training_range import TrainingRange

    Array = NDArray[np.float64]

Sampler = Literal["gait_cycles", "sliding_windows"]

#: What an estimate is: EMG relative to its maximum, activation or excitation, each 0..1.
Quantity = Literal["emg", "activation", "excitation"]


@dataclass(frozen=True)
class Requirements:
    """What a method needs of samples.

    Parameters
    ----------
    inputs, targets, context : tuple of str
        Names of arrays; samples without them are of no use to it.
    sampler : {'gait_cycles', 'sliding_windows'}
        What its samples are.
    """

    inputs: tuple[str, ...] = ("activation",)
    targets: tuple[str, ...] = ("emg",)
    context: tuple[str, ...] = ()
    sampler: Sampler = "gait_cycles"


@dataclass(frozen=True)
class Prediction:
    """What a method says of some samples.

    Parameters
    ----------
    values : ndarray, shape (samples, time) or (samples, time, channels)
        The estimate; with channels where a part has several.
    attention : ndarray, shape (samples, time, steps), optional
        Attention weights, for methods that have them; each row sums to one.
    low, high : ndarray, shape (samples, time), optional
        The band around the estimate, for methods that have one.
    remarks : tuple of str, length samples
        What each estimate is, where it is not the method's usual one, in words; empty: nothing is to be said.
    origins : tuple of str, length samples
        Where each curve's shape is from, in a word or two, where it is not a network's alone (``'profile'``).
    """

    values: Array
    attention: Array | None = None
    low: Array | None = None
    high: Array | None = None
    remarks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class Fitted(Protocol):
    """What a method has learned of one part, usually one muscle."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Side-neutral names of the input channels, in order: ``ipsi:soleus``, ``contra:soleus``, ..."""

    @property
    def chosen(self) -> Mapping[str, float]:
        """What was chosen on the training samples (a lag, a penalty), by name; for reports."""

    @property
    def attention_steps(self) -> tuple[str, ...]:
        """Names of what :attr:`Prediction.attention` weighs; empty for a method without attention."""

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Prediction:
        """Estimate.

        Parameters
        ----------
        inputs : mapping of str to ndarray, shape (samples, time, channels)
            The arrays that the method requires, with the channels of :attr:`inputs`. Where they are known also
            ``motion`` and ``age_group``, shape (samples,), as the manifest has them.

        Returns
        -------
        Prediction
            The estimate at the same times.
        """

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that :meth:`predict` rests on, for the bundle."""

    def description(self) -> dict[str, Any]:
        """Return the numbers and names that belong to the arrays, for the bundle; JSON can hold them."""


class MomentEstimator(Fitted, Protocol):
    """What a method has learned of the joint moments of a motion."""

    @property
    def label(self) -> str:
        """What it is, for logs and reports."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Its inputs, by the channels of :mod:`opensim_nem2e.data.leg_kinematics`."""

    @property
    def moments(self) -> tuple[str, ...]:
        """The joints whose moments it estimates."""

    @property
    def step(self) -> float:
        """From sample to sample of its windows (s)."""

    @property
    def samples(self) -> int:
        """Samples of a window, for :meth:`predict`."""

    @property
    def lookahead(self) -> float:
        """How much later motion an estimate needs (s)."""

    def outside(self, q: Array, qdot: Array) -> NDArray[np.bool_]:
        """Tell in which rows a motion leaves the training range.

        Parameters
        ----------
        q, qdot : ndarray, shape (rows, coordinates)
            rad and rad/s.

        Returns
        -------
        ndarray of bool, shape (rows,)
            True where any angle or speed does.
        """

    def over_motion(self, time: Array, q: Array, qdot: Array, body: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Estimate the moments of a motion.

        Parameters
        ----------
        time : ndarray, shape (rows,)
            Strictly increasing (s).
        q, qdot : ndarray, shape (rows, coordinates)
            rad and rad/s.
        body : ndarray, shape (3,)
            Mass (kg), lengths of thigh and shank (m).

        Returns
        -------
        moments : ndarray, shape (rows, moments)
            Nm per kg and m.
        guessed : ndarray of bool, shape (rows,)
            Rows that are too close to an end of the motion for all that the estimate looks at.
        """


@dataclass(frozen=True)
class Provenance:
    """Where an estimate comes from.

    Parameters
    ----------
    method : str
        The method's key.
    label : str
        What it is called in figures and logs.
    bundle : str
        The bundle's name; empty without one.
    path : pathlib.Path or None
        The bundle's file.
    sha256 : str
        Its hash, if known.
    package_version : str
        The version of this package that made the estimate.
    validation : mapping
        Errors on subjects that the method was not trained on, by way of estimating them and by muscle.
    calibration : mapping or None
        For whom it was calibrated, and the errors on strides left out of that.
    bands : Bands or None
        The bands around its estimates, with their coverage of subjects and laboratories left out.
    training_range : TrainingRange or None
        What the cycles were like that it was trained on.
    """

    method: str
    label: str
    bundle: str = ""
    path: Path | None = None
    sha256: str = ""
    package_version: str = ""
    validation: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    bands: Bands | None = field(default=None, repr=False)
    training_range: TrainingRange | None = field(default=None, repr=False)

    @property
    def source(self) -> str:
        """The method and its bundle in a few words."""
        return f"{self.label} ({self.bundle})" if self.bundle else self.label


class Predictor(Protocol):
    """A trained method, ready to be applied."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Standard names of the muscles that it estimates."""

    @property
    def cycle_samples(self) -> int:
        """Evenly spaced samples, both ends included, at which it takes and gives a gait cycle."""

    @property
    def quantity(self) -> Quantity:
        """What its estimates are."""

    @property
    def provenance(self) -> Provenance:
        """Where its estimates come from."""

    def inputs(self, target: str) -> tuple[str, ...]:
        """Name what a target's estimate is made from.

        Parameters
        ----------
        target : str
            One of :attr:`targets`.

        Returns
        -------
        tuple of str
            Side-neutral: ``ipsi:soleus``, ``contra:soleus``, ...
        """

    def predict(self, target: str, x: Array, *, motion: str = "", age_group: str = "") -> Prediction:
        """Estimate a target.

        Parameters
        ----------
        target : str
            One of :attr:`targets`.
        x : ndarray, shape (cycles, cycle_samples, inputs)
            OpenSim's activations of its inputs (0..1).
        motion, age_group : str
            What the cycles are and of whom, where that is known: ``walk``, ``child``, ...

        Returns
        -------
        Prediction
            At the same samples.
        """

    def attention_steps(self, target: str) -> tuple[str, ...]:
        """Name the steps of the attention.

        Parameters
        ----------
        target : str
            One of :attr:`targets`.

        Returns
        -------
        tuple of str
            Inputs, or ``sample_01``, ...; empty where there is no attention.
        """


class Common(Protocol):
    """What the parts of a method share, fitted once to the training samples of all of them."""

    def evidence(self, part: str) -> Mapping[str, NDArray[Any]]:
        """Return every number that a part takes from it, by what it is, so that a leak shows.

        Parameters
        ----------
        part : str
            One of the method's parts.

        Returns
        -------
        mapping of str to ndarray
            The numbers.
        """


@dataclass(frozen=True)
class RunSettings:
    """What a run decides for a method besides its options.

    Parameters
    ----------
    seed : int
        Of all that is drawn at random.
    threads : int
        Threads of one network's computation.
    """

    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Plan:
    """How one part of a method is learned.

    Parameters
    ----------
    finish : callable
        Given what came of the task (None where there is none), what was learned.
    evidence : mapping of str to ndarray
        Every number that was learned or prepared from the training samples, by what it is: with other values in the
        samples that were left out, none may change.
    task : Task, optional
        The network to train; None for what is solved in closed form.
    held : callable, optional
        Turns samples that were left out into the task's data, to have the loss on them recorded.
    """

    finish: Callable[[Trained | None], Fitted] = field(repr=False)
    evidence: Mapping[str, NDArray[Any]] = field(repr=False)
    task: Task | None = None
    held: Callable[[Samples], Mapping[str, NDArray[Any]]] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class NoOptions(Options):
    """The options of a method that has none."""


@runtime_checkable
class Method(Protocol):
    """An estimator of muscle activity.

    Subclass it, state the attributes, and write :meth:`plan` and :meth:`load`.
    """

    #: Names the method in tables, setup files and bundles: lower case letters, digits, underscores.
    key: ClassVar[str]
    #: Names it in figures and reports.
    label: ClassVar[str]
    #: Says in a sentence what it is.
    description: ClassVar[str]
    #: Names it in a methods paragraph, with its paper; empty: the label.
    citation: ClassVar[str] = ""
    #: Colour and marker in figures, as Matplotlib takes them.
    colour: ClassVar[str]
    marker: ClassVar[str]
    #: The element that holds its options in setup files; empty for a method without options.
    element: ClassVar[str] = ""
    requires: ClassVar[Requirements] = Requirements()
    #: The declaration of its options (:mod:`opensim_nem2e.options`).
    options: ClassVar[type[Options]] = NoOptions

    def parts(self, samples: Samples, view: CycleView) -> tuple[str, ...]:
        """Name what is learned separately; by default every muscle with a cycle that can be used.

        Parameters
        ----------
        samples : Samples
            The training samples.
        view : CycleView
            How they are shown.

        Returns
        -------
        tuple of str
            Names, in order.
        """
        muscles = samples.channels.get("emg", ())
        return tuple(muscle for muscle in muscles if muscle_cycles(samples, muscle, view).records)

    def common(self, samples: Samples, view: CycleView, options: Any) -> Common | None:
        """Fit what the parts share; by default nothing.

        Parameters
        ----------
        samples : Samples
            The training samples.
        view : CycleView
            How they are shown.
        options : object
            An instance of :attr:`options`.

        Returns
        -------
        Common or None
            Given to :meth:`plan` for every part.
        """
        return None

    def plan(
        self, samples: Samples, part: str, view: CycleView, options: Any, run: RunSettings, common: Common | None = None
    ) -> Plan:
        """Prepare the learning of one part, from the training samples and nothing else.

        Parameters
        ----------
        samples : Samples
            The training samples.
        part : str
            One of :meth:`parts`.
        view : CycleView
            How they are shown.
        options : object
            An instance of :attr:`options`.
        run : RunSettings
            Seed and threads.
        common : Common, optional
            From :meth:`common`, fitted to the same samples.

        Returns
        -------
        Plan
            The learning.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            It cannot be learned from these samples.
        """
        raise NotImplementedError

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """Put together again what :meth:`Fitted.arrays` and :meth:`Fitted.description` gave.

        Parameters
        ----------
        part : str
            What it is for.
        description : mapping of str to object
            The numbers and names, as read from JSON: not to be trusted.
        arrays : mapping of str to ndarray
            The arrays; finite, otherwise unchecked.
        view : CycleView
            How cycles are shown.

        Returns
        -------
        Fitted
            The same.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            Something is missing, of another shape or kind, or out of range.
        """
        raise NotImplementedError

    def weight_count(self, inputs: int, view: CycleView, options: Any) -> int:
        """Count the numbers that a training learns, for the estimate of its memory; by default 0: no network.

        Parameters
        ----------
        inputs : int
            Input channels.
        view : CycleView
            How cycles are shown.
        options : object
            An instance of :attr:`options`.

        Returns
        -------
        int
            Weights.
        """
        return 0


def muscle_cycles(samples: Samples, muscle: str, view: CycleView) -> MuscleCycles:
    """Take the cycles that can be used for one muscle (:meth:`opensim_nem2e.data.gait_cycles.MuscleCycles.of`).

    Parameters
    ----------
    samples : Samples
        Cycles on the view's grid.
    muscle : str
        Standard name.
    view : CycleView
        What the estimator sees.

    Returns
    -------
    MuscleCycles
        The cycles.
    """
    # Here, not above: applying a bundle needs none of what reads manifests.
    from ..data.gait_cycles import MuscleCycles

    return MuscleCycles.of(samples, muscle, view)


def check_arrays(
    part: str, arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, Sequence[int]], kind: str = "float32"
) -> None:
    """Check the arrays of a part against what a method expects; for :meth:`Method.load`.

    Parameters
    ----------
    part : str
        What they are for.
    arrays : mapping of str to ndarray
        What was found.
    expected : mapping of str to sequence of int
        The shape of each.
    kind : str
        NumPy's name of the numbers' type.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        Everything that is wrong.
    """
    faults = []
    for name, shape in expected.items():
        if name not in arrays:
            faults.append(f"the tensor '{part}.{name}' is missing")
        elif arrays[name].shape != tuple(shape):
            faults.append(f"the tensor '{part}.{name}' must have the shape {tuple(shape)}; found {arrays[name].shape}")
        elif arrays[name].dtype != kind:
            faults.append(f"the tensor '{part}.{name}' must hold {kind} numbers; found {arrays[name].dtype}")
    faults += [f"the tensor '{part}.{name}' belongs to nothing" for name in arrays if name not in expected]
    if faults:
        raise BundleError("\n".join(faults))
