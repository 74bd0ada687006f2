"""A bundle: what a method has learned, with all that is needed to use and to judge it, in one file.

The file is a ``.safetensors`` file (never pickle). Its tensors are ``<target>.<array>``; which arrays there are, and of
what shape, the method says (:meth:`opensim_nem2e.methods.base.Fitted.arrays`). Everything else is JSON text under the
metadata key ``opensim_nem2e``, its SHA-256 under ``opensim_nem2e_sha256``; the text holds the SHA-256 of every part's
arrays.

Formats 1 and 2 hold STDR-Net and no checksums. Importing and using this module needs neither PyTorch nor SciPy nor
pandas; only the parts that are asked for are read from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .. import __version__
from ..data.cycle_view import CONDITIONS, Condition, CycleView
from ..errors import BundleError, TrainingError, did_you_mean
from ..storage.array_files import checksum_of
from ..storage.atomic import atomic_path
from .bands import Bands
from .base import Fitted, Method, Prediction, Provenance, Quantity
from .registry import find_method
from .training_range import TrainingRange

#: Version of the file layout this package writes; files of a higher version are refused.
FORMAT_VERSION = 3

#: The keys of the safetensors metadata that hold our JSON text, and the SHA-256 of that.
METADATA_KEY = "opensim_nem2e"
CHECKSUM_KEY = "opensim_nem2e_sha256"

#: Where the bundles that ship with the package lie.
SHIPPED = Path(__file__).resolve().parent.parent / "bundles"

#: Sections that the metadata must have besides the parts themselves, and the keys each must hold.
SECTIONS: dict[str, tuple[str, ...]] = {
    "cycle": ("definition", "sampling"),
    "normalization": ("activation", "emg"),
    "data": ("description", "licence", "attribution"),
    "training": ("seed",),
    "packages": (),
    "validation": ("method",),
}

#: Ways of estimating the error on unseen subjects, whose figures the section ``validation`` may hold, by muscle.
VALIDATION_METHODS = ("leave_one_subject_out", "leave_one_laboratory_out", "held_out")

#: The figures of a muscle: RMS errors and their change (``E / E_opensim - 1``), averaged over subjects.
VALIDATION_FIGURES = ("E_opensim", "E_refined", "E_mean", "E_ridge", "Er_refined")

_INPUT = re.compile(r"(ipsi|contra):[A-Za-z0-9_]+")
_TARGET = re.compile(r"[A-Za-z0-9_]+")
#: No method learns larger numbers: they come from flipped bits. Bundles of formats 1 and 2 have no checksum.
_LARGEST_NUMBER = 1e12

#: An estimate of EMG relative to its maximum that is larger than this is nonsense, not an outlier.
_LARGEST_ESTIMATE = 100.0

#: What the header says of a part besides the method's own description.
_PART_KEYS = frozenset({"target", "inputs", "sha256"})


@dataclass(frozen=True)
class _Part:
    """What the metadata say about one part."""

    target: str
    inputs: tuple[str, ...]
    description: Mapping[str, Any]
    arrays: tuple[str, ...]
    sha256: str | None

    def view(self, condition: Condition, samples: int) -> CycleView:
        return CycleView(condition, samples, self.inputs if self.inputs != (f"ipsi:{self.target}",) else ())


class Bundle:
    """What a method has learned of one or more muscles, ready to be applied to gait cycles.

    Made by :meth:`load` from a file, or by the training tool.

    Parameters
    ----------
    method : Method
        The method.
    view : CycleView
        How cycles are shown to it; its input muscles do not count, each part has its own.
    parts : mapping of str to Fitted
        What was learned, by target muscle (standard name), in order.
    metadata : mapping of str to Any
        The sections of :data:`SECTIONS`: cycle definition, normalisation, provenance and licence of the data, training
        settings, package versions, validation figures. And, where they are known, ``bands``
        (:meth:`opensim_nem2e.methods.bands.Bands.section`) and ``training_range``
        (:meth:`opensim_nem2e.methods.training_range.TrainingRange.section`).

    Raises
    ------
    opensim_nem2e.errors.BundleError
        Something is missing, of another shape, or not finite.
    """

    def __init__(self, method: Method, view: CycleView, parts: Mapping[str, Fitted], metadata: Mapping[str, Any]):
        entries, shapes = [], []
        for target, fitted in parts.items():
            arrays = fitted.arrays()
            own = {"target": target, "inputs": list(fitted.inputs)}
            entries.append({**own, **fitted.description(), "sha256": checksum_of(arrays)})
            shapes += [f"{target}.{name}" for name in arrays]
        header = {
            **metadata,
            "format_version": FORMAT_VERSION,
            "method": method.key,
            "condition": view.condition,
            "samples": view.samples,
            "parts": entries,
        }
        header.pop("networks", None)
        self._adopt(header, shapes, None)
        for target, fitted in parts.items():
            self._loaded[target] = self._load(target, fitted.arrays())

    def _adopt(self, header: Any, tensors: Sequence[str], path: Path | None) -> None:
        """Check the description of the parts and keep it."""
        self.path = path
        entries = _check(header, tensors, path)
        try:
            self.method: Method = find_method(header["method"])
        except TrainingError as error:
            raise BundleError(f"{self._where()}this bundle cannot be used. {error}") from error
        self._entries = {entry.target: entry for entry in entries}
        self._condition: Condition = header["condition"]
        self._samples: int = header["samples"]
        self._metadata: dict[str, Any] = dict(header)
        #: The bands around its estimates, and the range of its training cycles; None where the file has none.
        self.bands = None if header.get("bands") is None else Bands.of_section(header["bands"], self.cycle_samples)
        found = header.get("training_range")
        self.training_range = None if found is None else TrainingRange.of_section(found)
        self._loaded: dict[str, Fitted] = {}
        self._file: Any = None

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> Bundle:
        """Open a bundle.

        The description is checked now; the arrays of a part are read, and checked against their checksum, their shapes
        and for values that are not finite, when that part is first used.

        Parameters
        ----------
        path_or_name : str or os.PathLike
            A ``.safetensors`` file, or the name of a bundle that ships with the package, such as ``gait``.

        Returns
        -------
        Bundle
            What was learned, ready to be applied.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            There is no such file or shipped bundle; it is truncated, damaged, not a safetensors file, not a bundle, of
            a newer format, or of a method that is not installed.
        """
        path = find_bundle(path_or_name)
        try:
            file = safe_open(path, framework="numpy")
            texts = file.metadata() or {}
            tensors = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise BundleError(
                f"{path}: this bundle cannot be read: it must be a complete .safetensors file; "
                f"the file is truncated, damaged or of another kind ({error})."
            ) from error
        if METADATA_KEY not in texts:
            raise BundleError(
                f"{path}: this is a safetensors file but not a bundle: its metadata have no key "
                f"'{METADATA_KEY}'. Bundles are written by STDRTrainTool."
            )
        text = texts[METADATA_KEY]
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path}: the bundle's metadata are not valid JSON: {error}.") from error
        if isinstance(header, dict) and header.get("kind") == "motion":
            raise BundleError(
                f"{path}: this bundle estimates joint moments from a motion, not EMG from activations: it is for "
                "KinematicsToActivationTool."
            )
        current = _is_current(header)
        if current and texts.get(CHECKSUM_KEY) != hashlib.sha256(text.encode()).hexdigest():
            raise BundleError(f"{path}: the bundle is damaged: its metadata do not fit their checksum.")
        bundle = cls.__new__(cls)
        bundle._adopt(_as_format_3(header), tensors, path)
        unsigned = [entry.target for entry in bundle._entries.values() if current and entry.sha256 is None]
        if unsigned:
            raise BundleError(f"{path}: the bundle has no checksum for the arrays of {', '.join(unsigned)}.")
        bundle._file = file
        return bundle

    @classmethod
    def load_once(cls, path_or_name: str | os.PathLike[str]) -> Bundle:
        """Open a bundle as :meth:`load` does, unless it is the one that this opened last and has not changed.

        Parameters
        ----------
        path_or_name : str or os.PathLike
            As for :meth:`load`.

        Returns
        -------
        Bundle
            The same for all who ask; a large one (more than 64 MB) is not kept.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            As for :meth:`load`.
        """
        path = find_bundle(path_or_name)
        try:
            status = path.stat()
        except OSError:
            return cls.load(path)
        key = path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns
        if _last.get("key") != key:
            _last.clear()
            bundle = cls.load(path)
            if status.st_size > _MOST_KEPT:
                return bundle
            _last.update(key=key, bundle=bundle)
        kept: Bundle = _last["bundle"]
        return kept

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else f"{self.path.stem}, sha256 {self.sha256[:12]}"
        return f"<Bundle {where}: {self.provenance.label}; {', '.join(self.targets)}; trained on {self.trained_on}>"

    @property
    def condition(self) -> Condition:
        """The input condition: ``One-Quarter``, ``One-Entire`` or ``All-Entire``."""
        return self._condition

    @property
    def targets(self) -> tuple[str, ...]:
        """Standard names of the muscles whose EMG the bundle estimates."""
        return tuple(self._entries)

    @property
    def samples(self) -> int:
        """Samples of one window."""
        return self._samples

    @property
    def view(self) -> CycleView:
        """How cycles are shown to the method, without the input muscles, which each part has of its own."""
        return CycleView(self._condition, self._samples)

    @property
    def cycle_samples(self) -> int:
        """Evenly spaced samples, both ends included, at which :meth:`predict` takes and gives a whole gait cycle."""
        return self.view.cycle_samples

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything the file says: cycle, normalisation, data, training, packages, validation."""
        return self._metadata

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file; empty for a bundle that is in memory only."""
        return "" if self.path is None else hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def trained_on(self) -> str:
        """Who it was trained on, in a few words."""
        data = self._metadata["data"]
        subjects, motions = data.get("subjects") or (), data.get("motions") or ()
        told = str(data["description"])
        if subjects:
            shown = ", ".join(subjects[:4]) + (", ..." if len(subjects) > 4 else "")
            count = f"{len(subjects)} subject{'s' if len(subjects) > 1 else ''}"
            told = f"{count} ({shown}{'; ' if motions else ''}{', '.join(motions)})"
        calibration = self._metadata.get("calibration")
        if calibration:
            told += f", then calibrated to {', '.join(calibration['subjects'])} ({', '.join(calibration['motions'])})"
        return told

    @property
    def quantity(self) -> Quantity:
        """What its estimates are."""
        return "emg"

    @property
    def provenance(self) -> Provenance:
        """Where its estimates come from."""
        return Provenance(
            method=self.method.key,
            label=f"{self.method.label}, {self._condition}",
            bundle=self.path.name if self.path else "",
            path=self.path,
            sha256=self.sha256,
            package_version=__version__,
            validation=self._metadata["validation"],
            calibration=self._metadata.get("calibration"),
            bands=self.bands,
            training_range=self.training_range,
        )

    def inputs(self, target: str) -> tuple[str, ...]:
        """Name the input muscles of a target, in the order :meth:`predict` takes them.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        tuple of str
            ``ipsi:<standard name>`` for the target's own side, ``contra:<standard name>`` for the other.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has nothing for this muscle.
        """
        return self._entry(target).inputs

    def part(self, target: str) -> Fitted:
        """Return what was learned of a target, reading it from the file if need be.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        Fitted
            Arrays and numbers of the method.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has nothing for this muscle; or its arrays are damaged, missing, of another shape or not finite.
        """
        entry = self._entry(target)
        if target not in self._loaded:
            try:
                arrays = {name: self._file.get_tensor(f"{target}.{name}") for name in entry.arrays}
            except (SafetensorError, TypeError, ValueError, OSError) as error:
                # A number type that NumPy lacks is a TypeError.
                raise BundleError(f"{self._where()}the arrays of '{target}' cannot be read ({error}).") from error
            if entry.sha256 is not None and checksum_of(arrays) != entry.sha256:
                raise BundleError(
                    f"{self._where()}the bundle is damaged: the arrays of '{target}' do not fit their checksum."
                )
            self._loaded[target] = self._load(target, arrays)
        return self._loaded[target]

    def attention_steps(self, target: str) -> tuple[str, ...]:
        """Name what the attention weights of a target weigh.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        tuple of str
            Input muscles (``ipsi:soleus``) or samples (``sample_01``); empty for methods without attention.
        """
        return self.part(target).attention_steps

    def predict(self, target: str, x: ArrayLike, *, motion: str = "", age_group: str = "") -> Prediction:
        """Estimate the EMG of one muscle from OpenSim's activations, many cycles at once.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.
        x : array_like, shape (cycles, cycle_samples, inputs)
            OpenSim's activations as they are (0..1), one column per entry of ``inputs(target)``, at
            ``linspace(start, end, cycle_samples)`` of each cycle. For One-Quarter that is 77 samples: the four windows
            of 20 that share their border samples are cut, and put together again, in here.
        motion, age_group : str
            What the cycles are and of whom (``walk``, ``child``), for methods that tell them apart; empty: not known.

        Returns
        -------
        Prediction
            The estimate of the normalised EMG at the same times. It can leave 0..1. With the bundle's bands, where it
            has some and the method has none of its own.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has nothing for this muscle, x has another shape or values that are not finite, or what the
            method makes of it cannot be EMG relative to its maximum.
        """
        fitted = self.part(target)
        values = np.asarray(x, dtype=np.float64)
        expected = (self.cycle_samples, len(fitted.inputs))
        if values.ndim != 3 or values.shape[1:] != expected:
            raise BundleError(
                f"The '{self.condition}' estimator of '{target}' takes activations of shape "
                f"(cycles, {expected[0]} samples, {expected[1]} muscles); found {values.shape}."
            )
        if not np.isfinite(values).all():
            raise BundleError(f"The activations given to the estimator of '{target}' are not all finite numbers.")
        about = {"motion": np.full(len(values), motion), "age_group": np.full(len(values), age_group)}
        # What is beyond all numbers is told below.
        with np.errstate(over="ignore", invalid="ignore"):
            found = fitted.predict({"activation": values, **about})
        if found.values.shape != values.shape[:2] or not np.isfinite(found.values).all():
            raise BundleError(
                f"{self._where()}the method '{self.method.key}' gave an estimate of '{target}' that is not finite or "
                f"not of the shape {values.shape[:2]}."
            )
        largest = float(np.abs(found.values).max(initial=0.0))
        if largest > _LARGEST_ESTIMATE:
            raise BundleError(
                f"{self._where()}the method '{self.method.key}' gave an estimate of '{target}' that reaches "
                f"{largest:.3g}, where EMG relative to its maximum is 0 to 1. Is the bundle damaged?"
            )
        return found if self.bands is None else self.bands.add_to(target, found)

    def refine(self, target: str, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Estimate as :meth:`predict` does, and return values and attention only.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.
        x : array_like, shape (cycles, cycle_samples, inputs)
            As in :meth:`predict`.

        Returns
        -------
        y : ndarray, shape (cycles, cycle_samples)
            The estimate.
        attention : ndarray, shape (cycles, cycle_samples, steps), or None
            Attention weights, for methods that have them; each row sums to one.
        """
        found = self.predict(target, x)
        return found.values, found.attention

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle to a ``.safetensors`` file, replacing an older one only when it is complete.

        Parameters
        ----------
        path : str or os.PathLike
            The file. Its folder must exist.
        """
        header = {**self._metadata, "parts": []}
        tensors: dict[str, NDArray[Any]] = {}
        for target, entry in self._entries.items():
            arrays = self.part(target).arrays()
            tensors |= {f"{target}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
            own = {"target": target, "inputs": list(entry.inputs)}
            header["parts"].append({**own, **entry.description, "sha256": checksum_of(arrays)})
        text = json.dumps(header, allow_nan=False, ensure_ascii=False)
        texts = {METADATA_KEY: text, CHECKSUM_KEY: hashlib.sha256(text.encode()).hexdigest()}
        with atomic_path(path) as temporary:
            # Not save_file: it makes files that only their owner can read.
            temporary.write_bytes(save_tensors(tensors, texts))

    def _entry(self, target: str) -> _Part:
        if target not in self._entries:
            raise BundleError(
                f"{self._where()}there is no estimator for the muscle '{target}'."
                f"{did_you_mean(target, self.targets)} The bundle's muscles are: {', '.join(self.targets)}."
            )
        return self._entries[target]

    def _load(self, target: str, arrays: Mapping[str, NDArray[Any]]) -> Fitted:
        """Have the method check its arrays and put them together."""
        entry = self._entry(target)
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not (np.abs(array) < _LARGEST_NUMBER).all():
                raise BundleError(
                    f"{self._where()}the tensor '{target}.{name}' must hold numbers below {_LARGEST_NUMBER:g}, but "
                    f"{array.flat[int(np.argmin(np.abs(array) < _LARGEST_NUMBER))]:g} was found."
                )
        try:
            return self.method.load(target, entry.description, arrays, entry.view(self._condition, self._samples))
        except BundleError as error:
            faults = "\n".join(f"  - {line}" for line in str(error).splitlines())
            raise BundleError(f"{self._where()}the bundle cannot be used:\n{faults}") from error

    def _where(self) -> str:
        return "" if self.path is None else f"{self.path}: "


def shipped_bundles() -> dict[str, Path]:
    """List the bundles that ship with the package.

    Returns
    -------
    dict of str to pathlib.Path
        Files by name.
    """
    return {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}


#: The bundle that was opened last, if it is small enough (bytes) to be kept.
_last: dict[str, Any] = {}
_MOST_KEPT = 64 << 20


#: Files of a laboratory that are given in a bundle's place.
_NO_BUNDLE = (".osim", ".sto", ".mot", ".xml", ".csv", ".trc", ".c3d")


def find_bundle(path_or_name: str | os.PathLike[str]) -> Path:
    """Find the file that a path or the name of a shipped bundle stands for.

    Parameters
    ----------
    path_or_name : str or os.PathLike
        A file, or a shipped bundle's name.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        There is no such file and no such name.
    """
    text = os.fspath(path_or_name)
    path = Path(text)
    if path.is_file() and path.suffix.lower() not in _NO_BUNDLE:
        return path
    shipped = shipped_bundles()
    if text in shipped:
        return shipped[text]
    allowed = f"shipped bundles: {', '.join(shipped) or 'none'}"
    if path.is_dir() or path.is_file():
        found = "a folder" if path.is_dir() else f"a file {path.suffix}"
        raise BundleError(f"{path}: a bundle must be a .safetensors file; found {found} ({allowed}).")
    if path.suffix or len(path.parts) > 1:
        raise BundleError(f"{path}: there is no such bundle ({allowed}).{did_you_mean(path.stem, shipped)}")
    raise BundleError(
        f"There is no bundle '{text}': it must be a .safetensors file or the name of a shipped bundle "
        f"({allowed}).{did_you_mean(text, shipped)}"
    )


def save_tensors(tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> bytes:
    """Lay a file out with the texts in a fixed order; the library's own is another one in every run.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays by name.
    texts : mapping of str to str
        Metadata.

    Returns
    -------
    bytes
        Content of a ``.safetensors`` file.
    """
    content = bytes(save(dict(tensors)))
    start = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(texts), **json.loads(content[8:start])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # Arrays begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def _is_current(header: Any) -> bool:
    return isinstance(header, dict) and header.get("format_version") == FORMAT_VERSION


def _as_format_3(header: Any) -> Any:
    """Bring the header of formats 1 and 2, which hold STDR-Net, into the present form."""
    if not isinstance(header, dict) or header.get("format_version") not in (1, 2):
        return header
    found = {name: value for name, value in header.items() if name != "networks"}
    return {**found, "format_version": FORMAT_VERSION, "method": "stdr_net", "parts": header.get("networks")}


def _check(header: Any, tensors: Sequence[str], path: Path | None) -> list[_Part]:
    """Check the metadata; report every fault at once."""
    where = "The bundle" if path is None else f"{path}: the bundle"
    if not isinstance(header, dict):
        raise BundleError(f"{where}'s metadata must be a JSON object.")
    version = header.get("format_version")
    if not _is_count(version):
        raise BundleError(f"{where} does not say its format_version (a whole number from 1 to {FORMAT_VERSION}).")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{where} has format version {version}; this version of opensim_nem2e reads up to {FORMAT_VERSION}. "
            "Update the package: pip install --upgrade opensim-nem2e."
        )
    faults: list[str] = []
    if not isinstance(header.get("method"), str):
        faults.append(f"'method' must name the method that the bundle holds; found {header.get('method')!r}")
    condition = header.get("condition")
    if condition not in CONDITIONS:
        faults.append(f"unknown condition {condition!r}; allowed: {', '.join(CONDITIONS)}")
    samples = header.get("samples")
    if not _is_count(samples) or samples < 2:
        faults.append(f"'samples' must be a whole number of at least 2; found {samples!r}")
    for section, keys in SECTIONS.items():
        value = header.get(section)
        if not isinstance(value, dict):
            faults.append(f"the section '{section}' is missing from the metadata")
            continue
        faults += [f"'{key}' is missing from the section '{section}'" for key in keys if key not in value]
    faults += _check_texts(header)
    faults += _check_validation(header.get("validation"))
    faults += _check_calibration(header.get("calibration"))
    if not faults:
        faults += _check_trust(header)
    entries = _check_parts(header.get("parts"), condition, tensors, faults)
    if faults:
        shown = faults[:20] + ([f"... and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise BundleError(f"{where} cannot be used:\n" + "\n".join(f"  - {fault}" for fault in shown))
    return entries


def _check_texts(header: Mapping[str, Any]) -> list[str]:
    """Check what is shown to the user when the bundle is applied."""
    faults = []
    for section, key in (
        ("data", "description"),
        ("data", "licence"),
        ("data", "attribution"),
        ("normalization", "emg"),
    ):
        value = header.get(section)
        if isinstance(value, dict) and key in value and not isinstance(value[key], str):
            faults.append(f"'{key}' of the section '{section}' must be a text; found {value[key]!r}")
    return faults


def _check_validation(section: Any) -> list[str]:
    """Check the errors on unseen subjects, where there are any."""
    if not isinstance(section, dict):
        return []
    faults = []
    sources = section.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(name, str) for name in sources):
        faults.append("'sources' of the section 'validation' must be a list of texts")
    for method in VALIDATION_METHODS:
        if method not in section:
            continue
        table = section[method]
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            faults.append(f"'{method}' of the section 'validation' must hold one object per muscle")
            continue
        for muscle, row in table.items():
            needed = VALIDATION_FIGURES if muscle == "ALL" else ("subjects", *VALIDATION_FIGURES)
            needed = (*needed, *(name for name in ("E_profiles",) if name in row))
            missing = [name for name in needed if not _is_number(row.get(name))]
            if missing:
                faults.append(
                    f"'{method}' of the section 'validation' lacks numbers for '{muscle}': {', '.join(missing)}"
                )
    return faults


def _check_trust(header: Mapping[str, Any]) -> list[str]:
    """Check the bands and the range of the training cycles, where there are any."""
    faults = []
    size = CycleView(header["condition"], header["samples"]).cycle_samples
    readers = {"bands": lambda found: Bands.of_section(found, size), "training_range": TrainingRange.of_section}
    for section, read in readers.items():
        if header.get(section) is not None:
            try:
                read(header[section])
            except ValueError as error:
                faults.append(f"the section '{section}' cannot be used: {error}")
    return faults


def _check_calibration(section: Any) -> list[str]:
    """Check what is shown of the subject that a bundle was calibrated to, if it was."""
    if section is None:
        return []
    if not isinstance(section, dict):
        return ["the section 'calibration' must be an object"]
    faults = [
        f"'{key}' of the section 'calibration' must be a list of texts"
        for key in ("subjects", "motions")
        if not isinstance(section.get(key), list) or not all(isinstance(name, str) for name in section[key])
    ]
    muscles = section.get("muscles")
    if not isinstance(muscles, dict) or not all(
        isinstance(row, dict) and all(map(_is_number, row.values())) for row in muscles.values()
    ):
        faults.append("'muscles' of the section 'calibration' must hold one object with numbers per muscle")
    return faults


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _check_parts(found: Any, condition: Any, tensors: Sequence[str], faults: list[str]) -> list[_Part]:
    if not isinstance(found, list) or not found:
        faults.append("the metadata list no parts")
        return []
    arrays: dict[str, list[str]] = {}
    for tensor in tensors:
        owner, _, name = tensor.partition(".")
        arrays.setdefault(owner, []).append(name)
    entries: list[_Part] = []
    for item in found:
        target: Any = item.get("target") if isinstance(item, dict) else None
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            faults.append(f"a part's 'target' must be a muscle's standard name; found {target!r}")
            continue
        inputs, sha256 = item.get("inputs"), item.get("sha256")
        if not _is_list_of_inputs(inputs):
            faults.append(
                f"the inputs of '{target}' must be different names like 'ipsi:soleus' or 'contra:soleus'; "
                f"found {inputs!r}"
            )
        elif condition in CONDITIONS and condition != "All-Entire" and len(inputs) != 1:
            faults.append(f"a '{condition}' estimator has one input muscle; '{target}' has {len(inputs)}")
        if sha256 is not None and not isinstance(sha256, str):
            faults.append(f"'sha256' of '{target}' must be a text; found {sha256!r}")
        if any(entry.target == target for entry in entries):
            faults.append(f"'{target}' stands twice in the metadata")
        if not faults:
            description = {name: value for name, value in item.items() if name not in _PART_KEYS}
            entries.append(_Part(target, tuple(inputs), description, tuple(arrays.get(target, ())), sha256))
    if not faults:
        known = {entry.target for entry in entries}
        faults += [f"the tensor '{name}' belongs to no part" for name in tensors if name.partition(".")[0] not in known]
    return entries


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_list_of_inputs(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(name, str) and _INPUT.fullmatch(name) for name in value) and len(set(value)) == len(value)
