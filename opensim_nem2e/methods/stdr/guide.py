"""EMG profiles beside a network: what it starts from, and what is used instead where it is no better than they are.

The network knows the input, the profiles know more subjects than have simulations, and their motion and age. So

    estimate = share * max(0, network + profile - profile of the simulated subjects) + (1 - share) * profile

where the share is chosen on training laboratories left out (on subjects left out, where all are of one laboratory):
for each motion 1/2, or 1 where that is clearly better on average over the muscles, and 0 for a muscle where the mixture
is no better than the profile. In a motion without profiles the network stands alone. (A choice among more shares, or
for each muscle, rests on too few subjects: on laboratories left out it was worse than 1/2 throughout.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...data.cycle_view import CycleView
from ...errors import BundleError
from ..base import check_arrays
from ..profiles import ProfileSet, fit_profiles, load_profile_set, profile_arrays

if TYPE_CHECKING:
    from ...data.gait_cycles import MuscleCycles
    from ...data.samples import Samples
    from .fit_linear import LinearFit

Array = NDArray[np.float64]

#: Shares of the network that are tried beside 0; the second must have an error so much less than the first.
SHARES = (0.5, 1.0)
CLEARLY = 0.05

_WORDS = {0.0: "mean EMG profile", 0.5: "half network, half mean EMG profile"}
_ORIGINS = {0.0: "profile", 1.0: "network"}


@dataclass(frozen=True)
class Guide:
    """The profiles of one muscle, and the network's share by motion.

    Parameters
    ----------
    profiles : ProfileSet
        The profiles.
    shares : ndarray, shape (classes,)
        The network's share (0..1) for each class of the profiles.
    """

    profiles: ProfileSet
    shares: Array = field(repr=False)

    def offset(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Tell how the profiles differ from what the network's subjects had.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            What the network is given.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples)
            To be added to its estimate.
        """
        return offsets_of(self.profiles, inputs)

    def apply(
        self, estimate: Array, inputs: Mapping[str, NDArray[Any]]
    ) -> tuple[Array, tuple[str, ...], tuple[str, ...]]:
        """Mix a network's estimate with the profile.

        Parameters
        ----------
        estimate : ndarray, shape (cycles, cycle_samples)
            The network's.
        inputs : mapping of str to ndarray
            What it was given.

        Returns
        -------
        estimate : ndarray, shape (cycles, cycle_samples)
            The mixture; never negative.
        remarks : tuple of str, length cycles
            What it is where it is not the network alone.
        origins : tuple of str, length cycles
            The same in a word or two (:attr:`opensim_nem2e.methods.base.Prediction.origins`).
        """
        rows = self.profiles.rows(inputs)
        # Profiles of other motions say nothing of this one: the network has its input to go by.
        shares = np.where(self.profiles.known(inputs), self.shares[rows], 1.0)
        mixed = mix(estimate + self.offset(inputs), self.profiles.profiles[rows], shares)
        remarks = []
        for row, share in zip(rows.tolist(), shares.tolist(), strict=True):
            word = _WORDS.get(share, "")
            remarks.append(f"{word} ({self.profiles.words(row)})" if word else "")
        return mixed, tuple(remarks), tuple(_ORIGINS.get(share, "network and profile") for share in shares.tolist())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays of profiles and shares, for a bundle.

        Returns
        -------
        dict of str to numpy.ndarray
            Their names begin with ``guide.``.
        """
        own = {**profile_arrays(self.profiles), "shares": self.shares.astype(np.float32)}
        return {f"guide.{name}": array for name, array in own.items()}

    def evidence(self) -> dict[str, NDArray[Any]]:
        """Give every number that was learned.

        Returns
        -------
        dict of str to numpy.ndarray
            By what it is.
        """
        return {
            "EMG profiles": np.concatenate([self.profiles.profiles, self.profiles.base]),
            "network's share": self.shares,
        }


def offsets_of(profiles: ProfileSet, inputs: Mapping[str, NDArray[Any]]) -> Array:
    """Tell how profiles differ from the mean cycle of those who have simulations; 0 for a motion without profiles.

    Parameters
    ----------
    profiles : ProfileSet
        The profiles.
    inputs : mapping of str to ndarray
        What a network is given.

    Returns
    -------
    ndarray, shape (cycles, cycle_samples)
        The difference.
    """
    rows = profiles.rows(inputs)
    found: Array = np.where(profiles.known(inputs)[:, None], profiles.profiles[rows] - profiles.base[rows], 0.0)
    return found


def mix(estimate: Array, profile: Array, shares: Array) -> Array:
    """Mix estimates with profiles.

    Parameters
    ----------
    estimate, profile : ndarray, shape (cycles, cycle_samples)
        What is mixed.
    shares : ndarray, shape (cycles,)
        Of the estimate (0..1).

    Returns
    -------
    ndarray, shape (cycles, cycle_samples)
        The mixture, of the part of the estimate that is not negative.
    """
    mixed: Array = shares[:, None] * np.maximum(estimate, 0.0) + (1.0 - shares[:, None]) * profile
    return mixed


def load_guide(part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView) -> Guide:
    """Put a guide together again, and check it.

    Parameters
    ----------
    part : str
        The muscle.
    description : mapping of str to object
        The description of the profiles: ``classes``.
    arrays : mapping of str to ndarray
        The arrays whose names begin with ``guide.``.
    view : CycleView
        How cycles are shown.

    Returns
    -------
    Guide
        The guide.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        Something is missing, of another shape, or out of range.
    """
    own = {name.removeprefix("guide."): array for name, array in arrays.items()}
    profiles = load_profile_set(f"{part}.guide", description, {n: a for n, a in own.items() if n != "shares"}, view)
    shares = {name: array for name, array in own.items() if name == "shares"}
    check_arrays(f"{part}.guide", shares, {"shares": (len(profiles.classes),)})
    values = shares["shares"].astype(np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise BundleError(f"the tensor '{part}.guide.shares' must hold shares from 0 to 1")
    return Guide(profiles, values)


@dataclass(frozen=True)
class Guided:
    """The guide of one muscle, and what it says of the training cycles.

    Parameters
    ----------
    guide : Guide
        The guide.
    offsets : ndarray, shape (cycles, cycle_samples)
        What it adds to a network for each training cycle, learned without the cycle's laboratory.
    """

    guide: Guide
    offsets: Array = field(repr=False)


def fit_guides(
    samples: Samples, sets: Mapping[str, MuscleCycles], fits: Mapping[str, LinearFit], view: CycleView
) -> dict[str, Guided]:
    """Fit the profiles of all muscles and choose the network's shares.

    The linear part stands for the network: its predictions without each laboratory are known, and what the network
    adds to them is small.

    Parameters
    ----------
    samples : Samples
        All training samples, those without activations included.
    sets : mapping of str to MuscleCycles
        The training cycles by muscle.
    fits : mapping of str to LinearFit
        The linear parts.
    view : CycleView
        How cycles are shown.

    Returns
    -------
    dict of str to Guided
        By muscle.
    """
    from .fit_linear import groups_of

    everyone = fit_profiles(samples, sets).sets
    groups, by = groups_of(sets)
    labels = samples.laboratories if by == "laboratory" else samples.subjects
    names = sorted({name for own in groups.values() for name in own.tolist()})
    without = {name: fit_profiles(samples.select(labels != name), sets).sets for name in names}
    found: dict[str, Guided] = {}
    errors: dict[str, dict[str, Array]] = {}
    for muscle, cycles in sets.items():
        inputs = {"activation": cycles.x, **cycles.about}
        guide = Guide(everyone[muscle], np.zeros(len(everyone[muscle].classes)))
        offsets, profiles = guide.offset(inputs), np.full_like(cycles.y, np.nan)
        # A muscle of one laboratory: nothing is known of how its network does elsewhere.
        for name in dict.fromkeys(groups[muscle].tolist()) if len(set(groups[muscle].tolist())) > 1 else ():
            rows = groups[muscle] == name
            own = {key: array[rows] for key, array in inputs.items()}
            left = without[name][muscle]
            profiles[rows] = left.profiles[left.rows(own)]
            offsets[rows] = offsets_of(left, own)
        estimate = view.join(fits[muscle].out_of_fold) + offsets
        found[muscle] = Guided(guide, offsets)
        for motion in dict.fromkeys(motion for motion, _ in guide.profiles.classes):
            own_errors = _errors(estimate, profiles, cycles, motion)
            if own_errors is not None:
                errors.setdefault(motion, {})[muscle] = own_errors
    for motion, by_muscle in errors.items():
        # Relative to the profile's, so that muscles that are hard to estimate do not decide for all.
        ratios = np.mean([each[1:] / max(each[0], 1e-9) for each in by_muscle.values()], axis=0)
        best = int(ratios[1] < (1 - CLEARLY) * ratios[0])
        for muscle, each in by_muscle.items():
            if each[1 + best] < each[0]:
                classes = found[muscle].guide.profiles.classes
                found[muscle].guide.shares[[name == motion for name, _ in classes]] = SHARES[best]
    return found


def _errors(estimate: Array, profiles: Array, cycles: MuscleCycles, motion: str) -> Array | None:
    """Take E with the share 0 and with every one of SHARES, averaged over subjects; None where nothing is known."""
    from ...signals.compare import cycle_errors

    rows = np.isfinite(profiles).all(axis=1) & ((cycles.about["motion"] == motion) | (motion == ""))
    if not rows.any():
        return None
    subjects = cycles.subjects[rows]
    found = []
    for share in (0.0, *SHARES):
        mixed = mix(estimate[rows], profiles[rows], np.full(int(rows.sum()), share))
        each = cycle_errors(mixed, cycles.y[rows])
        found.append(np.mean([each[subjects == subject].mean() for subject in np.unique(subjects)]))
    return np.array(found)
