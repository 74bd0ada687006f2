"""What other subjects' EMG says of a muscle: non-negative weights of channels, simulation, mean profile and constant.

A bundle holds, for each muscle, the mean products (over gait cycles of all subjects, each channel of a subject divided
by its RMS) of the muscle's EMG, every other channel's, the muscle's simulated activation, its mean profile and a
constant, which stands for what no source tells. The weights for whatever channels a new subject has follow from them by
non-negative least squares; so nothing has to be trained again when a channel is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError, TrainingError
from ...storage.array_files import checksum_of

Array = NDArray[np.float64]

#: Samples of a cycle.
SAMPLES = 50

#: Added to the mean squares, which are 1: weights of channels that few subjects have stay small. Chosen by leaving out
#: subjects of the sets that no table reports.
RIDGE = 0.15

#: The mean product of two curves that nobody has both of.
_UNSEEN = 0.5

#: Sources beside the channels. The constant keeps the estimate of a muscle of which little is known near its mean.
SIMULATION, PROFILE, CONSTANT = "simulation", "profile", "constant"

_FORMAT = "opensim_nem2e population 2"

#: Under this key of the metadata.
_CHECKSUM_KEY = "opensim_nem2e_sha256"


@dataclass(frozen=True, eq=False)
class PersonCycles:
    """Gait cycles of one subject.

    Parameters
    ----------
    subject, laboratory : str
        Who, and where recorded.
    emg : mapping of str to numpy.ndarray, shape (cycles, SAMPLES)
        EMG by standard name, on the clock of the activations; NaN in cycles without.
    simulated : mapping of str to numpy.ndarray, shape (cycles, SAMPLES)
        Simulated activations of the same muscles; empty where there is no simulation.
    """

    subject: str
    laboratory: str
    emg: Mapping[str, Array]
    simulated: Mapping[str, Array]

    def scaled(self) -> PersonCycles:
        """Divide every curve by its RMS.

        Returns
        -------
        PersonCycles
            Without what is silent.
        """

        def scale(curves: Mapping[str, Array]) -> dict[str, Array]:
            sizes = {name: float(np.sqrt(np.nanmean(np.square(values)))) for name, values in curves.items()}
            return {name: values / sizes[name] for name, values in curves.items() if sizes[name] > 0.0}

        return PersonCycles(self.subject, self.laboratory, scale(self.emg), scale(self.simulated))


@dataclass(frozen=True, eq=False)
class Population:
    """Other subjects' EMG, in second moments.

    Parameters
    ----------
    muscles : tuple of str
        Standard names of the muscles that any subject has EMG of.
    moments : numpy.ndarray, shape (muscles, sources + 1, sources + 1)
        Mean products for each muscle: of :attr:`sources` and, last, of the muscle's EMG; NaN where no subject has both.
    profiles : numpy.ndarray, shape (muscles, SAMPLES)
        Mean EMG over the gait cycle, RMS 1, on the clock of the activations.
    subjects : tuple of str
        Whom it was learned from, ``laboratory/subject``.
    description : str, optional
        Where the subjects come from, and their licences.
    """

    muscles: tuple[str, ...]
    moments: Array
    profiles: Array
    subjects: tuple[str, ...]
    description: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The channels, then simulation, profile and constant."""
        return (*self.muscles, SIMULATION, PROFILE, CONSTANT)

    @classmethod
    def learn(cls, people: Sequence[PersonCycles]) -> Population:
        """Learn from subjects.

        Parameters
        ----------
        people : sequence of PersonCycles
            The subjects. Laboratories count by the square root of their subjects. Curves of a laboratory without
            simulations are shifted, all alike, to where its mean profiles fit those of the others.

        Returns
        -------
        Population
            What was learned.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There are fewer than two subjects.
        """
        if len(people) < 2:
            raise TrainingError(f"A population needs at least two subjects; found {len(people)}.")
        people = _aligned([person.scaled() for person in people])
        labs = [person.laboratory for person in people]
        weights = np.array([1.0 / np.sqrt(labs.count(lab)) for lab in labs])
        muscles = tuple(sorted({name for person in people for name in person.emg}))
        own = {
            m: np.array([_mean_cycle(p.emg[m]) if m in p.emg else np.full(SAMPLES, np.nan) for p in people])
            for m in muscles
        }
        moments = np.stack([_moments(m, muscles, people, weights, own[m]) for m in muscles])
        profiles = np.stack([_profile(own[m], weights) for m in muscles])
        return cls(muscles, moments, profiles, tuple(f"{p.laboratory}/{p.subject}" for p in people))

    def weights(self, muscle: str, sources: Sequence[str]) -> tuple[Array, float]:
        """Weigh sources.

        Parameters
        ----------
        muscle : str
            One of :attr:`muscles`.
        sources : sequence of str
            Some of :attr:`sources`.

        Returns
        -------
        weights : numpy.ndarray, shape (sources,)
            Not negative, for curves of RMS 1.
        spread : float
            RMS of what they leave unexplained of other subjects' EMG of RMS 1.
        """
        from scipy.optimize import nnls

        table = self.moments[self.muscles.index(muscle)]
        known = self.sources
        places = [known.index(source) for source in sources] + [len(known)]
        part = table[np.ix_(places, places)]
        part = np.where(np.isnan(part), _UNSEEN, part)
        values, vectors = np.linalg.eigh(0.5 * (part + part.T))
        part = (vectors * np.maximum(values, 1e-3)) @ vectors.T
        square, product = part[:-1, :-1], part[:-1, -1]
        root = np.linalg.cholesky(square + RIDGE * np.eye(len(sources)))
        found = nnls(root.T, np.linalg.solve(root, product))[0]
        left = part[-1, -1] - 2.0 * found @ product + found @ square @ found
        return found, float(np.sqrt(max(left, 0.01)))

    def profile(self, muscle: str, phase: Array) -> Array:
        """Evaluate a mean profile.

        Parameters
        ----------
        muscle : str
            One of :attr:`muscles`.
        phase : numpy.ndarray
            0..1; NaN gives NaN.

        Returns
        -------
        numpy.ndarray
            EMG of RMS 1 over a cycle.
        """
        own = self.profiles[self.muscles.index(muscle)]
        return np.asarray(np.interp(phase, np.arange(SAMPLES) / SAMPLES, own, period=1.0), dtype=float)

    def described(self) -> list[str]:
        """Say whom it was learned from.

        Returns
        -------
        list of str
            One fact each.
        """
        return [
            "kind: other subjects' EMG in gait, for <population_bundle> of NMMTool",
            f"muscles: {', '.join(self.muscles)}",
            f"subjects: {len(self.subjects)} ({', '.join(self.subjects)})",
            f"data: {self.description or 'not stated'}",
            "how good it is: every run of NMMTool tells, by leaving out its own channels in turn",
        ]

    def save(self, path: str | os.PathLike[str], description: str = "") -> None:
        """Write a bundle.

        Parameters
        ----------
        path : str or os.PathLike
            The file (``.safetensors``).
        description : str, optional
            Where the subjects come from, and their licences.
        """
        from safetensors.numpy import save

        from ...storage.atomic import atomic_path

        metadata = {"muscles": list(self.muscles), "subjects": list(self.subjects), "description": description}
        # The tensors' file format has no missing numbers' meaning of its own: NaN is a number to it.
        arrays = {"moments": self.moments.astype(np.float32), "profiles": self.profiles.astype(np.float32)}
        text = json.dumps(metadata)
        content = save(arrays, {"format": _FORMAT, "population": text, _CHECKSUM_KEY: _checksum(text, arrays)})
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Population:
        """Read a bundle.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or the name of one that ships with the package.

        Returns
        -------
        Population
            What was learned.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            It is no population bundle, or is damaged.
        """
        file = Path(path)
        if not file.is_file() and not file.suffix:
            return _shipped(os.fspath(path))
        return _read(file)


