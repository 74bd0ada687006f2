"""The study of the PI-MJCA-BiGRU paper on a manifest: a planar leg, ten muscles, activations without labels.

For every subject and condition (a trial: one speed) the paper's network is trained on its physics-informed loss, its
supervised twin on static optimisation, and with them three losses that lack a term and two other architectures; the
last fifth of the cycles is left out. Of subjects with three conditions or more, each is also left out in turn.

Two things stand beside every score, since they say what it is worth: the exact minimiser of the same loss, which no
network can beat at it, and the mean of static optimisation by phase of the cycle, which knows nothing of the motion.

References
----------
Ma, S., Huang, Z., Cao, Y., et al. Multi-joint physics-informed deep learning framework for time-efficient inverse
dynamics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.leg_kinematics import LegCoordinates, refuse_cycles_beyond
from ..data.manifest import CycleRecord, one_of_each_stride
from ..errors import ModelError, TrainingError
from ..log import counted, logger
from ..methods.mjca_bigru.forward import Architecture, ArchitectureName, hidden, run
from ..musculoskeletal.dynamics import JointMotion, analyse_motion
from ..musculoskeletal.model_leg import ModelLeg
from ..musculoskeletal.row_programs import solve_rows
from ..musculoskeletal.torque_model import TorqueModel
from ..signals.resample import interpolate
from ..storage import MuscleNames, read_model, read_storage
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import ModuleSpec, Task, Trained, TrainingSettings

Array = NDArray[np.float64]

#: The paper's muscles by their standard names, and what it calls them.
MUSCLES: Mapping[str, str] = {
    **{"psoas": "PS", "rect": "RF", "bi": "BF", "sem": "SM", "iliacus": "IL"},
    **{"vasint": "VI", "vaslat": "VL", "vasmed": "VM", "gaslat": "GL", "gasmed": "GM"},
}

#: The joints of the planar leg.
JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")

#: Bounds of activations, and the reserve of static optimisation (Nm).
LOWEST, RESERVE = 0.01, 1.0

#: Share of the cycles that is left out (the paper's 20 %).
_TEST_SHARE = 0.2

#: Around the cycles the motion is analysed for so long (s).
_AROUND = 0.7

#: Samples of the mean by phase.
_PHASES = 101

#: Newton steps and halvings of one for the exact minimiser, and the share of the pull below which a slope is 0.
_NEWTON, _HALVINGS, _FLAT = 200, 40, 1e-9

#: Windows of a training step (the paper's).
_BATCH = 8


@dataclass(frozen=True)
class Variant:
    """One of the paper's networks.

    Parameters
    ----------
    key, label : str
        In file names, and in tables and figures.
    architecture : {'mjca_bigru', 'bigru', 'cnn_bigru'}
        The network.
    terms : tuple of bool
        Whether its loss has the equation of motion, effort and bounds.
    supervised : bool
        Trained on static optimisation instead.
    """

    key: str
    label: str
    architecture: ArchitectureName = "mjca_bigru"
    terms: tuple[bool, bool, bool] = (True, True, True)
    supervised: bool = False


#: All of them, the paper's own first.
VARIANTS = (
    Variant("pi", "PI-MJCA-BiGRU"),
    Variant("supervised", "supervised MJCA-BiGRU", supervised=True),
    Variant("no_dynamics", "PI without dynamics", terms=(False, True, True)),
    Variant("no_effort", "PI without effort", terms=(True, False, True)),
    Variant("no_bounds", "PI without bounds", terms=(True, True, False)),
    Variant("bigru", "PI-BiGRU", "bigru"),
    Variant("cnn_bigru", "PI-CNN-BiGRU", "cnn_bigru"),
)

#: What stands beside them.
EXACT, PHASE = "exact minimiser", "mean by phase"


@dataclass(frozen=True)
class StudySettings:
    """How the study is done.

    Parameters
    ----------
    epochs : int
        Passes through the data (500 in the paper).
    weights : tuple of float
        Of the equation of motion, effort and bounds.
    window, stride : int
        Frames of a window, and from window to window.
    learning_rate, weight_decay : float
        Adam's.
    leg : {'paper', 'moving'}
        The planar leg as written, or with tilting pelvis, accelerated hip and true joint axes.
    passive : bool
        Whether muscles pull passively (equation 18).
    lowpass : float
        Filter of the coordinates (Hz).
    seed, threads : int
        Of the trainings.
    """

    epochs: int = 500
    weights: tuple[float, float, float] = (3.0, 1000.0, 500.0)
    window: int = 20
    stride: int = 2
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    leg: Literal["paper", "moving"] = "paper"
    passive: bool = True
    lowpass: float = 6.0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Frames:
    """Windows of one condition, with what is known of their last frames.

    Parameters
    ----------
    cycle : numpy.ndarray of int, shape (frames,)
        Which cycle of the condition.
    phase : numpy.ndarray, shape (frames,)
        0..1 of the cycle.
    x : numpy.ndarray, shape (frames, window, joints, 3)
        Angles, velocities, accelerations.
    gain : numpy.ndarray, shape (frames, joints, muscles)
        Moment per unit of activation (Nm).
    needed : numpy.ndarray, shape (frames, joints)
        Moment asked of the activations (Nm): that of the leg's dynamics without what pulls passively.
    active, passive : numpy.ndarray, shape (frames, muscles)
        Force per unit of activation, and passive force (N).
    activation, force : numpy.ndarray, shape (frames, muscles)
        Static optimisation of the whole model.
    """

    cycle: NDArray[np.intp]
    phase: Array
    x: Array
    gain: Array
    needed: Array
    active: Array
    passive: Array
    activation: Array
    force: Array

    def at(self, rows: NDArray[np.bool_]) -> Frames:
        """Take some frames.

        Parameters
        ----------
        rows : numpy.ndarray of bool, shape (frames,)
            Which.

        Returns
        -------
        Frames
            Those.
        """
        return Frames(**{name: array[rows] for name, array in vars(self).items()})

    @classmethod
    def join(cls, parts: Sequence[Frames]) -> Frames:
        """Put conditions together.

        Parameters
        ----------
        parts : sequence of Frames
            The conditions.

        Returns
        -------
        Frames
            All frames; cycles are counted on.
        """
        first = np.cumsum([0, *(int(part.cycle.max()) + 1 for part in parts[:-1])])
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        cycles = [part.cycle + start for part, start in zip(parts, first, strict=True)]
        return cls(**{**arrays, "cycle": np.concatenate(cycles)})


@dataclass(frozen=True)
class Score:
    """How well one muscle is estimated.

    Parameters
    ----------
    split : str
        ``within`` a condition, or ``left_out``: a condition that was not trained on.
    subject, condition, method, muscle : str
        Of whom, at which speed, by what, and which muscle.
    quantity : str
        ``activation`` or ``force``.
    r2, nrmse : float
        Equations 33 and 34.
    """

    split: str
    subject: str
    condition: str
    method: str
    muscle: str
    quantity: str
    r2: float
    nrmse: float


@dataclass(frozen=True)
class Split:
    """What is trained on and what is left out.

    Parameters
    ----------
    kind, subject, condition : str
        As in :class:`Score`.
    train, test : Frames
        The frames.
    """

    kind: str
    subject: str
    condition: str
    train: Frames
    test: Frames

    @property
    def name(self) -> str:
        """For file names."""
        return file_name(f"{self.kind}_{self.subject}_{self.condition}")


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network with what it normalises by.

    Parameters
    ----------
    architecture : Architecture
        Its shape.
    weights : mapping of str to numpy.ndarray
        Its weights.
    offset, scale : numpy.ndarray, shape (joints, 3)
        Of its inputs.
    """

    architecture: Architecture
    weights: Mapping[str, NDArray[np.float32]]
    offset: Array
    scale: Array

    def activations(self, x: Array) -> Array:
        """Estimate activations.

        Parameters
        ----------
        x : numpy.ndarray, shape (frames, samples, joints, 3)
            Windows that end with the frames.

        Returns
        -------
        numpy.ndarray, shape (frames, muscles)
            As the network puts them out, not bounded.
        """
        found = run(self.architecture, self.weights, *self._inputs(x))
        return found[:, -1].astype(float)

    def features(self, x: Array) -> Array:
        """Compute what the fully connected layers take.

        Parameters
        ----------
        x : numpy.ndarray, shape (frames, samples, joints, 3)
            Windows that end with the frames.

        Returns
        -------
        numpy.ndarray, shape (frames, numbers)
            The features of the frames.
        """
        return hidden(self.architecture, self.weights, *self._inputs(x))[:, -1].astype(float)

    def _inputs(self, x: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return ((x - self.offset) / self.scale).astype(np.float32), np.zeros((len(x), 0), np.float32)


@dataclass
class MJCAStudy:
    """The trainings of the study, and their scores.

    Parameters
    ----------
    conditions : mapping of (str, str) to Frames
        By subject and condition (:func:`read_frames`).
    settings : StudySettings
        How.
    variants : sequence of Variant
        Which networks.
    """

    conditions: Mapping[tuple[str, str], Frames]
    settings: StudySettings
    variants: Sequence[Variant] = VARIANTS
    scores: list[Score] = field(init=False, default_factory=list)
    networks: dict[tuple[str, str], TrainedNetwork] = field(init=False, default_factory=dict)
    splits: list[Split] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.splits = list(self._splits())
        for split in self.splits:
            mean = mean_by_phase(split.train)
            grid = np.linspace(0.0, 1.0, _PHASES)
            values = np.column_stack([np.interp(split.test.phase, grid, column) for column in mean.T])
            self._score(split, PHASE, values, passive=False)
            for variant in self._of(split):
                # A network of another architecture with the paper's loss has the paper's minimiser.
                if variant.key == "pi" or not (variant.supervised or all(variant.terms)):
                    exact = minimise_loss(split.test, self._weights(variant))
                    self._score(split, f"{EXACT}, {variant.label}" if variant.key != "pi" else EXACT, exact)

    def jobs(self) -> list[Job]:
        """List the trainings.

        Returns
        -------
        list of Job
            One per split and network.
        """
        return [
            Job(
                f"{split.name}_{variant.key}",
                partial(self._task, split, variant),
                partial(self._keep, split, variant),
            )
            for split in self.splits
            for variant in self._of(split)
        ]

    def in_order(self) -> list[Score]:
        """Return the scores as splits and networks are listed, in whatever order these were trained.

        Returns
        -------
        list of Score
            All; what stands beside the networks comes after them.
        """
        labels = [variant.label for variant in self.variants]
        place = {(split.kind, split.subject, split.condition): number for number, split in enumerate(self.splits)}

        def key(score: Score) -> tuple[int, int]:
            number = labels.index(score.method) if score.method in labels else len(labels)
            return place[score.split, score.subject, score.condition], number

        return sorted(self.scores, key=key)

    def _of(self, split: Split) -> Iterator[Variant]:
        """Left-out conditions are for the paper's own network and its supervised twin, as in the paper."""
        return (v for v in self.variants if split.kind == "within" or v.key in ("pi", "supervised"))

    def _splits(self) -> Iterator[Split]:
        by_subject: dict[str, list[str]] = {}
        for subject, condition in self.conditions:
            by_subject.setdefault(subject, []).append(condition)
        for (subject, condition), frames in self.conditions.items():
            cycles = np.unique(frames.cycle)
            if len(cycles) < 2:
                raise TrainingError(f"{subject}, {condition}: at least two cycles are needed, one to be left out.")
            held = cycles[-max(1, round(_TEST_SHARE * len(cycles))) :]
            test = np.isin(frames.cycle, held)
            yield Split("within", subject, condition, frames.at(~test), frames.at(test))
        for subject, names in by_subject.items():
            for name in names if len(names) > 2 else ():
                rest = [self.conditions[subject, other] for other in names if other != name]
                yield Split("left_out", subject, name, Frames.join(rest), self.conditions[subject, name])

    def _weights(self, variant: Variant) -> tuple[float, float, float]:
        first, second, third = (
            weight if there else 0.0 for weight, there in zip(self.settings.weights, variant.terms, strict=True)
        )
        return first, second, third

    def _architecture(self, variant: Variant) -> Architecture:
        window = self.settings.window
        return Architecture(variant.architecture, len(JOINTS), 3, 0, len(MUSCLES), window, window - 1)

    def _normal(self, split: Split) -> tuple[Array, Array]:
        return split.train.x.mean(axis=(0, 1)), split.train.x.std(axis=(0, 1)) + 1e-9

    def _task(self, split: Split, variant: Variant) -> Task:
        settings, frames = self.settings, split.train
        offset, scale = self._normal(split)
        data = {"x": (frames.x - offset) / scale}
        if variant.supervised:
            spread = frames.force.std(axis=0) + 1e-9
            data |= {"activation": frames.activation, "strength": frames.active / spread}
            data["force"] = (frames.force - self._passive(frames)) / spread
        else:
            data |= {"gain": frames.gain, "needed": frames.needed}
        arguments = {
            "architecture": self._architecture(variant).described(),
            "dropout": 0.1,
            "weights": list(self._weights(variant)),
            "supervised": variant.supervised,
            "lowest": LOWEST,
        }
        how = TrainingSettings(
            epochs=settings.epochs,
            batch_size=_BATCH,
            learning_rate=settings.learning_rate,
            final_learning_rate=0.1 * settings.learning_rate,
            weight_decay=settings.weight_decay,
            seed=settings.seed,
            threads=settings.threads,
        )
        return Task(ModuleSpec("opensim_nem2e.methods.mjca_bigru.net:ActivationNet", arguments), how, data)

    def _passive(self, frames: Frames) -> Array:
        return frames.passive if self.settings.passive else np.zeros_like(frames.passive)

    def _keep(self, split: Split, variant: Variant, trained: Trained) -> None:
        network = TrainedNetwork(self._architecture(variant), trained.weights, *self._normal(split))
        self.networks[split.name, variant.key] = network
        self._score(split, variant.label, network.activations(split.test.x))

    def _score(self, split: Split, method: str, activations: Array, passive: bool = True) -> None:
        frames = split.test
        forces = activations * frames.active + (self._passive(frames) if passive else 0.0)
        for quantity, true, found in (
            ("activation", frames.activation, activations),
            ("force", frames.force, forces),
        ):
            error = ((true - found) ** 2).mean(axis=0)
            spread, distance = true.var(axis=0), np.ptp(true, axis=0)
            for place, muscle in enumerate(MUSCLES.values()):
                if spread[place] > 0.0:
                    r2, nrmse = 1.0 - error[place] / spread[place], np.sqrt(error[place]) / distance[place]
                    who = (split.kind, split.subject, split.condition)
                    self.scores.append(Score(*who, method, muscle, quantity, float(r2), float(nrmse)))


def minimise_loss(frames: Frames, weights: tuple[float, float, float]) -> Array:
    """Minimise the paper's loss exactly, frame by frame: it is convex and piecewise quadratic.

    Parameters
    ----------
    frames : Frames
        The frames.
    weights : tuple of float
        Of the equation of motion, effort and bounds.

    Returns
    -------
    numpy.ndarray, shape (frames, muscles)
        The activations; those of least norm where a weight of 0 leaves more than one.
    """
    dynamics, effort, bounds = weights
    gain = frames.gain
    # A trace of effort: without any, more than one solution may be the best.
    curvature = dynamics * gain.swapaxes(1, 2) @ gain + (effort + 1e-6) * np.eye(gain.shape[2])
    pull = dynamics * (gain.swapaxes(1, 2) @ frames.needed[..., None])[..., 0]

    def slope(found: Array) -> Array:
        beyond = np.minimum(found - LOWEST, 0.0) + np.maximum(found - 1.0, 0.0)
        return np.asarray((curvature @ found[..., None])[..., 0] - pull + bounds * beyond)

    found = np.full(pull.shape, 0.5)
    for _ in range(_NEWTON):
        uphill = slope(found)
        if (np.abs(uphill) <= _FLAT * (1.0 + np.abs(pull))).all():
            break
        pressed = bounds * ((found < LOWEST) | (found > 1.0))
        step = -np.linalg.solve(curvature + pressed[:, None] * np.eye(gain.shape[2]), uphill[..., None])[..., 0]
        # Along the step the loss is convex: where it falls no more, its slope along the step is 0.
        low, high = np.zeros((len(step), 1)), np.ones((len(step), 1))
        if ((slope(found + step) * step).sum(axis=1) > 0.0).any():
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                rises = (slope(found + middle * step) * step).sum(axis=1, keepdims=True) > 0.0
                low, high = np.where(rises, low, middle), np.where(rises, middle, high)
        found = found + high * step
    return found


def mean_by_phase(frames: Frames) -> Array:
    """Take the mean activation of static optimisation over the cycle.

    Parameters
    ----------
    frames : Frames
        The training frames.

    Returns
    -------
    numpy.ndarray, shape (phases, muscles)
        At even phases from 0 to 1.
    """
    grid = np.linspace(0.0, 1.0, _PHASES)
    curves = []
    for cycle in np.unique(frames.cycle):
        rows = frames.cycle == cycle
        curves.append(np.column_stack([np.interp(grid, frames.phase[rows], a) for a in frames.activation[rows].T]))
    return np.asarray(np.mean(curves, axis=0))


def read_frames(
    records: Sequence[CycleRecord], settings: StudySettings, cache: Any = None
) -> dict[tuple[str, str], Frames]:
    """Read a manifest as the paper has it.

    Parameters
    ----------
    records : sequence of CycleRecord
        With ``model_file``, ``coordinates_file`` and ``external_loads_file``. Where a row has activations of
        OpenSim's StaticOptimization these are the reference, elsewhere the same program solved exactly.
    settings : StudySettings
        How.
    cache : str or os.PathLike, optional
        Where fitted muscle paths are kept.

    Returns
    -------
    dict of (str, str) to Frames
        By subject and trial, in the manifest's order.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A row lacks a file, the model lacks a muscle or joint, or OpenSim failed.
    """
    trials: dict[tuple[Any, ...], list[CycleRecord]] = {}
    for record in one_of_each_stride(records):
        needed = ("model_file", "coordinates_file", "external_loads_file")
        files = [getattr(record, name) for name in needed]
        missing = [name for name, file in zip(needed, files, strict=True) if file is None]
        if missing:
            raise TrainingError(
                f"{record.name}: the study needs {', '.join(needed[:-1])} and {needed[-1]}; the manifest has no "
                f"{' and no '.join(missing)} for it."
            )
        trials.setdefault((record.subject, record.trial, *files, record.side), []).append(record)
    found: dict[tuple[str, str], list[Frames]] = {}
    for (subject, trial, *_), rows in trials.items():
        logger.info("%s, %s: %s.", subject, trial, counted(len(rows), "cycle"))
        found.setdefault((subject, trial), []).append(_trial_frames(rows, settings, cache))
    return {key: Frames.join(parts) for key, parts in found.items()}


def _trial_frames(records: Sequence[CycleRecord], settings: StudySettings, cache: Any) -> Frames:
    first = records[0]
    assert first.model_file is not None
    assert first.coordinates_file is not None
    assert first.external_loads_file is not None
    model, side = read_model(first.model_file), first.side
    motion = analyse_motion(
        first.model_file,
        read_storage(first.coordinates_file),
        first.external_loads_file,
        lowpass=settings.lowpass,
        start=min(record.start for record in records) - _AROUND,
        end=max(record.end for record in records) + _AROUND,
    )
    refuse_cycles_beyond(records, motion.time)
    coordinates = LegCoordinates.measured(model, side)
    coordinates.require(JOINTS, str(model.path))
    joints = [coordinates.names[joint] for joint in JOINTS]
    leg = ModelLeg.of_model(first.model_file, motion, side, joints)
    if settings.leg == "paper":
        columns = leg.motion.columns(joints)
        moved: JointMotion = JointMotion(
            motion.time,
            tuple(joints),
            leg.motion.q[:, columns],
            leg.motion.qdot[:, columns],
            None if leg.motion.qddot is None else leg.motion.qddot[:, columns],
        )
        dynamics = type(leg.dynamics)(leg.dynamics.leg, leg.dynamics.coordinates, leg.dynamics.directions)
        moments = dynamics.required(moved, leg.ground_reaction(first.external_loads_file), joints)
    else:
        moved = leg.motion
        moments = leg.dynamics.required(moved, leg.ground_torque(first.external_loads_file), joints)
    kinematics = np.stack([np.asarray(v)[:, :3] for v in (moved.q, moved.qdot, moved.qddot)], axis=-1)

    own = [name for name in model.muscles if name.endswith(f"_{side}")]
    ten = _ten(own, model.path)
    free = [coordinates.names[name] for name in coordinates.names if not name.startswith("pelvis")]
    movable = {name for name, moves in zip(motion.coordinates, motion.movable, strict=True) if moves}
    make = partial(TorqueModel.of_model, first.model_file, motion, cache_directory=cache)
    whole = make(muscles=own, coordinates=[name for name in free if name in movable], curves="static_optimization")
    planar = make(muscles=ten, coordinates=joints, curves="own")
    hill, exact = planar.evaluate(motion), whole.evaluate(motion)
    pull = np.asarray(hill.passive) if settings.passive else np.zeros_like(np.asarray(hill.passive))
    needed = moments - np.einsum("rmc,rm->rc", hill.moment_arms, pull)

    parts = []
    for number, record in enumerate(records):
        rows = np.flatnonzero((motion.time >= record.start) & (motion.time <= record.end))
        rows = rows[rows >= settings.window - 1][:: settings.stride]
        reference = _reference(record, ten, motion.time[rows], partial(_solved, whole, exact, motion, rows, ten))
        strength = np.asarray(exact.active)[rows][:, [whole.muscles.index(name) for name in ten]]
        parts.append(
            Frames(
                np.full(len(rows), number),
                (motion.time[rows] - record.start) / (record.end - record.start),
                kinematics[rows[:, None] + np.arange(1 - settings.window, 1)],
                np.asarray(hill.gain)[rows],
                np.asarray(needed)[rows],
                np.asarray(hill.active)[rows],
                np.asarray(hill.passive)[rows],
                reference,
                reference * strength,
            )
        )
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Frames(**arrays)


def _ten(names: Sequence[str], model: Path) -> list[str]:
    """Find the paper's muscles among those of a side."""
    table = MuscleNames.load()
    by_name = {found.name: name for name in names if (found := table.standard(name)) is not None}
    missing = [muscle for muscle in MUSCLES if muscle not in by_name]
    if missing:
        raise ModelError(
            f"{model}: the model must have the paper's ten muscles on the manifest's side, but lacks "
            f"{', '.join(missing)}; found {', '.join(by_name) or 'none that is known'}."
        )
    return [by_name[muscle] for muscle in MUSCLES]


def _reference(record: CycleRecord, ten: Sequence[str], time: Array, solve: Callable[[], Array]) -> Array:
    if record.activation_file is None or record.activation_source != "so":
        return solve()
    series = read_storage(record.activation_file)
    return interpolate(series.time, series.select(list(ten)), time)


def _solved(whole: TorqueModel, exact: Any, motion: Any, rows: NDArray[np.intp], ten: Sequence[str]) -> Array:
    needed = motion.torques[np.ix_(rows, motion.columns(whole.coordinates))]
    found = solve_rows(np.asarray(exact.gain)[rows], needed, low=LOWEST, high=1.0, reserve=RESERVE)
    return found.activations[:, [whole.muscles.index(name) for name in ten]]


# --- the space of features -------------------------------------------------------------------------------------------

#: Neighbours that the smoothness looks at, and the share of frames that counts as high, and as low, activation.
_NEIGHBOURS, _EXTREME = 10, 0.25


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Features of two networks in two dimensions, and how they lie.

    Parameters
    ----------
    places : mapping of str to numpy.ndarray, each (frames, 2)
        By network, t-SNE.
    activation : numpy.ndarray, shape (frames, muscles)
        Static optimisation.
    similarity : float
        1 less the Procrustes disparity of the two.
    smoothness, separation : mapping of str to numpy.ndarray, each (muscles,)
        Sm: 1 less the mean distance of a frame's activation to the mean of its ten neighbours', in units of the
        activation's mean absolute deviation. Sp: the distance of the centres of the quarter of the frames with the
        highest and with the lowest activation, over their mean distance from these centres. The paper defines
        neither.
    """

    places: Mapping[str, Array]
    activation: Array
    similarity: float
    smoothness: Mapping[str, Array]
    separation: Mapping[str, Array]


def feature_space(networks: Mapping[str, TrainedNetwork], frames: Frames, seed: int = 0) -> FeatureSpace | None:
    """Embed the features of two networks (figure 8 and table I of the paper).

    Parameters
    ----------
    networks : mapping of str to Network
        Two.
    frames : Frames
        Frames that they were not trained on.
    seed : int
        Of t-SNE.

    Returns
    -------
    FeatureSpace or None
        None where scikit-learn is not installed, or there are too few frames.
    """
    from scipy.spatial import procrustes

    try:
        from sklearn.manifold import TSNE
    except ImportError:
        logger.warning("The feature space is not drawn: it needs scikit-learn (pip install 'opensim-nem2e[study]').")
        return None
    if len(frames.x) < 3 * _NEIGHBOURS:
        return None
    embed = partial(TSNE, n_components=2, perplexity=min(30.0, len(frames.x) / 4.0), init="pca", random_state=seed)
    places = {name: np.asarray(embed().fit_transform(net.features(frames.x)), float) for name, net in networks.items()}
    one, other = places.values()
    return FeatureSpace(
        places,
        frames.activation,
        1.0 - float(procrustes(one, other)[2]),
        {name: _smoothness(at, frames.activation) for name, at in places.items()},
        {name: _separation(at, frames.activation) for name, at in places.items()},
    )


def _smoothness(places: Array, activation: Array) -> Array:
    apart = ((places[:, None] - places[None]) ** 2).sum(-1)
    near = np.argsort(apart, axis=1)[:, 1 : _NEIGHBOURS + 1]
    rough = np.abs(activation - activation[near].mean(axis=1)).mean(axis=0)
    usual = np.abs(activation - activation.mean(axis=0)).mean(axis=0)
    return np.asarray(1.0 - rough / np.maximum(usual, 1e-12))


def _separation(places: Array, activation: Array) -> Array:
    found = []
    for values in activation.T:
        low, high = np.quantile(values, [_EXTREME, 1.0 - _EXTREME])
        groups = [places[values <= low], places[values >= high]]
        centers = [group.mean(axis=0) for group in groups]
        wide = np.mean([np.linalg.norm(g - c, axis=1).mean() for g, c in zip(groups, centers, strict=True)])
        found.append(float(np.linalg.norm(centers[0] - centers[1]) / max(wide, 1e-12)))
    return np.array(found)


@dataclass(frozen=True)
class Summary:
    """One method over all subjects, conditions and muscles.

    Parameters
    ----------
    split, method, quantity : str
        As in :class:`Score`.
    r2, r2_sd, r2_median : float
        Mean, standard deviation and median of R2.
    nrmse, nrmse_sd : float
        Mean and standard deviation of NRMSE.
    count : int
        Scores.
    """

    split: str
    method: str
    quantity: str
    r2: float
    r2_sd: float
    r2_median: float
    nrmse: float
    nrmse_sd: float
    count: int


def summarise_scores(scores: Sequence[Score]) -> list[Summary]:
    """Average scores over subjects, conditions and muscles (tables II and III of the paper).

    Parameters
    ----------
    scores : sequence of Score
        All.

    Returns
    -------
    list of Summary
        By split, method and quantity.
    """
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.split, score.method, score.quantity), []).append(score)
    rows = []
    for key, members in groups.items():
        r2, nrmse = np.array([m.r2 for m in members]), np.array([m.nrmse for m in members])
        figures = [float(value) for value in (r2.mean(), r2.std(), np.median(r2), nrmse.mean(), nrmse.std())]
        rows.append(Summary(*key, *figures, len(members)))  # type: ignore[arg-type, call-arg]
    return rows
