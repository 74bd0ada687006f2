"""Which cycles a network is trained on and which it is judged by, and the guards that keep the two apart.

Leaving a subject out is the study of the NEM2E paper (section 3.2.2). Leaving out a speed or a trial is easier, because
the person is seen in training; it tells how far results carry over within a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..data.gait_cycles import TargetData
from ..data.manifest import Trial
from ..errors import TrainingError

Splitting = Literal["leave_one_subject_out", "leave_one_speed_out", "leave_one_trial_out"]

SPLITTINGS: tuple[Splitting, ...] = get_args(Splitting)

Rows = NDArray[np.bool_]


class LeakError(TrainingError):
    """Something that was learned in a fold depends on the cycles that were left out of it."""


@dataclass(frozen=True)
class Fold:
    """One way of leaving cycles out.

    Parameters
    ----------
    held_out : str
        What is left out: a subject, a speed, or a trial.
    data : TargetData
        All cycles.
    train_rows : ndarray of bool, shape (cycles,)
        The cycles to learn from.
    test_rows : ndarray of bool, shape (cycles,)
        The cycles to judge by. Some cycles may be neither.
    """

    held_out: str
    data: TargetData
    train_rows: Rows
    test_rows: Rows

    @property
    def train(self) -> TargetData:
        """The cycles to learn from."""
        return self.data.select(self.train_rows)

    @property
    def test(self) -> TargetData:
        """The cycles to judge by."""
        return self.data.select(self.test_rows)

    def check_apart(self, splitting: Splitting) -> None:
        """Refuse a fold whose two parts share a cycle, what is left out, or a recording.

        Parameters
        ----------
        splitting : {'leave_one_subject_out', 'leave_one_speed_out', 'leave_one_trial_out'}
            What must not be shared.

        Raises
        ------
        LeakError
            They do; also where one EMG cycle stands under two names.
        """
        train, test = self.train, self.test
        shared = {_group(trial, splitting) for trial in train.trials} & {
            _group(trial, splitting) for trial in test.trials
        }
        if shared:
            names = ", ".join(sorted(map(str, shared)))
            raise LeakError(f"{self._where}: {_KINDS[splitting]} {names} is among the training cycles.")
        known = {row.tobytes(): trial for row, trial in zip(train.y, train.trials, strict=True) if np.ptp(row) > 0}
        for row, trial in zip(test.y, test.trials, strict=True):
            twin = known.get(row.tobytes())
            if twin is not None:
                raise LeakError(
                    f"{self._where}: the EMG of {trial.name} and of {twin.name}, which is trained on, is the same to "
                    "the last bit: one recording stands under two names. Leave one of them out."
                )

    @property
    def _where(self) -> str:
        return f"{self.data.target} without {self.held_out}"


def split_folds(data: TargetData, splitting: Splitting) -> Iterator[Fold]:
    """Leave out one subject, speed or trial at a time.

    Parameters
    ----------
    data : TargetData
        All cycles.
    splitting : {'leave_one_subject_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out. Speeds count as equal when they round to the same 0.1 m/s, and one is left out of everybody's
        cycles. With speeds and trials, only people who are also seen in training are judged.

    Yields
    ------
    Fold
        In the order of the cycles; none where nothing would be left to learn from or to judge by.
    """
    groups = [_group(trial, splitting) for trial in data.trials]
    for group in dict.fromkeys(groups):
        if group is None:
            continue
        train = training_rows(data, group, splitting)
        test = np.array([other == group for other in groups])
        if splitting != "leave_one_subject_out":
            test &= np.isin(data.subjects, data.subjects[train])
        if train.any() and test.any():
            yield Fold(group, data, train, test)


def training_rows(data: TargetData, held_out: str, splitting: Splitting) -> Rows:
    """Tell which cycles may be learned from while something is left out.

    Parameters
    ----------
    data : TargetData
        Cycles of any target muscle.
    held_out : str
        A fold's name: the subject, speed or trial that is left out.
    splitting : {'leave_one_subject_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out.

    Returns
    -------
    ndarray of bool, shape (cycles,)
        Where nothing is known against a cycle: one without a speed might have the one that is left out.
    """
    groups = (_group(trial, splitting) for trial in data.trials)
    return np.array([group is not None and group != held_out for group in groups], dtype=bool)


_KINDS: dict[Splitting, str] = {
    "leave_one_subject_out": "the subject",
    "leave_one_speed_out": "the speed",
    "leave_one_trial_out": "the trial",
}


def _group(trial: Trial, splitting: Splitting) -> str | None:
    if splitting == "leave_one_subject_out":
        return trial.subject
    if splitting == "leave_one_trial_out":
        return f"{trial.dataset}/{trial.subject}/{trial.trial}"
    return None if trial.speed is None else f"{trial.speed:.1f} m/s"


def check_blind(learn: Callable[[Fold], Mapping[str, NDArray]], fold: Fold) -> None:
    """Learn a second time with other activations and EMG in every cycle that is not trained on: nothing may change.

    Parameters
    ----------
    learn : callable
        Given a fold, everything that is learned or prepared in it, by name: training data, scalers, the windows that
        decide when to stop, settings, baselines with what their choices rest on.
    fold : Fold
        The fold.

    Raises
    ------
    LeakError
        Something did change: it depends on cycles that were left out. The first such thing is named.
    """
    changed = replace(fold, data=scramble(fold.data, ~fold.train_rows))
    compare_blind(learn(fold), learn(changed), fold._where)


def scramble(data: TargetData, rows: Rows) -> TargetData:
    """Put random numbers in the place of some cycles' activations and EMG.

    Parameters
    ----------
    data : TargetData
        All cycles.
    rows : ndarray of bool, shape (cycles,)
        Which cycles lose their values.

    Returns
    -------
    TargetData
        A copy.
    """
    random = np.random.default_rng(0)
    arrays = {name: getattr(data, name).copy() for name in ("x", "own", "y")}
    for array in arrays.values():
        array[rows] = random.random(array[rows].shape)
    return replace(data, **arrays)


def compare_blind(before: Mapping[str, NDArray], after: Mapping[str, NDArray], where: str) -> None:
    """Refuse what was learned if it changed with the cycles that were left out.

    Parameters
    ----------
    before, after : mapping of str to ndarray
        What was learned, by name, with the cycles that are left out as they are and with random numbers in them.
    where : str
        Names the fold in the error.

    Raises
    ------
    LeakError
        Something did change. The first such thing is named.
    """
    for name, values in before.items():
        if name not in after or values.tobytes() != after[name].tobytes():
            raise LeakError(
                f"{where}: the {name} changed when the cycles that are left out were replaced by random numbers: "
                "something was learned from them."
            )
