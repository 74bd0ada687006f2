"""What estimates joint moments from a motion: chosen, trained on all subjects, and judged without some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.leg_kinematics import BEARING, LEG, LegTrial, leg_samples
from ..data.manifest import CycleRecord
from ..errors import TrainingError
from ..methods.base import RunSettings
from ..methods.mjca_bigru.method import PART, MJCABiGRUMethod, MomentNetwork, Windowing, candidates
from ..methods.mjca_bigru.moment_options import MJCAOptions
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained

Array = NDArray[np.float64]
Trials = Sequence[tuple[LegTrial, Sequence[CycleRecord]]]

#: Inputs of the networks where all models have them; the subtalar joint is fixed in too many, and its angle too rough.
INPUTS = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")

#: Training windows overlap by half.
_SHARE = 0.5

#: In how many parts subjects (or, of one subject, strides) are left out in turn to choose an architecture.
_FOLDS = 3

#: Samples of the mean moment over a cycle.
_PHASES = 101


@dataclass(frozen=True)
class MomentErrors:
    """How well a joint's moment is estimated for subjects (or strides) that were not trained on.

    Parameters
    ----------
    subject, joint : str
        Whose, and of which joint.
    cycles : int
        How many cycles.
    r2 : float
        Coefficient of determination over all their rows.
    rmse : float
        Nm per kg of body mass.
    r2_mean, rmse_mean : float
        Those of the mean moment by phase of the training cycles.
    """

    subject: str
    joint: str
    cycles: int
    r2: float
    rmse: float
    r2_mean: float
    rmse_mean: float


@dataclass
class MomentTraining:
    """What is trained, and what has come of it.

    Parameters
    ----------
    options : MJCAOptions
        How.
    trials : sequence of (LegTrial, sequence of CycleRecord)
        From :func:`opensim_nem2e.data.leg_kinematics.read_leg_trials`.
    run : RunSettings
        Seed and threads.
    validate : bool
        Train without each subject (or fifth of the strides, of one subject) in turn, too.
    """

    options: MJCAOptions
    trials: Trials
    run: RunSettings
    validate: bool = True
    method: MJCABiGRUMethod = field(init=False, default_factory=MJCABiGRUMethod)
    #: Mean squared error of the architectures on what was left out, in units of the moments' spread.
    choice: dict[str, float] = field(init=False, default_factory=dict)
    _network: MomentNetwork | None = field(init=False, default=None)
    _errors: dict[str, list[MomentErrors]] = field(init=False, default_factory=dict)
    _tried: dict[str, list[float]] = field(init=False, default_factory=dict)

    @property
    def subjects(self) -> list[str]:
        """All subjects, in order."""
        return sorted({record.subject for _, records in self.trials for record in records})

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints whose moments are wanted and known of any subject."""
        known = {joint for trial, _ in self.trials for joint in trial.joints if _told(trial, joint)}
        wanted = self.options.moment_joints or LEG
        return tuple(joint for joint in LEG if joint in known and joint in wanted)

    @property
    def channels(self) -> tuple[str, ...]:
        """The inputs: the joint angles that all models have, and what else was asked for."""
        common = set.intersection(*(set(trial.channels) for trial, _ in self.trials))
        borne = [name for name in BEARING if name in common] if self.options.bearing_inputs else ()
        return (*(name for name in INPUTS if name in common), *self.options.pelvis_inputs, *borne)

    @property
    def by(self) -> str:
        """What is left out in turn."""
        return "leave_one_subject_out" if len(self.subjects) > 1 else "five_folds_of_cycles"

    def choice_jobs(self) -> list[Job]:
        """List the trainings that choose an architecture; none where it was said.

        Returns
        -------
        list of Job
            To be run before :meth:`jobs`. What is solved in closed form is solved at once and not among them.
        """
        options = candidates(self.options)
        if len(options) == 1:
            return []
        found = []
        for name, own in options.items():
            for number, (_, rest, left) in enumerate(self._parts(_FOLDS, by_trial=True)):
                found += self._job(f"choice_{name}_{number + 1}", own, rest, partial(self._try, own, rest, left))
        return found

    def choose(self) -> None:
        """Take the architecture with the least error; the cheaper one where two are alike within a hundredth."""
        if not self._tried:
            return
        self.choice = {name: float(np.mean(errors)) for name, errors in self._tried.items()}
        best = min(self.choice.values())
        name = next(name for name, error in self.choice.items() if error <= 1.01 * best)
        self.options = candidates(self.options)[name]

    def jobs(self) -> list[Job]:
        """List the trainings of the network and of those that say how good it is.

        Returns
        -------
        list of Job
            The first is the network's. None where it is solved in closed form, which is then done at once.
        """
        found = self._job("moments", self.options, self.trials, self._keep)
        if not self.validate:
            return found
        for name, rest, left in self._parts(len(self.subjects) if len(self.subjects) > 1 else 5):
            done = partial(self._judge, name, rest, left)
            found += self._job(f"moments_without_{file_name(name)}", self.options, rest, done)
        return found

    def _job(
        self, name: str, options: MJCAOptions, trials: Trials, done: Callable[[Trained | None], None]
    ) -> list[Job]:
        if options.architecture == "kernel":
            done(None)
            return []
        return [Job(name, partial(self._task, options, trials), done)]

    @property
    def network(self) -> MomentNetwork:
        """The network that was trained on everyone."""
        assert self._network is not None
        return self._network

    @property
    def errors(self) -> list[MomentErrors]:
        """The errors on what was left out, in the order of subjects or parts."""
        return [row for name in sorted(self._errors) for row in self._errors[name]]

    def weights(self, options: MJCAOptions | None = None) -> int:
        """Count the weights of the largest network.

        Parameters
        ----------
        options : MJCAOptions, optional
            The present ones by default.

        Returns
        -------
        int
            Weights.
        """
        return self.method.weight_count(len(self.channels), None, options or self.options)

    def _parts(self, count: int, by_trial: bool = False) -> list[tuple[str, Trials, Trials]]:
        """Leave out subjects in so many parts; where there is one, trials (such as speeds) if asked for, or cycles."""
        field = "trial" if by_trial and len(self.subjects) == 1 else "subject"
        names = sorted({getattr(record, field) for _, records in self.trials for record in records})
        if len(names) > 1:
            groups = [names[k::count] for k in range(min(count, len(names)))]
            return [
                (
                    "_".join(group),
                    _only(self.trials, lambda record, out=group: getattr(record, field) not in out),
                    _only(self.trials, lambda record, out=group: getattr(record, field) in out),
                )
                for group in groups
            ]
        order = {record: k for k, record in enumerate(record for _, records in self.trials for record in records)}
        count = min(count, len(order))
        if count < 2:
            raise TrainingError("At least two cycles are needed to see how good a network is; found one.")
        return [
            (
                f"part{part + 1}",
                _only(self.trials, lambda record, out=part: order[record] % count != out),
                _only(self.trials, lambda record, out=part: order[record] % count == out),
            )
            for part in range(count)
        ]

    def _samples(self, options: MJCAOptions, trials: Trials) -> Any:
        windows = Windowing.of(options.architecture, options)
        cut = windows.cut(_SHARE if windows.samples - windows.before - windows.after > 1 else 1.0)
        around = (windows.before * windows.step, windows.after * windows.step)
        return leg_samples(trials, cut, *around, self.channels, self.joints)

    def _plan(self, options: MJCAOptions, trials: Trials) -> Any:
        return self.method.plan(self._samples(options, trials), PART, None, options, self.run)

    def _task(self, options: MJCAOptions, trials: Trials) -> Task:
        task: Task = self._plan(options, trials).task
        return task

    def _fitted(self, options: MJCAOptions, trials: Trials, trained: Trained | None) -> MomentNetwork:
        network: MomentNetwork = self._plan(options, trials).finish(trained)
        return network

    def _try(self, options: MJCAOptions, rest: Trials, left: Trials, trained: Trained | None) -> None:
        network = self._fitted(options, rest, trained)
        errors = []
        for _, joint, true, found in compare(network, left):
            scale = float(network.output_scale[network.moments.index(joint)])
            errors.append(float(np.mean(((true - found) / scale) ** 2)))
        self._tried.setdefault(options.architecture, []).append(float(np.mean(errors)))

    def _keep(self, trained: Trained | None) -> None:
        self._network = self._fitted(self.options, self.trials, trained)

    def _judge(self, name: str, rest: Trials, left: Trials, trained: Trained | None) -> None:
        network = self._fitted(self.options, rest, trained)
        self._errors[name] = moment_errors(network, rest, left)


