"""Which cycles a network is trained on and which it is judged by, and the guards that keep the two apart.

Leaving a subject out is the study of the NEM2E paper (section 3.2.2). Leaving out a laboratory (a dataset of the
manifest, or several) is harder: nobody measured with the same equipment and filters is seen in training. Leaving out a
speed or a trial is easier, because the subject is seen in training; it tells how far results carry over within a
subject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.cycle_view import CycleView
from ..data.gait_cycles import MuscleCycles, usable_rows
from ..data.manifest import CycleRecord
from ..data.samples import Samples
from ..errors import TrainingError

Splitting = Literal["leave_one_subject_out", "leave_one_laboratory_out", "leave_one_speed_out", "leave_one_trial_out"]

#: Splittings in which the subjects that are judged are also seen in training, which is easier.
WITHIN_SUBJECT: tuple[Splitting, ...] = ("leave_one_speed_out", "leave_one_trial_out")

Rows = NDArray[np.bool_]


class LeakError(TrainingError):
    """Something that was learned in a fold depends on the cycles that were left out of it."""


@dataclass(frozen=True)
class Fold:
    """One way of leaving cycles out.

    Parameters
    ----------
    held_out : str
        What is left out: a subject, a laboratory, a speed, or a trial.
    muscle : str
        The muscle whose EMG is estimated.
    samples : Samples
        All samples that can be used for this muscle.
    view : CycleView
        How they are shown.
    train_rows : ndarray of bool, shape (samples,)
        The samples to learn from.
    test_rows : ndarray of bool, shape (samples,)
        The samples to judge by. Some samples may be neither.
    """

    held_out: str
    muscle: str
    samples: Samples = field(repr=False)
    view: CycleView
    train_rows: Rows = field(repr=False)
    test_rows: Rows = field(repr=False)

    @property
    def train(self) -> Samples:
        """The samples to learn from."""
        return self.samples.select(self.train_rows)

    @property
    def test(self) -> Samples:
        """The samples to judge by."""
        return self.samples.select(self.test_rows)

    @property
    def test_cycles(self) -> MuscleCycles:
        """The samples to judge by, as an estimator of the muscle sees them."""
        return MuscleCycles.of(self.test, self.muscle, self.view)

    def check_apart(self, splitting: Splitting) -> None:
        """Refuse a fold whose two parts share a cycle, what is left out, or a recording.

        Parameters
        ----------
        splitting : {'leave_one_subject_out', 'leave_one_laboratory_out', 'leave_one_speed_out', 'leave_one_trial_out'}
            What must not be shared.

        Raises
        ------
        LeakError
            They do; also where one EMG cycle stands under two names.
        """
        train, test = self.train, self.test
        shared = {_group(record, splitting) for record in train.records} & {
            _group(record, splitting) for record in test.records
        }
        if shared:
            names = ", ".join(sorted(map(str, shared)))
            raise LeakError(f"{self.where}: {_KINDS[splitting]} {names} is among the training cycles.")
        measured = train.channel("emg", self.muscle), test.channel("emg", self.muscle)
        known = {
            row.tobytes(): record for row, record in zip(measured[0], train.records, strict=True) if np.ptp(row) > 0
        }
        for row, record in zip(measured[1], test.records, strict=True):
            twin = known.get(row.tobytes())
            if twin is not None:
                raise LeakError(
                    f"{self.where}: the EMG of {record.name} and of {twin.name}, which is trained on, is the same to "
                    "the last bit: one recording stands under two names. Leave one of them out."
                )

    @property
    def where(self) -> str:
        """Names the fold in messages."""
        return f"{self.muscle} without {self.held_out}"


def split_folds(samples: Samples, muscle: str, view: CycleView, splitting: Splitting) -> Iterator[Fold]:
    """Leave out one subject, laboratory, speed or trial at a time.

    Parameters
    ----------
    samples : Samples
        All samples.
    muscle : str
        The muscle whose EMG is estimated.
    view : CycleView
        How samples are shown.
    splitting : {'leave_one_subject_out', 'leave_one_laboratory_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out. Speeds count as equal when they round to the same 0.1 m/s, and one is left out of everybody's
        cycles. With speeds and trials, only subjects who are also seen in training are judged.

    Yields
    ------
    Fold
        In the order of the samples; none where nothing would be left to learn from or to judge by.
    """
    usable = samples.select(usable_rows(samples, muscle, view))
    groups = [_group(record, splitting) for record in usable.records]
    subjects = usable.subjects
    for group in dict.fromkeys(groups):
        if group is None:
            continue
        train = training_rows(usable, group, splitting)
        test = np.array([other == group for other in groups])
        if splitting in WITHIN_SUBJECT:
            test &= np.isin(subjects, subjects[train])
        if train.any() and test.any():
            yield Fold(group, muscle, usable, view, train, test)


def training_rows(samples: Samples, held_out: str, splitting: Splitting) -> Rows:
    """Tell which samples may be learned from while something is left out.

    Parameters
    ----------
    samples : Samples
        Samples of any muscles.
    held_out : str
        A fold's name: what is left out.
    splitting : {'leave_one_subject_out', 'leave_one_laboratory_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out.

    Returns
    -------
    ndarray of bool, shape (samples,)
        Where nothing is known against a sample: one without a speed might have the one that is left out.
    """
    groups = (_group(record, splitting) for record in samples.records)
    return np.array([group is not None and group != held_out for group in groups], dtype=bool)


_KINDS: dict[Splitting, str] = {
    "leave_one_subject_out": "the subject",
    "leave_one_laboratory_out": "the laboratory",
    "leave_one_speed_out": "the speed",
    "leave_one_trial_out": "the trial",
}


def _group(record: CycleRecord, splitting: Splitting) -> str | None:
    if splitting == "leave_one_subject_out":
        return record.subject
    if splitting == "leave_one_laboratory_out":
        return record.laboratory
    if splitting == "leave_one_trial_out":
        return f"{record.dataset}/{record.subject}/{record.trial}"
    return None if record.speed is None else f"{record.speed:.1f} m/s"


def check_blind(learn: Callable[[Fold], Mapping[str, NDArray[Any]]], fold: Fold) -> None:
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
    changed = replace(fold, samples=scramble(fold.samples, ~fold.train_rows))
    compare_blind(learn(fold), learn(changed), fold.where)


def scramble(samples: Samples, rows: Rows) -> Samples:
    """Put random numbers in the place of all that some samples hold; what is missing stays missing.

    Parameters
    ----------
    samples : Samples
        All samples.
    rows : ndarray of bool, shape (samples,)
        Which samples lose their values.

    Returns
    -------
    Samples
        A copy.
    """
    random = np.random.default_rng(0)

    def changed(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        found = {}
        for name, array in arrays.items():
            found[name] = array.copy()
            part = array[rows]
            found[name][rows] = np.where(np.isnan(part), np.nan, random.random(part.shape))
        return found

    return replace(
        samples,
        inputs=changed(samples.inputs),
        targets=changed(samples.targets),
        context=changed(samples.context),
    )


def compare_blind(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]], where: str) -> None:
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