def is_population(path: str | os.PathLike[str]) -> bool:
    """Tell a population bundle from others.

    Parameters
    ----------
    path : str or os.PathLike
        A file.

    Returns
    -------
    bool
        False also where it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            return str((stream.metadata() or {}).get("format", "")).startswith(_FORMAT.rpartition(" ")[0])
    except (SafetensorError, OSError, ValueError):
        return False


@cache
def _shipped(name: str) -> Population:
    resource = files("opensim_nem2e").joinpath("bundles", f"{name}.safetensors")
    if not resource.is_file():
        raise BundleError(f"There is no population bundle '{name}', neither as a file nor with the package.")
    with as_file(resource) as file:
        return _read(file)


def _checksum(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    return hashlib.sha256(f"{text}\n{checksum_of(arrays)}".encode()).hexdigest()


def _read(file: Path) -> Population:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as stream:
            said = stream.metadata() or {}
            if said.get("format") != _FORMAT:
                raise BundleError(
                    f"{file}: a population bundle ('{_FORMAT}') was expected; found '{said.get('format', 'none')}'."
                )
            stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            text = said["population"]
            if said.get(_CHECKSUM_KEY) != _checksum(text, stored):
                raise BundleError(f"{file}: the population bundle is damaged: it does not fit its checksum.")
            arrays = {name: np.asarray(values, dtype=float) for name, values in stored.items()}
            content: Any = json.loads(text)
        muscles, subjects = (tuple(str(x) for x in content[key]) for key in ("muscles", "subjects"))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: the population bundle cannot be read ({error}).") from error
    size = len(muscles) + 4
    expected = {"moments": (len(muscles), size, size), "profiles": (len(muscles), SAMPLES)}
    for name, shape in expected.items():
        if name not in arrays or arrays[name].shape != shape:
            found = arrays[name].shape if name in arrays else "nothing"
            raise BundleError(f"{file}: the tensor '{name}' must have the shape {shape}; found {found}.")
    if not np.isfinite(arrays["profiles"]).all() or np.isinf(arrays["moments"]).any():
        raise BundleError(f"{file}: the population bundle holds numbers that are not finite.")
    description = content.get("description", "")
    return Population(
        muscles, arrays["moments"], arrays["profiles"], subjects, description if isinstance(description, str) else ""
    )


def _mean_cycle(cycles: Array) -> Array:
    return np.asarray(np.nanmean(cycles, axis=0), dtype=float)


def _profile(cycles: Array, weights: Array) -> Array:
    """Return the weighted mean over subjects, RMS 1; what is NaN has no weight."""
    known = np.isfinite(cycles).all(1)
    if not known.any():
        return np.zeros(SAMPLES)
    sizes = np.sqrt(np.mean(cycles[known] ** 2, axis=1, keepdims=True))
    mean = np.average(cycles[known] / sizes, axis=0, weights=weights[known])
    result: Array = mean / np.sqrt(np.mean(mean**2))
    return result


def _moments(
    muscle: str, muscles: tuple[str, ...], people: Sequence[PersonCycles], weights: Array, own: Array
) -> Array:
    """Return the mean products for one muscle; each subject's profile is that of the others."""
    size = len(muscles) + 4
    total, weight = np.zeros((size, size)), np.zeros((size, size))
    for k, person in enumerate(people):
        others = weights.copy()
        others[k] = 0.0
        known = np.isfinite(own).all(1) & (others > 0.0)
        count = len(next(iter(person.emg.values())))
        curves = np.full((size, count, SAMPLES), np.nan)
        for name, values in person.emg.items():
            curves[muscles.index(name)] = values
        if muscle in person.emg:
            curves[-1] = person.emg[muscle]
        if muscle in person.simulated:
            curves[-4] = person.simulated[muscle]
        if known.any():
            curves[-3] = _profile(np.where(known[:, None], own, np.nan), others)
        curves[-2] = 1.0
        there = np.isfinite(curves)
        flat = np.where(there, curves, 0.0).reshape(size, -1)
        shared = there.reshape(size, -1).astype(float)
        common = shared @ shared.T
        seen = common > 0.0
        total[seen] += weights[k] * (flat @ flat.T)[seen] / common[seen]
        weight[seen] += weights[k]
    return np.where(weight > 0.0, total / np.where(weight > 0.0, weight, 1.0), np.nan)