def moment_errors(network: MomentNetwork, rest: Trials, left: Trials) -> list[MomentErrors]:
    """Judge a network on what it was not trained on, beside the mean moment by phase.

    Parameters
    ----------
    network : MomentNetwork
        The network.
    rest, left : sequence of (LegTrial, sequence of CycleRecord)
        What it was trained on, and what not.

    Returns
    -------
    list of MomentErrors
        One per subject and joint.
    """
    means = mean_moments(rest, network.moments)
    bodies = {record.subject: trial.body for trial, records in left for record in records}
    cycles = {subject: sum(r.subject == subject for _, rs in left for r in rs) for subject in bodies}
    found = compare(network, left)
    blind = {(subject, joint): values for subject, joint, _, values in compare(means, left, network.moments)}
    rows = []
    for subject, joint, true, values in found:
        # Errors per kg; the networks' own unit is per kg and m.
        other, length = blind[subject, joint], float(bodies[subject].lengths([joint])[0])
        spread = float(((true - true.mean()) ** 2).mean())
        squares = [float(((true - one) ** 2).mean()) for one in (values, other)]
        r2 = [1.0 - square / spread for square in squares]
        rmse = [length * float(np.sqrt(square)) for square in squares]
        rows.append(MomentErrors(subject, joint, cycles[subject], r2[0], rmse[0], r2[1], rmse[1]))
    return rows


