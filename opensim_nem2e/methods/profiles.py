"""EMG profiles: the mean EMG cycle of each muscle, by motion and age group; a baseline and a prior, without a network.

A laboratory weighs as the square root of the number of its subjects, a subject as any other of the laboratory, and a
cycle as any other of the subject. EMG of laboratories that simulated nothing counts with its shape alone: it is moved
by one lag per laboratory, learned by comparison with the others, and scaled to their strength, as far as it does not
exceed their largest value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.cycle_view import CycleView
from ..errors import BundleError, TrainingError
from .base import Common, Fitted, Method, NoOptions, Plan, Prediction, Requirements, RunSettings, check_arrays

if TYPE_CHECKING:
    from ..data.samples import Samples

Array = NDArray[np.float64]

#: An age group has a profile of its own if there are so many subjects of it,
FEWEST_SUBJECTS = 3
#: and deviates from that of all ages by n / (n + this) of what its n subjects deviate: between 3 and 10 subjects the
#: error on subjects left out changed by under 1 %.
AGE_SHRINKAGE = 5.0

#: Lags that are tried (fractions of the cycle).
_LAGS = tuple(k / 100 for k in range(-25, 26))


@dataclass(frozen=True)
class ProfileSet:
    """The profiles of one muscle.

    Parameters
    ----------
    classes : tuple of (str, str)
        Motion and age group of each; an empty word stands for all. The first is ``("", "")``.
    profiles : ndarray, shape (classes, cycle_samples)
        Mean EMG cycles.
    base : ndarray, shape (classes, cycle_samples)
        The same from laboratories that simulated, ages together.
    spread : ndarray, shape (classes, cycle_samples)
        Standard deviation over subjects; 0 with one.
    subjects : ndarray of int, shape (classes,)
        How many.
    """

    classes: tuple[tuple[str, str], ...]
    profiles: Array = field(repr=False)
    base: Array = field(repr=False)
    spread: Array = field(repr=False)
    subjects: NDArray[np.int64] = field(repr=False)

    def rows(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Choose the most special class for each cycle.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            ``activation``, and where they are known ``motion`` and ``age_group``, shape (cycles,).

        Returns
        -------
        ndarray of int, shape (cycles,)
            Places in :attr:`classes`.
        """
        count = len(inputs["activation"])
        motions, ages = (np.asarray(inputs.get(name, [""] * count)).tolist() for name in ("motion", "age_group"))
        return np.array([self._row(motion, age) for motion, age in zip(motions, ages, strict=True)], dtype=np.int64)

    def known(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Tell whether there are profiles of a cycle's motion, or nothing is said of it.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            As for :meth:`rows`.

        Returns
        -------
        ndarray of bool, shape (cycles,)
            False for a motion of which there is no EMG.
        """
        motions = inputs.get("motion", np.full(len(inputs["activation"]), ""))
        return np.array([(motion, "") in self.classes for motion in motions.tolist()], dtype=bool)

    def _row(self, motion: str, age: str) -> int:
        wanted = ((motion, age), (motion, ""), ("", ""))
        return next(self.classes.index(one) for one in wanted if one in self.classes)

    def words(self, row: int) -> str:
        """Name a class.

        Parameters
        ----------
        row : int
            Its place.

        Returns
        -------
        str
            Such as ``walk, child``.
        """
        return ", ".join(filter(None, self.classes[row])) or "all motions"


class EMGProfiles(Method):
    """The mean EMG cycle by motion and age group: blind to the simulation, and often hard to beat."""

    key = "profiles"
    label = "EMG profiles"
    description = "mean EMG cycle by motion and age group, every laboratory and subject with its weight"
    colour = "#117733"
    marker = "P"
    requires = Requirements()

    def common(self, samples: Samples, view: CycleView, options: NoOptions) -> Profiles:
        """Fit the profiles of all muscles: they share the lag of a laboratory."""
        return fit_profiles(samples, samples.channels["emg"])

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: NoOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Take a muscle's profiles."""
        found = common if isinstance(common, Profiles) else self.common(samples, view, options)
        if part not in found.sets:
            raise TrainingError(f"There is no EMG of '{part}' to make a profile from.")
        fitted = FittedProfiles((f"ipsi:{part}",), found.sets[part])
        return Plan(lambda trained: fitted, found.evidence(part))

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """Check the classes, and the arrays against them."""
        return FittedProfiles((f"ipsi:{part}",), load_profile_set(part, description, arrays, view))


@dataclass(frozen=True)
class Profiles:
    """The profiles of all muscles.

    Parameters
    ----------
    sets : mapping of str to ProfileSet
        By muscle.
    lags : mapping of str to float
        By how much the EMG of laboratories without simulations was moved (fraction of the cycle; positive: later).
    """

    sets: Mapping[str, ProfileSet]
    lags: Mapping[str, float]

    def evidence(self, part: str) -> Mapping[str, NDArray[Any]]:
        """Return every number of a muscle's profiles.

        Parameters
        ----------
        part : str
            The muscle.

        Returns
        -------
        mapping of str to ndarray
            By what it is.
        """
        if part not in self.sets:
            return {}
        found = self.sets[part]
        lags = np.array([value for _, value in sorted(self.lags.items())])
        return {"EMG profiles": found.profiles, "profiles of simulated laboratories": found.base, "lags": lags}


@dataclass(frozen=True)
class FittedProfiles:
    """The profiles of a muscle, as an estimator.

    Parameters
    ----------
    inputs : tuple of str
        The muscle itself; its activation is not looked at.
    profiles : ProfileSet
        The profiles.
    """

    inputs: tuple[str, ...]
    profiles: ProfileSet
    chosen: Mapping[str, float] = field(default_factory=dict, init=False)
    attention_steps: tuple[str, ...] = field(default=(), init=False)

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Prediction:
        """Give every cycle the profile of its motion and age group."""
        rows = self.profiles.rows(inputs)
        remarks = tuple(f"mean EMG profile ({self.profiles.words(row)})" for row in rows.tolist())
        return Prediction(self.profiles.profiles[rows], remarks=remarks, origins=("profile",) * len(rows))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return profiles, spread and numbers of subjects."""
        return profile_arrays(self.profiles)

    def description(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": [list(names) for names in self.profiles.classes]}


def profile_arrays(profiles: ProfileSet) -> dict[str, NDArray[Any]]:
    """Return the arrays of a set of profiles, for a bundle.

    Parameters
    ----------
    profiles : ProfileSet
        The profiles.

    Returns
    -------
    dict of str to ndarray
        By name.
    """
    floats = {name: getattr(profiles, name).astype(np.float32) for name in ("profiles", "base", "spread")}
    return {**floats, "subjects": profiles.subjects}


def load_profile_set(
    part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
) -> ProfileSet:
    """Put a set of profiles together again, and check it.

    Parameters
    ----------
    part : str
        The muscle.
    description : mapping of str to object
        With ``classes``.
    arrays : mapping of str to ndarray
        From :func:`profile_arrays`.
    view : CycleView
        How cycles are shown.

    Returns
    -------
    ProfileSet
        The profiles.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        Something is missing or of another form.
    """
    found = description.get("classes")
    if (
        not isinstance(found, list)
        or not all(isinstance(one, list) and len(one) == 2 and all(isinstance(n, str) for n in one) for one in found)
        or ["", ""] not in found
    ):
        raise BundleError(f"'classes' of '{part}' must be pairs of a motion and an age group, one of them empty words")
    shape = (len(found), view.cycle_samples)
    names = ("profiles", "base", "spread")
    check_arrays(part, {name: arrays[name] for name in names if name in arrays}, dict.fromkeys(names, shape))
    check_arrays(part, {n: a for n, a in arrays.items() if n not in names}, {"subjects": (len(found),)}, "int64")
    profiles, base, spread = (arrays[name].astype(np.float64) for name in names)
    return ProfileSet(tuple((one[0], one[1]) for one in found), profiles, base, spread, arrays["subjects"])


@dataclass(frozen=True)
class _Curve:
    """The mean cycle of one subject in one motion, and the largest value of its cycles."""

    laboratory: str
    subject: str
    motion: str
    age: str
    simulated: bool
    values: Array
    top: float


def fit_profiles(samples: Samples, muscles: Iterable[str]) -> Profiles:
    """Average EMG, muscle by muscle.

    Parameters
    ----------
    samples : Samples
        Gait cycles; those without activations count, too.
    muscles : iterable of str
        Standard names of the muscles.

    Returns
    -------
    Profiles
        The profiles of the muscles that have EMG.
    """
    curves = {muscle: _curves(samples, muscle) for muscle in muscles}
    curves = {muscle: found for muscle, found in curves.items() if found}
    lags = _lags(curves)
    return Profiles({muscle: _profile_set(found, lags) for muscle, found in curves.items()}, lags)


def _curves(samples: Samples, muscle: str) -> list[_Curve]:
    y = samples.channel("emg", muscle)
    rows = np.flatnonzero(np.isfinite(y).all(axis=1))
    groups: dict[tuple[str, str, str, str, bool], list[int]] = {}
    for row in rows.tolist():
        record = samples.records[row]
        simulated = record.activation_file is not None
        key = (record.laboratory, record.subject, record.motion, record.age_group, simulated)
        groups.setdefault(key, []).append(row)
    return [_Curve(*key, y[groups[key]].mean(axis=0), float(y[groups[key]].max())) for key in sorted(groups)]


def _mean(curves: Sequence[_Curve]) -> Array:
    """Average subjects within laboratories, then laboratories."""
    laboratories: dict[str, dict[str, list[Array]]] = {}
    for curve in curves:
        laboratories.setdefault(curve.laboratory, {}).setdefault(curve.subject, []).append(curve.values)
    means = [np.mean([np.mean(own, axis=0) for own in people.values()], axis=0) for people in laboratories.values()]
    return np.asarray(np.average(means, axis=0, weights=[len(people) ** 0.5 for people in laboratories.values()]))


def _lags(curves: Mapping[str, Sequence[_Curve]]) -> dict[str, float]:
    """Find the lag of each laboratory without simulations at which its profiles are most like the others'."""
    from ..signals.compare import correlations, shift_cycles

    found: dict[str, float] = {}
    strangers = {curve.laboratory for own in curves.values() for curve in own if not curve.simulated}
    for laboratory in sorted(strangers):
        ours, theirs = [], []
        for own in curves.values():
            mine = [curve for curve in own if curve.laboratory == laboratory and not curve.simulated]
            for motion in sorted({curve.motion for curve in mine}):
                others = [curve for curve in own if curve.simulated and curve.motion == motion]
                if others:
                    ours.append(_mean([curve for curve in mine if curve.motion == motion]))
                    theirs.append(_mean(others))
        if ours:
            fit = [float(correlations(shift_cycles(np.array(ours), lag), np.array(theirs)).mean()) for lag in _LAGS]
            found[laboratory] = _LAGS[int(np.argmax(fit))]
    return found


def _profile_set(curves: Sequence[_Curve], lags: Mapping[str, float]) -> ProfileSet:
    from ..signals.compare import shift_cycles

    own = [curve for curve in curves if curve.simulated]
    moved = []
    for curve in curves:
        others = [one for one in own if one.motion == curve.motion] or own
        if curve.simulated or not others:
            moved.append(curve)
            continue
        # Its strength is another convention: what is taken from it is the shape.
        values = shift_cycles(curve.values[None], lags.get(curve.laboratory, 0.0))[0]
        strength = float(np.sqrt(np.mean(values**2)))
        factor = float(np.sqrt(np.mean(_mean(others) ** 2))) / max(strength, 1e-9)
        # A short burst among long ones would otherwise exceed what EMG relative to its maximum can be.
        factor = min(factor, max(one.top for one in others) / max(float(values.max()), 1e-9))
        moved.append(replace(curve, values=factor * values))
    classes: list[tuple[str, str]] = [("", "")]
    classes += [(motion, "") for motion in sorted({curve.motion for curve in curves})]
    for motion, age in sorted({(curve.motion, curve.age) for curve in curves if curve.age}):
        if len({curve.subject for curve in curves if (curve.motion, curve.age) == (motion, age)}) >= FEWEST_SUBJECTS:
            classes.append((motion, age))
    profiles, base, spread, subjects = [], [], [], []
    for motion, age in classes:
        members = [curve for curve in moved if motion in ("", curve.motion)]
        profile = _mean(members)
        simulated = [curve for curve in own if motion in ("", curve.motion)]
        base.append(_mean(simulated) if simulated else profile)
        if age:
            members = [curve for curve in members if curve.age == age]
            count = len({curve.subject for curve in members})
            profile = profile + count / (count + AGE_SHRINKAGE) * (_mean(members) - profile)
        people: dict[str, list[Array]] = {}
        for curve in members:
            people.setdefault(curve.subject, []).append(curve.values)
        means = np.array([np.mean(own_curves, axis=0) for own_curves in people.values()])
        profiles.append(profile)
        spread.append(means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(len(profile)))
        subjects.append(len(means))
    return ProfileSet(tuple(classes), np.array(profiles), np.array(base), np.array(spread), np.array(subjects))