def _aligned(people: Sequence[PersonCycles]) -> list[PersonCycles]:
    """Shift the curves of laboratories without simulations to fit those of the others."""
    bare = {p.laboratory for p in people if not p.simulated}
    rest = [p for p in people if p.laboratory not in bare]
    if not bare or not rest:
        return list(people)
    shifts = {}
    for lab in bare:
        own = [p for p in people if p.laboratory == lab]
        shared = {m for p in own for m in p.emg} & {m for p in rest for m in p.emg}
        scores = np.zeros(SAMPLES)
        for m in shared:
            ours, theirs = (
                _profile(np.array([_mean_cycle(p.emg[m]) for p in group if m in p.emg]), np.ones(_having(group, m)))
                for group in (own, rest)
            )
            scores += [np.corrcoef(np.roll(ours, s), theirs)[0, 1] for s in range(SAMPLES)]
        shifts[lab] = int(scores.argmax())
    return [
        PersonCycles(
            p.subject,
            p.laboratory,
            {m: np.roll(values, shifts.get(p.laboratory, 0), axis=-1) for m, values in p.emg.items()},
            p.simulated,
        )
        for p in people
    ]


def _having(people: Sequence[PersonCycles], muscle: str) -> int:
    return sum(muscle in person.emg for person in people)