def compare(
    estimator: MomentNetwork | Array, trials: Trials, joints: Sequence[str] = ()
) -> list[tuple[str, str, Array, Array]]:
    """Estimate the moments of cycles, by subject and joint.

    Parameters
    ----------
    estimator : MomentNetwork or ndarray, shape (phases, joints)
        A network, or mean moments (:func:`mean_moments`).
    trials : sequence of (LegTrial, sequence of CycleRecord)
        The cycles.
    joints : sequence of str
        What the mean moments are of.

    Returns
    -------
    list of (str, str, ndarray, ndarray)
        Subject, joint, its moments and the estimates, (rows,), Nm per kg and m; without rows whose moment is not known.
    """
    names = estimator.moments if isinstance(estimator, MomentNetwork) else tuple(joints)
    pairs: dict[tuple[str, str], list[tuple[Array, Array]]] = {}
    for trial, records in trials:
        if isinstance(estimator, MomentNetwork):
            columns = [trial.channels.index(name) for name in estimator.coordinates]
            values, _ = estimator.over_motion(
                trial.time, trial.q[:, columns], trial.qdot[:, columns], trial.body.values
            )
        for record in records:
            inside = (trial.time >= record.start) & (trial.time <= record.end)
            if isinstance(estimator, MomentNetwork):
                own = values[inside]
            else:
                phase = (trial.time[inside] - record.start) / (record.end - record.start)
                grid = np.linspace(0.0, 1.0, len(estimator))
                own = np.column_stack([np.interp(phase, grid, column) for column in estimator.T])
            for place, joint in enumerate(names):
                if not _told(trial, joint):
                    continue
                unit = trial.body.mass * trial.body.lengths([joint])
                true = trial.moments[inside, trial.joints.index(joint)] / unit
                known = np.isfinite(true)
                pairs.setdefault((record.subject, joint), []).append((true[known], own[known, place]))
    return [
        (subject, joint, np.concatenate([true for true, _ in both]), np.concatenate([own for _, own in both]))
        for (subject, joint), both in pairs.items()
    ]


def mean_moments(trials: Trials, joints: Sequence[str]) -> Array:
    """Take the mean moment over the cycle: mean over a subject's cycles first.

    Parameters
    ----------
    trials : sequence of (LegTrial, sequence of CycleRecord)
        The cycles; each is taken to begin where its row begins.
    joints : sequence of str
        The joints.

    Returns
    -------
    ndarray, shape (phases, joints)
        Nm per kg and m; 0 where no subject has the joint.
    """
    by_subject: dict[str, list[Array]] = {}
    for trial, records in trials:
        for record in records:
            at = np.linspace(record.start, record.end, _PHASES)
            table = np.full((_PHASES, len(joints)), np.nan)
            for place, joint in enumerate(joints):
                if _told(trial, joint):
                    moment = trial.moments[:, trial.joints.index(joint)]
                    unit = trial.body.mass * trial.body.lengths([joint])
                    table[:, place] = np.interp(at, trial.time, moment) / unit
            by_subject.setdefault(record.subject, []).append(table)
    means = np.array([_mean(tables) for tables in by_subject.values()])
    return np.nan_to_num(_mean(means))


def summarise_moments(errors: Iterable[MomentErrors]) -> dict[str, dict[str, Any]]:
    """Sum errors up by joint, for a bundle's metadata.

    Parameters
    ----------
    errors : iterable of MomentErrors
        Of all subjects or parts.

    Returns
    -------
    dict of str to dict
        Per joint how many were left out, and the medians over them of R2 and RMSE of the network and of the mean moment
        by phase, and the least R2.
    """
    by_joint: dict[str, list[MomentErrors]] = {}
    for row in errors:
        by_joint.setdefault(row.joint, []).append(row)
    return {
        joint: {
            "left_out": len(rows),
            **{
                f"median_{name}": float(np.median([getattr(row, name) for row in rows]))
                for name in ("r2", "rmse", "r2_mean", "rmse_mean")
            },
            "least_r2": min(row.r2 for row in rows),
        }
        for joint, rows in by_joint.items()
    }


def _only(trials: Trials, wanted: Any) -> list[tuple[LegTrial, list[CycleRecord]]]:
    kept = [(trial, [record for record in records if wanted(record)]) for trial, records in trials]
    return [(trial, records) for trial, records in kept if records]


def _told(trial: LegTrial, joint: str) -> bool:
    return joint in trial.joints and bool(np.isfinite(trial.moments[:, trial.joints.index(joint)]).any())


def _mean(tables: Sequence[Array] | Array) -> Array:
    """Average without what is missing, and without a warning where all is."""
    values = np.array(tables)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
